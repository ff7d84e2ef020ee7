"""From a message to a command, or to the answer why not: repetition and age, with times that the test makes."""

from __future__ import annotations

import asyncio
import json
import math
from asyncio import Future
from collections import Counter
from time import monotonic, time
from typing import Any

import pytest

from bridge.device import Device, Profile
from bridge.intake import Clock, Intake
from bridge.journal import Journal
from bridge.model import Command, Declared, Kind, Outcome, Point, Ready, Reply, Update
from bridge.mqtt import Message, Meta
from bridge.outbox import Outbox
from bridge.payload import timestamp
from bridge.topics import Topics

POINTS = (
    Point("ro/1", Kind.SWITCH, "Relay"),
    Point("slow", Kind.NUMBER, "Slow", expires=60.0),
    Point("stop", Kind.ACTION, "Stop", urgent=True),
)


class Carrier:
    """A session that takes every command and answers none."""

    busy = False

    def __init__(self) -> None:
        self.submitted: list[Command] = []

    def submit(self, command: Command) -> None:
        self.submitted.append(command)


class Desk:
    """An intake with one device, which is ready. `commits` are given out when `durable`."""

    def __init__(self, *, ready: bool = True, durable: bool = False) -> None:
        self.now, self.wall = monotonic(), time()
        self.topics = Topics("root", "here")
        self.outbox = Outbox()
        self.journal = Journal.open(None, self.wall)
        self.notices: list[tuple[str, str]] = []
        self.audited: list[Outcome] = []
        self.commits: list[Future[bool]] = []
        self.device = Device(Profile("io", "here"), self.topics.device("io"), self.outbox, self._answer)
        self.carrier = Carrier()
        if ready:
            self.device.attach(self.carrier)
            self.device.report(Declared(POINTS), self.now, self.wall)
            self.device.report(Ready(), self.now, self.wall)
        self.intake = Intake(
            self.topics,
            {"io": self.device},
            self.journal,
            self.outbox,
            5.0,
            "response/",
            self._commit if durable else lambda: None,
            lambda kind, reason, topic: self.notices.append((kind, topic)),
            lambda ticket, reply: self.audited.append(reply.outcome),
        )

    def _answer(self, ticket: Any, reply: Reply) -> None:
        self.intake.answer(ticket, reply, self.wall + 1, ticket.proofs)

    def _commit(self) -> Future[bool]:
        self.commits.append(Future())
        return self.commits[-1]

    def send(
        self,
        payload: object,
        *,
        topic: str = "root/io/set/ro/1",
        age: float = 0.0,
        later: float = 0.0,
        retain: bool = False,
        dup: bool = False,
        **meta: Any,
    ) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        address = self.topics.parse(topic)
        assert address is not None
        message = Message(topic, data, 1, retain, dup, Meta(**meta))
        self.intake.receive(message, address, Clock(self.now + later, self.wall, age))

    def answers(self) -> list[Any]:
        """All answers so far; they are taken away."""
        found = []
        while (item := self.outbox.next_answer()) is not None:
            self.outbox.remove(item)
            if "/state/" not in item.topic:
                found.append((item.topic, json.loads(item.payload), item.meta))
        return found

    def outcome(self) -> str:
        (answer,) = self.answers()
        return str(answer[1]["outcome"])

    @property
    def deadlines(self) -> list[float]:
        """Until when each submitted command may be sent, from now."""
        return [command.expires_at - self.now for command in self.carrier.submitted]


