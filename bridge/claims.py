"""Which bridge a device belongs to: two bridges under one root must not both drive one instrument."""

from __future__ import annotations

import re

import msgspec

from bridge.topics import Topics

MOST = 10_000  # bridges under one root
_NAME = re.compile(r"[a-z0-9_]{1,32}")


class _Link(msgspec.Struct):
    bridge: str = ""


class Claims:
    """Fed with the retained links and statuses of others; asked before a device is started."""

    def __init__(self, topics: Topics, devices: list[str]) -> None:
        self._topics = topics
        self._links = {topics.device(name).link: name for name in devices}
        self._owner: dict[str, str] = {}  # device -> bridge that its retained link names
        self._online: set[str] = set()  # bridges whose status says so

    def add(self, device: str) -> None:
        self._links[self._topics.device(device).link] = device

    def remove(self, device: str) -> None:
        self._links.pop(self._topics.device(device).link, None)
        self._owner.pop(device, None)

    def filters(self) -> list[str]:
        return [*self._links, self._topics.status_of("+")]

    def heard(self, topic: str, payload: bytes) -> bool:
        """True when this message was about claims."""
        if (device := self._links.get(topic)) is not None:
            try:
                self._owner[device] = msgspec.json.decode(payload, type=_Link).bridge
            except (msgspec.DecodeError, ValueError, RecursionError):  # emptied, or not by one of us: nobody's
                self._owner.pop(device, None)
            return True
        before, _, after = self._topics.status_of("\0").partition("\0")
        if topic.startswith(before) and topic.endswith(after):
            self._note(topic[len(before) : len(topic) - len(after)], payload == b"online")
            return True
        return False

    def _note(self, bridge: str, online: bool) -> None:
        """Strangers may invent names: only such as a bridge can have are kept, and only so many."""
        if online and len(self._online) < MOST and _NAME.fullmatch(bridge):
            self._online.add(bridge)
        elif not online:
            self._online.discard(bridge)

    def rival(self, device: str) -> str | None:
        """Another bridge that is online and has this device."""
        owner = self._owner.get(device, "")
        return owner if owner != self._topics.bridge and owner in self._online else None
