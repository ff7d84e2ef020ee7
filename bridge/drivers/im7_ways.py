"""By which of two ways this instrument's firmware gives its results; found out once and remembered.

The threshold is certain only for the vendor's client (protocol: "What a robust client must do"), so a refusal
decides: an endpoint that is not there is asked for once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bridge.driver import Effect, Remember
from bridge.drivers.im7_frames import mapping, text, whole
from bridge.model import Json

RESOURCES = "resources"  # /JOB_RESULT/list and /JOB_RESULT/download: a binary frame
JOB_DATA = "job_data"  # /job/data: base64 in JSON
MEMORY = "retrieval"
_MODERN = 8  # the protocol version from which results are resources


class Way:
    def __init__(self, memory: Mapping[str, Json]) -> None:
        self._remembered = mapping(memory.get(MEMORY))
        self._firmware = ""
        self._certain = False
        self.name = RESOURCES

    def learn(self, workstation: Mapping[str, object]) -> None:
        """As remembered for this firmware, or by its protocol version."""
        version = whole(workstation.get("protocol_version"))
        self._firmware = f"{text(workstation.get('firmware_version'))} {version}"
        known = self._remembered.get("way")
        if self._remembered.get("firmware") == self._firmware and known in (RESOURCES, JOB_DATA):
            self.name, self._certain = str(known), True
        else:
            self.name = JOB_DATA if version is not None and version < _MODERN else RESOURCES

    def change(self) -> bool:
        """This one is not there; True: try the other, once."""
        if self._certain:
            return False
        self.name, self._certain = JOB_DATA if self.name == RESOURCES else RESOURCES, True
        return True

    def works(self) -> Iterator[Effect]:
        found: dict[str, Json] = {"firmware": self._firmware, "way": self.name}
        self._certain = True
        if self._firmware and self._remembered != found:
            self._remembered = found
            yield Remember(MEMORY, found)
