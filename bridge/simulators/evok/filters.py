"""The filter of a connection, with the oddities of the real one."""

from dataclasses import dataclass

# Names that `filter` accepts and `set` takes as `dev`, with the name that events carry. A filter compares them
# literally, so those that differ are accepted and match nothing.
NAMES = {
    "ro": "ro",
    "relay": "ro",
    "do": "do",
    "output": "do",
    "digitaloutput": "do",
    "di": "di",
    "input": "di",
    "digitalinput": "di",
    "ai": "ai",
    "analoginput": "ai",
    "ao": "ao",
    "analogoutput": "ao",
    "led": "led",
    "wd": "wd",
    "watchdog": "wd",
    "temp": "temp",
    "sensor": "temp",
    "register": "register",
    "data_point": "data_point",
    "owbus": "owbus",
    "owpower": "owpower",
    "nv_save": "nv_save",
    "modbus_slave": "modbus_slave",
    "run": "run",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """The names a connection wants; `default` in the first place lets everything through."""

    names: tuple[str, ...] = ("default",)

    @property
    def is_default(self) -> bool:
        return self.names[:1] == ("default",)

    def passes(self, dev: str) -> bool:
        return self.is_default or (dev in self.names and dev != "1wdevice")

    def replaced(self, devices: object, valid: frozenset[str] = frozenset(NAMES)) -> "Filter":
        """What `{"cmd":"filter","devices":...}` leads to: at least one valid name, or an empty list."""
        if not isinstance(devices, list):
            return self
        names = tuple(name for name in devices if isinstance(name, str))
        if devices and not valid.intersection(names):
            return self
        return Filter(names)