# --- age -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "age", "expiry", "left"),
    [
        ({}, 0.0, None, 5.0),
        ({}, 2.0, None, 3.0),
        ({}, 5.0, None, None),
        ({}, math.inf, None, None),
        ({"expires": 60}, math.inf, None, None),  # in the last second of its life the property is missing
        ({"expires": 60}, 20.0, None, 40.0),
        ({"expires": 1}, 2.0, None, None),
        ({}, math.inf, 7, 7.0),  # the publisher said how long, and the broker counted down
        ({}, 2.0, 600, 600.0),
        ({"expires": 3}, 0.0, 600, 3.0),
        ({"expires": 600}, 0.0, 7, 7.0),
        ({"expires": 3}, math.inf, 600, None),
        ({"expires": 0}, 0.0, None, None),
        ({"sent": 0.0}, math.inf, None, 5.0),  # the publisher's own word
        ({"sent": -4.0}, 0.0, None, 1.0),
        ({"sent": -5.0}, 0.0, None, None),
        ({"sent": -10.0, "expires": 20}, 0.0, None, 10.0),
        ({"sent": -10.0}, 0.0, 600, None),
        ({"sent": 10.0}, 0.0, None, 5.0),  # its clock is ahead: that makes nothing younger
        ({"sent": -1.0}, 0.0, 2, 2.0),
    ],
)
def test_how_long_a_command_may_wait(
    wish: dict[str, float], age: float, expiry: int | None, left: float | None
) -> None:
    desk = Desk()
    fields: dict[str, object] = {"value": True, **wish}
    if "sent" in wish:
        fields["sent"] = timestamp(desk.wall + wish["sent"])
    desk.send(fields, age=age, expiry=expiry)
    if left is None:
        assert desk.outcome() == "expired"
        assert desk.deadlines == []
    else:
        assert desk.deadlines == pytest.approx([left], abs=0.01)
        assert desk.answers() == []


@pytest.mark.parametrize("off", [-30.1, 30.1, -86400.0])
def test_clocks_that_do_not_agree_are_said_to(off: float) -> None:
    desk = Desk()
    desk.send({"value": True, "sent": timestamp(desk.wall + off), "expires": 1e9})
    (answer,) = desk.answers()
    assert answer[1]["outcome"] == "rejected"
    assert f"{abs(off):.0f} s off this bridge's clock" in answer[1]["detail"]


def test_a_point_may_say_how_long_its_commands_are_good() -> None:
    desk = Desk()
    desk.send(b"1", topic="root/io/set/slow", age=10.0)
    assert desk.deadlines == pytest.approx([50.0])


def test_what_nobody_can_date_is_said_so() -> None:
    desk = Desk()
    desk.send(b"1", age=math.inf)
    assert "nobody knows for how long" in desk.answers()[0][1]["detail"]


# --- repetition ----------------------------------------------------------------------------------------


def test_an_id_is_remembered_from_the_first_moment_on() -> None:
    desk = Desk()
    desk.send({"value": True, "id": "a"})
    desk.send({"value": True, "id": "a"})
    assert len(desk.carrier.submitted) == 1
    desk.device.report(Update("ro/1", True), desk.now + 1, desk.wall + 1)
    desk.device.report(Reply("a", Outcome.DONE), desk.now + 1, desk.wall + 1)
    assert desk.outcome() == "done"
    desk.send({"value": True, "id": "a"}, later=599)
    assert desk.outcome() == "done"
    assert desk.audited == [Outcome.DONE]  # a repetition is no new command


def test_a_forgotten_id_is_a_new_command() -> None:
    desk = Desk()
    desk.send({"value": True, "id": "a"}, age=9.0)
    assert desk.outcome() == "expired"
    desk.journal.prune(desk.wall + 700)
    desk.send({"value": True, "id": "a"})
    assert len(desk.carrier.submitted) == 1


def test_who_sets_the_clock_does_not_make_ids_forgotten() -> None:
    desk = Desk()
    desk.send({"value": True, "id": "a"})
    desk.device.report(Reply("a", Outcome.FAILED, "no"), desk.now, desk.wall)
    desk.wall += 86_400
    desk.send({"value": False, "id": "b"}, topic="root/io/set/ro/2")
    desk.answers()
    desk.send({"value": True, "id": "a"})
    assert desk.outcome() == "failed"


@pytest.mark.parametrize("wish", [{"value": True}, {"value": True, "id": "never seen"}])
def test_dup_without_a_memory_of_it_is_unknown(wish: dict[str, object]) -> None:
    desk = Desk()
    desk.send(wish, dup=True)
    assert desk.outcome() == "unknown"
    assert desk.notices == [("duplicate", "root/io/set/ro/1")]
    assert desk.carrier.submitted == []


