"""What a new configuration changes for a daemon that runs: device by device, and what only a restart can change.

Pure comparison, but for `digests`, which reads the certificates' files: they may change while their names stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge import configured

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bridge.settings import Settings
    from bridge.settings_models import TlsSettings

# Keys of [bridge] that are asked for anew each time they matter,
LIVE = frozenset({"expires", "log_level", "log_format", "log_to_mqtt"})
# and keys that devices inherit: they are in effect as soon as the devices are made afresh.
INHERITED = frozenset({"min_interval", "deadband", "max_silence", "read_only", "backlog", "keep_live"})


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and the digests of the files that they name, by the option that names them."""

    settings: Settings
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Devices by name; `applied` and `needs_restart` are other options, as `section.key`."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What is in effect now and what is not, for a person."""
        said = [
            f"{word} {', '.join(names)}"
            for word, names in (
                ("added", self.added),
                ("changed", self.changed),
                ("removed", self.removed),
                ("applied", self.applied),
            )
            if names
        ]
        if self.needs_restart:
            said.append(f"needs a restart: {', '.join(self.needs_restart)}")
        return "; ".join(said) or "nothing changed"


def compare(old: Configuration, new: Configuration) -> Difference:
    """`old` is what is in effect, so that what needed a restart before needs it still."""
    before, after = old.settings.enabled_devices, new.settings.enabled_devices
    both = [name for name in after if name in before]
    taken = Configuration(effective(old.settings, new.settings), new.files)
    same = {name for name in both if _device(name, old) == _device(name, taken)}
    bridge = set(_different(old.settings.bridge, new.settings.bridge))
    return Difference(
        added=tuple(name for name in after if name not in before),
        changed=tuple(name for name in both if name not in same),
        removed=tuple(name for name in before if name not in after),
        unchanged=tuple(name for name in both if name in same),
        applied=tuple(f"bridge.{key}" for key in sorted(bridge & (LIVE | INHERITED))),
        needs_restart=tuple(_fixed(old, new)),
    )


def effective(old: Settings, new: Settings) -> Settings:
    """Of `new` what a running daemon takes; the rest stays as it is in `old` until the next start."""
    taken = {key: getattr(new.bridge, key) for key in LIVE | INHERITED if key in type(new.bridge).model_fields}
    return old.model_copy(update={"bridge": old.bridge.model_copy(update=taken), "devices": new.devices})


def digests(settings: Settings) -> dict[str, str]:
    """Of every certificate's and key's file that can be read."""
    found = {}
    for option, path in _files(settings):
        with suppress(OSError):  # who uses it says what is wrong with it
            found[option] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _fixed(old: Configuration, new: Configuration) -> Iterator[str]:
    """The options that differ and that nothing but a restart brings into effect."""
    for section in type(new.settings).model_fields:
        if section == "devices":
            continue
        for key in _different(getattr(old.settings, section), getattr(new.settings, section)):
            if section != "bridge" or key not in LIVE | INHERITED:
                yield f"{section}.{key}"
    told = set(_different(old.settings.mqtt, new.settings.mqtt))
    if "tls" not in told:
        for option in sorted({*old.files, *new.files}):
            if option.startswith("mqtt.") and old.files.get(option) != new.files.get(option):
                yield f"{option} (another file of the same name)"


def _different(old: BaseModel, new: BaseModel) -> Iterator[str]:
    """The keys of one section whose values are not the same; secrets are compared, not shown."""
    return (key for key in type(new).model_fields if getattr(old, key) != getattr(new, key))


def _device(name: str, configuration: Configuration) -> tuple[object, ...]:
    """All that has a bearing on one device; what it inherits stands in its profile."""
    prefix = f"devices.{name}."
    files = {option: digest for option, digest in configuration.files.items() if option.startswith(prefix)}
    settings = configuration.settings
    return settings.devices[name], configured.profile(name, settings), files


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    sections: dict[str, TlsSettings | None] = {"mqtt.tls": settings.mqtt.tls}
    sections |= {f"devices.{name}.tls": device.tls for name, device in settings.devices.items()}
    for section, tls in sections.items():
        for option, path in tls.files() if tls is not None else ():
            yield f"{section}.{option}", path
