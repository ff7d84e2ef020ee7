"""What was said on a connection: one JSON line per frame, command and note; written, read back, made fit to show.

    {"t": 1.25, "dir": "<", "kind": "text", "data": "[{\\"dev\\": \\"di\\"}]"}

`t`: seconds since the transcript began. `dir`: ">" to the device, "<" from it, "!" neither. `kind`: "text" (`data`
is the frame, unchanged), "binary" (`data` is the frame in base64), "note" (a text or object), or another word for
what somebody wants to tell ("command", "reply", "http"), with any JSON as `data`. `length`, if there: the frame
was so long, and `data` is its beginning. `conn`, if there: which connection of several, the first is 1.

`lab2mqtt record` also writes "http" (a head of the handshake), "ping" and "pong" (`data`: the payload, a character
for each byte), "close" (`data`: code and reason) and "end" (of the stream in this direction).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bridge.model import Json
from bridge.secret_names import WORDS

Direction: TypeAlias = Literal[">", "<", "!"]


class Entry(Struct, frozen=True):
    """One line. `data` is bytes exactly when `kind` is "binary"."""

    t: float
    dir: Direction
    kind: str
    data: Json | bytes
    length: int | None = None  # characters or bytes
    conn: int = 1


def frame(t: float, direction: Direction, data: str | bytes) -> Entry:
    """A WebSocket message as it went over the line."""
    return Entry(t, direction, "text" if isinstance(data, str) else "binary", data)


def note(t: float, data: Json) -> Entry:
    return Entry(t, "!", "note", data)


# --- writing and reading -------------------------------------------------------------------------------


class _Line(Struct, omit_defaults=True):
    t: float
    dir: Direction
    kind: str
    data: msgspec.Raw
    length: int | None = None
    conn: int = 1


def encode(entry: Entry) -> str:
    """One line, without its end."""
    data = b64encode(entry.data).decode() if isinstance(entry.data, bytes) else entry.data
    raw = msgspec.Raw(msgspec.json.encode(data))
    line = _Line(round(entry.t, 6), entry.dir, entry.kind, raw, entry.length, entry.conn)
    return msgspec.json.encode(line).decode()


def decode(lines: Iterable[str | bytes]) -> Iterator[Entry]:
    """The entries of a transcript; empty lines are skipped. ValueError names the line that is none."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield decode_line(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error


def decode_line(line: str | bytes) -> Entry:
    """ValueError: it is no JSON object of this form. Members that are not ours are ignored."""
    found = msgspec.json.decode(line, type=_Line)
    data: Json | bytes = msgspec.json.decode(found.data)
    if found.kind in ("text", "binary"):
        if not isinstance(data, str):
            raise ValueError(f"the data of a {found.kind} frame is not a text")
        if found.kind == "binary":
            data = b64decode(data, validate=True)
    return Entry(found.t, found.dir, found.kind, data, found.length, found.conn)


# --- what others must not see --------------------------------------------------------------------------

HIDDEN = "***"
_SHORTEST = 4  # a shorter secret would take half of every text with it; its field's name has to protect it
_FIELD = rf'(?:[^"\\]{{0,40}}(?:{WORDS})[^"\\]{{0,40}}|pw|pwd|pass)'  # OST's login has `pw`
_SECRET_FIELD = re.compile(_FIELD, re.IGNORECASE)
_BARE = r'[^\s,}\]\[{"\\]+'  # a number, true
# The closing quotes are optional: a frame may be cut.
_MEMBER = re.compile(rf'("{_FIELD}"\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|{_BARE})', re.IGNORECASE | re.DOTALL)
_NESTED_MEMBER = re.compile(  # in JSON inside a JSON text: every quote has the same number of backslashes
    rf'((?P<quote>\\+"){_FIELD}(?P=quote)\s*:\s*)'
    rf"(?:(?P=quote)(?:(?!(?<!\\)(?P=quote)).)*(?:(?P=quote))?|{_BARE})",
    re.IGNORECASE | re.DOTALL,
)
_HEADER = re.compile(
    r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s*:\s*["']?)[^\r\n"']+""", re.IGNORECASE
)
_USER_INFO = re.compile(r"""(\w://)[^\s/"'@]+@""")


class Redaction:
    """Takes out what must not be shown, and rather too much than too little.

    That is: values of password-like fields, credentials in headers and URLs, and the configured secrets of four
    characters or more wherever they stand. Takes 0.3 s per MB of text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        any_form = "|".join(map(re.escape, longest_first))
        self._secrets = re.compile(any_form, re.IGNORECASE) if forms else None

    def __call__(self, entry: Entry) -> Entry:
        if isinstance(entry.data, bytes):
            return replace(entry, data=self._bytes(entry.data))
        return replace(entry, data=self._json(entry.data))

    def text(self, text: str) -> str:
        if self._secrets is not None:
            text = self._secrets.sub(HIDDEN, text)
        text = _MEMBER.sub(rf'\1"{HIDDEN}"', text)
        text = _NESTED_MEMBER.sub(rf"\1\g<quote>{HIDDEN}\g<quote>", text)
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
        return _USER_INFO.sub(rf"\1{HIDDEN}@", text)

    def _bytes(self, data: bytes) -> bytes:
        """What is no UTF-8 is searched as Latin 1, which maps every byte to one character and back."""
        try:
            return self.text(data.decode()).encode()
        except UnicodeDecodeError:
            return self.text(data.decode("latin-1")).encode("latin-1")

    def _json(self, data: Json) -> Json:
        match data:
            case str():
                return self.text(data)
            case Mapping():
                return {
                    self.text(key): HIDDEN if _SECRET_FIELD.fullmatch(key) else self._json(value)
                    for key, value in data.items()
                }
            case Sequence():
                return [self._json(item) for item in data]
            case _:
                return data


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, percent-encoded, in JSON with and without \\u escapes, and in JSON inside JSON."""
    yield secret
    yield quote(secret, safe="")
    yield secret.encode().decode("latin-1")  # how `_bytes` may see it
    for ensure_ascii in (True, False):
        inside = secret
        for _ in range(2):
            inside = json.dumps(inside, ensure_ascii=ensure_ascii)[1:-1]
            yield inside


# --- the last frames -----------------------------------------------------------------------------------

_KEPT = 16_384  # characters or bytes of one frame in memory
_SHOWN = 2_000  # of it in a report


class Recent:
    """The last frames of a session, for the report of a bug. Adding costs 0.1 µs; the rest waits for `lines`."""

    def __init__(self, limit: int = 50) -> None:
        self._frames: deque[tuple[float, Direction, str | bytes, int | None]] = deque(maxlen=limit)

    def add(self, t: float, direction: Direction, data: str | bytes) -> None:
        if len(data) > _KEPT:
            self._frames.append((t, direction, data[:_KEPT], len(data)))
        else:
            self._frames.append((t, direction, data, None))

    def lines(self, redaction: Redaction) -> list[str]:
        """The lines of a transcript, the oldest first; long frames are cut and their length is told."""
        shown = []
        for t, direction, data, length in self._frames:
            entry = redaction(replace(frame(t, direction, data), length=length))
            if isinstance(entry.data, str | bytes) and len(entry.data) > _SHOWN:
                entry = replace(entry, data=entry.data[:_SHOWN], length=length or len(data))
            shown.append(encode(entry))
        return shown