def test_what_was_answered_unknown_once_is_not_carried_out_when_it_is_repeated() -> None:
    desk = Desk()
    for dup in (True, False, True):
        desk.send({"value": True, "id": "never seen"}, dup=dup)
        assert desk.outcome() == "unknown"
    assert desk.carrier.submitted == []
    assert desk.notices == [("duplicate", "root/io/set/ro/1")]


def test_dup_of_what_is_open_is_answered_with_it() -> None:
    desk = Desk()
    desk.send({"value": True, "id": "a"})
    desk.send({"value": True, "id": "a"}, dup=True)
    desk.device.report(Reply("a", Outcome.FAILED, "no"), desk.now, desk.wall)
    assert desk.outcome() == "failed"
    assert desk.notices == []


def test_retained_is_reported_and_not_answered() -> None:
    desk = Desk()
    desk.send({"value": True}, retain=True)
    desk.send(b"", retain=True)
    assert desk.notices == [("retained", "root/io/set/ro/1")]
    assert (desk.answers(), desk.carrier.submitted) == ([], [])


# --- the disk ------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_remembered_command_waits_for_the_disk_and_the_next_ones_behind_it() -> None:
    desk = Desk(durable=True)
    desk.send({"value": 1, "id": "a"}, topic="root/io/set/slow")
    desk.send({"value": 2}, topic="root/io/set/slow")
    desk.send({"value": 1, "id": "a"}, topic="root/io/set/slow", response_topic="response/b")
    desk.send({"args": {}, "id": "stop"}, topic="root/io/call/stop")  # urgent: it waits for nothing
    assert [command.key for command in desk.carrier.submitted] == ["stop"]
    desk.commits[0].set_result(True)
    await asyncio.sleep(0)
    assert [command.value for command in desk.carrier.submitted] == [None, 1.0, 2.0]
    desk.device.report(Reply("a", Outcome.DONE), desk.now, desk.wall)
    assert [topic for topic, _, _ in desk.answers()] == ["root/io/reply/slow", "response/b"]


# --- answers -------------------------------------------------------------------------------------------


def test_an_answer_carries_what_its_asker_needs() -> None:
    desk = Desk()
    desk.send({"value": True, "id": "a"}, response_topic="response/me", correlation=b"\0\xff")
    desk.device.report(Reply("a", Outcome.FAILED, "no"), desk.now, desk.wall)
    ((topic, answer, meta),) = desk.answers()
    assert (topic, meta.correlation, meta.content_type) == ("response/me", b"\0\xff", "application/json")
    assert answer["times"] == {"received": timestamp(desk.wall), "answered": timestamp(desk.wall + 1)}


def test_a_refused_response_topic_is_reported_and_the_command_carried_out() -> None:
    desk = Desk()
    desk.send({"value": True, "id": "a"}, response_topic="root/io/set/ro/1")
    assert [kind for kind, _ in desk.notices] == ["response_topic"]
    assert len(desk.carrier.submitted) == 1
    desk.device.report(Reply("a", Outcome.DONE), desk.now, desk.wall)
    assert desk.answers()[0][0] == "root/io/reply/ro/1"


@pytest.mark.parametrize("payload", [b"{", b"\xff", {"value": 1, "odd": 1}])
def test_what_cannot_be_read_is_rejected_with_an_id(payload: object) -> None:
    desk = Desk()
    desk.send(payload)
    (answer,) = desk.answers()
    assert answer[1]["outcome"] == "rejected"
    assert answer[1]["id"]


def test_an_offline_device_is_unavailable_and_outcomes_are_counted() -> None:
    desk = Desk(ready=False)
    desk.send({"value": True})
    desk.send(b"{")
    assert [answer["outcome"] for _, answer, _ in desk.answers()] == ["unavailable", "rejected"]
    assert desk.audited == [Outcome.UNAVAILABLE, Outcome.REJECTED]
    assert desk.intake.outcomes == Counter({Outcome.UNAVAILABLE: 1, Outcome.REJECTED: 1})
