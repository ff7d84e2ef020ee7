"""Who is it that speaks there: guessed from the first words, as each kind of device begins its messages."""

from __future__ import annotations

import re
from collections.abc import Iterable

NAMES = {"evok": "Evok", "im7": "a Zahner IM7", "zeiss_inspect": "ZEISS INSPECT", "ost": "an OST server"}

_BEGINNINGS = (  # of messages; long ones are cut, so they are not decoded
    ("evok", re.compile(r"\[?\s*\{\s*\"(dev|circuit|glob_dev_id)\"")),
    ("im7", re.compile(r"\s*\{.*\"type\"\s*:\s*\"(REPLY|EVENT|JOB_DONE)\"", re.DOTALL)),
    ("ost", re.compile(r"\s*\{\s*\"(d|l|xx|evt|aa|ap|ae|ea|ee|ep|dm|dp|de|moduledump)\"\s*:")),
    ("zeiss_inspect", re.compile(r"(Error: )?Unknown request|O\.k\.")),
)


def guess(heard: Iterable[str]) -> str | None:
    """The name of the driver that the peer would need, if its words say so."""
    for text in heard:
        for name, beginning in _BEGINNINGS:
            if beginning.match(text):
                return name
    return None


def called(driver: str) -> str:
    """A device of this driver, as a person calls it."""
    return NAMES.get(driver, f"a device of the driver {driver}")
