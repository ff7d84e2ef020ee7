"""The lamp's driver in conversations: no sockets, no waiting, time is a number."""

from __future__ import annotations

import json

import pytest
from bridge.driver import ProtocolError, Send
from bridge.model import Command, Declared, Happened, Outcome, Ready, Reply, Update

from lab2mqtt_lamp import Lamp, Options

STATUS = '{"status": {"on": false, "level": 40, "hours": 12.5}, "serial": "L-042"}'


def greeted() -> Lamp:
    lamp = Lamp(Options(), {}, ())
    list(lamp.start(0.0))
    list(lamp.receive(STATUS, 0.1))
    return lamp


def test_it_asks_declares_and_is_ready() -> None:
    lamp = Lamp(Options(), {}, ())
    assert list(lamp.start(0.0)) == [Send('{"get": "status"}')]
    declared, *updates, ready = lamp.receive(STATUS, 0.1)
    assert isinstance(declared, Declared)
    assert updates == [Update("on", False), Update("level", 40), Update("hours", 12.5)]
    assert isinstance(ready, Ready)


def test_a_command_is_done_when_the_lamp_says_so() -> None:
    lamp = greeted()
    (sent,) = lamp.submit(Command("c1", "level", 55.0, timeout=10.0), 1.0)
    assert isinstance(sent, Send)
    assert json.loads(sent.frame) == {"id": "c1", "set": {"level": 55.0}}
    assert lamp.busy
    assert list(lamp.receive('{"status": {"level": 55}}', 1.1)) == [Update("level", 55)]
    assert list(lamp.receive('{"id": "c1", "ok": true}', 1.2)) == [Reply("c1", Outcome.DONE)]
    assert not lamp.busy


def test_a_refusal_is_failed_with_the_lamps_own_words() -> None:
    lamp = greeted()
    list(lamp.submit(Command("c1", "on", True, timeout=10.0), 1.0))
    assert list(lamp.receive('{"id": "c1", "error": "too hot"}', 1.1)) == [Reply("c1", Outcome.FAILED, "too hot")]


def test_no_answer_is_unknown() -> None:
    lamp = greeted()
    list(lamp.submit(Command("c1", "on", True, timeout=10.0), 1.0))
    assert lamp.wake_at == 11.0
    (reply,) = lamp.tick(11.0)
    assert isinstance(reply, Reply)
    assert reply.outcome is Outcome.UNKNOWN


def test_an_alarm_happens_and_the_unknown_is_told_and_survived() -> None:
    lamp = greeted()
    assert list(lamp.receive('{"alarm": "worn"}', 1.0)) == [Happened("worn", {}, key="alarm")]
    assert list(lamp.receive('{"new": 1}', 1.0)) == [Happened("unexpected", {"keys": ["new"]})]


@pytest.mark.parametrize("frame", ["", "[]", "5", '{"status'])
def test_a_broken_protocol_ends_the_connection(frame: str) -> None:
    with pytest.raises(ProtocolError):
        list(greeted().receive(frame, 1.0))
