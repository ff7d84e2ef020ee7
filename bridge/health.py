"""How the bridge itself is doing: what stands in its retained health document."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from bridge import payload
from bridge.model import Json

_PAGE = resource.getpagesize()


class Health(Struct, omit_defaults=True):
    """Counters run from the start of the process; times in seconds, memory in bytes."""

    time: str
    uptime: float
    links: Mapping[str, str]
    conflicts: Mapping[str, str]  # device -> the bridge that has it
    trouble: tuple[str, ...]
    queues: Mapping[str, int]
    published: int
    merged: int  # values overwritten by newer ones before the broker took them
    dropped: Mapping[str, int]  # occurrences lost, by topic
    refused: Mapping[str, int]  # publications that the broker never took, by topic
    turned_down: Mapping[str, int]  # commands not carried out and response topics not used, by kind
    outcomes: Mapping[str, int]
    loop_lag: float  # the longest since the last document
    memory: int
    round_trip: float | None = None  # to the broker and back

    def encode(self) -> bytes:
        return payload.json(self)


def memory() -> int:
    """Resident memory in bytes."""
    pages: int = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE


def info(
    version: str, drivers: list[str], devices: Mapping[str, Json], digest: str, needs_restart: Json = None
) -> bytes:
    """The retained document under `info`; `needs_restart` stands there while it holds something."""
    document = {"version": version, "schema": 1, "drivers": drivers, "devices": devices, "configuration": digest}
    return payload.json(document | ({"needs_restart": needs_restart} if needs_restart else {}))
