"""A device that is made finds what whoever had its name before left, unless that was another driver."""

from __future__ import annotations

from typing import Any

from bridge.journal import Journal
from bridge.maker import Maker
from bridge.memory import DURABLE, Memory
from bridge.model import Job
from bridge.outbox import Outbox
from bridge.runner import Runner
from bridge.session import Tools
from bridge.settings import Settings
from bridge.topics import Topics

WALL = 1.7e9
INSPECT = {"driver": "zeiss_inspect", "url": "ws://10.0.0.9:40010"}
EVOK = {"driver": "evok", "url": "ws://10.0.0.5/ws"}


class Lives:
    """One journal, and one device after the other that has the same name."""

    def __init__(self) -> None:
        self.journal = Journal.open(None, WALL)
        self.memory = Memory(self.journal, lambda: None)

    def begin(self, device: dict[str, Any]) -> Runner:
        topics = Topics("lab2mqtt", "here")
        tools = Tools(self.memory, NotImplemented, NotImplemented, lambda: None)
        maker = Maker(topics, Outbox(), self.journal, tools, lambda *_: None, lambda _: None)
        runner = maker.make("box", Settings.model_validate({"bridge": {"id": "here"}, "devices": {"box": device}}))
        maker.restore(runner)
        return runner


def test_another_driver_finds_nothing_of_the_former() -> None:
    lives = Lives()
    lives.begin(INSPECT).device.report(Job("1", {"state": "queued"}), 0.0, WALL)
    lives.memory.remember("box", "job:1", {"state": "queued"})

    again = lives.begin(INSPECT)
    assert list(again.device.jobs.told) == ["1"]
    assert lives.memory.memory("box").keys() == {"job:1", DURABLE}

    other = lives.begin(EVOK)
    assert other.device.jobs.told == {}
    assert lives.memory.memory("box").keys() == {DURABLE}
    other.device.report(Job("2", {"state": "done"}), 0.0, WALL)
    assert list(lives.begin(EVOK).device.jobs.told) == ["2"]
