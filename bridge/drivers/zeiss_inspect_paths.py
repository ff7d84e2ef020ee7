"""Windows paths by Windows' own rules, whatever this program runs on: what they name, and what lies below what.

Nothing is put right silently. A path that Windows would read as something else than it shows (trailing dots,
device names, alternate streams, `..`) is refused, because the server opens whatever it is told.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LONGEST = 1024  # characters of a path
_LONGEST_PART = 255  # what NTFS takes

_DRIVE = re.compile(r"([A-Za-z]:)[\\/](.*)", re.DOTALL)
_UNC = re.compile(r"[\\/]{2}([^\\/]+)[\\/]([^\\/]+)(?:[\\/](.*))?", re.DOTALL)
_DEVICE_NAMESPACE = re.compile(r"[\\/]{2}[.?](?:[\\/]|$)|\\\?\?\\")  # \\.\ and \\?\ and the kernel's own \??\
_SEPARATOR = re.compile(r"[\\/]")
_NOT_IN_NAMES = '<>:"|?*'
_PORTS = {f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"}
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"} | _PORTS
_UNPRINTABLE = {
    "Cc": "a control character",
    "Cs": "half a surrogate pair",
    "Zl": "a line break",
    "Zp": "a line break",
}


def clean(text: str) -> str:
    """The text, if it has no control characters, line breaks or lone surrogates; ValueError names the first."""
    for character in text:
        if what := _UNPRINTABLE.get(unicodedata.category(character)):
            raise ValueError(f"it holds {what} (U+{ord(character):04X})")
    return text


@dataclass(frozen=True, slots=True)
class WindowsPath:
    """An absolute path. `root`: `C:` or `//server/share`; `parts`: the folders and the file below it."""

    root: str
    parts: tuple[str, ...]

    @property
    def on_network(self) -> bool:
        return self.root.startswith("//")

    @property
    def extension(self) -> str:
        """Of the last part: in lower case, without its dot; "" if there is none (`.jpg` alone is a name)."""
        stem, _, extension = self.parts[-1].rpartition(".")
        return extension.lower() if stem else ""

    def __str__(self) -> str:
        return "/".join((self.root, *self.parts))

    def within(self, folder: WindowsPath) -> bool:
        """The folder itself or below it; upper and lower case are the same, as on Windows."""
        mine, its = self._folded(), folder._folded()
        return mine[: len(its)] == its

    def _folded(self) -> tuple[str, ...]:
        return tuple(_fold(part) for part in (self.root, *self.parts))


def parse_file(text: str) -> WindowsPath:
    """The absolute path of a file; ValueError says what is wrong with it."""
    path = _parse(text)
    if not path.parts:
        raise ValueError("it names a whole drive or share, not a file")
    return path


def parse_folder(text: str) -> WindowsPath:
    """The absolute path of a folder, a drive or a share; one separator may end it. ValueError as above."""
    return _parse(text if text.endswith(("/", "\\")) else f"{text}/", folder=True)


def _parse(text: str, *, folder: bool = False) -> WindowsPath:
    clean(text)
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters, more than {LONGEST}")
    if _DEVICE_NAMESPACE.match(text):
        raise ValueError("it names a device (\\\\.\\ or \\\\?\\)")
    root, shared, rest = _anchor(text)
    below = _SEPARATOR.split(rest) if rest else []
    if below and not below[-1]:
        below.pop()
        if not folder:
            raise ValueError("it ends in a separator and so names a folder")
    for part in (*shared, *below):
        _check(part)
    return WindowsPath(root, tuple(below))


def _anchor(text: str) -> tuple[str, tuple[str, ...], str]:
    """The root, the names in it that must be checked, and the rest."""
    if drive := _DRIVE.fullmatch(text):
        return drive[1], (), drive[2]
    if unc := _UNC.fullmatch(text):
        return f"//{unc[1]}/{unc[2]}", (unc[1], unc[2]), unc[3] or ""
    raise ValueError("it is no absolute Windows path (C:/folder/file or //server/share/file)")


def _check(part: str) -> None:
    if not part:
        raise ValueError("it has two separators in a row")
    if part in (".", ".."):
        raise ValueError(f"it holds {part!r}; write the folder itself")
    if part[-1] in ". ":
        raise ValueError(f"{_short(part)} ends in a dot or a blank, which Windows drops")
    if ":" in part:
        raise ValueError(f"{_short(part)} has a colon, which names a stream and no file")
    if found := next((character for character in part if character in _NOT_IN_NAMES), None):
        raise ValueError(f"{_short(part)} has a {found}, which no file name may have")
    if part.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        raise ValueError(f"{_short(part)} is a device on Windows, not a file")
    if len(part) > _LONGEST_PART:
        raise ValueError(f"{_short(part)} has {len(part)} characters, more than {_LONGEST_PART}")


def _short(part: str) -> str:
    return repr(part if len(part) <= 60 else f"{part[:57]}...")


def _fold(text: str) -> str:
    """One character for one, as NTFS compares; where Unicode's pairs are not symmetrical (ß, ı), none is."""
    return "".join(upper if (upper := c.upper()).lower() == c else c for c in text)
