"""The open commands of a device: order, age, and one final answer each."""

from __future__ import annotations

import math

import pytest

from bridge.commands import FORGOTTEN, GRACE, Commands, Stage, Ticket
from bridge.model import Command, Kind, Outcome, Point, Reply

LAMP, GO = Point("lamp", Kind.SWITCH, "Lamp"), Point("go", Kind.ACTION, "Go")
WALL = 1.7e9


class Open:
    """Commands and what was answered."""

    def __init__(self, backlog: int = 3) -> None:
        self.answers: list[tuple[str, Outcome]] = []
        self.details: list[str] = []
        self.commands = Commands(self._answer, backlog)

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        assert ticket.command.id == reply.id
        self.answers.append((reply.id, reply.outcome))
        self.details.append(reply.detail)

    def add(
        self,
        id_: str,
        point: Point = GO,
        *,
        urgent: bool = False,
        expires_at: float = math.inf,
        timeout: float | None = 10.0,
    ) -> Ticket:
        command = Command(id_, point.key, expires_at=expires_at, timeout=timeout)
        ticket = Ticket(command, point, WALL, urgent=urgent)
        self.commands.add(ticket)
        return ticket

    def sent(self, id_: str, now: float = 0.0, point: Point = GO, timeout: float | None = 10.0) -> Ticket:
        """Added, taken and on its way."""
        self.add(id_, point, timeout=timeout)
        ticket = self.commands.take(now, busy=False)
        assert ticket is not None
        self.commands.sent(id_, now, WALL + now)
        return ticket

    def taken(self, now: float = 0.0, *, busy: bool = False) -> list[str]:
        found = []
        while (ticket := self.commands.take(now, busy)) is not None:
            found.append(ticket.command.id)
        return found


def test_first_in_first_out_and_urgent_ones_first() -> None:
    box = Open()
    for id_ in "ab":
        box.add(id_)
    for id_ in "cd":
        box.add(id_, urgent=True)
    assert box.commands.waiting == 4
    assert box.taken(busy=True) == ["c", "d"]
    assert box.taken() == ["a", "b"]
    assert box.answers == []


def test_a_newer_value_supersedes_one_that_waits_but_no_action_and_nothing_under_way() -> None:
    box = Open()
    box.sent("sent", point=LAMP)
    for id_ in ("old", "new"):
        box.add(id_, LAMP)
    for id_ in ("go1", "go2"):
        box.add(id_, GO)
    assert box.answers == [("old", Outcome.SUPERSEDED)]
    assert box.taken() == ["new", "go1", "go2"]


def test_a_full_queue_rejects_but_never_what_is_urgent() -> None:
    box = Open(backlog=2)
    for id_ in "abc":
        box.add(id_)
    box.add("stop", urgent=True)
    assert box.answers == [("c", Outcome.REJECTED)]
    assert "2 commands are waiting already" in box.details
    assert "c" not in box.commands
    assert len(box.commands) == 3


def test_a_full_queue_still_takes_a_newer_value() -> None:
    box = Open(backlog=1)
    box.add("old", LAMP)
    box.add("new", LAMP)
    assert box.answers == [("old", Outcome.SUPERSEDED)]
    assert box.taken() == ["new"]


def test_an_id_is_open_once() -> None:
    box = Open()
    box.add("a")
    with pytest.raises(ValueError, match="'a' is open already"):
        box.add("a")
    assert box.taken() == ["a"]


def test_what_waited_too_long_is_never_given_to_the_driver() -> None:
    box = Open()
    box.add("a", expires_at=5.0)
    box.add("b", expires_at=9.0)
    assert box.taken(now=5.0) == ["b"]
    assert box.answers == [("a", Outcome.EXPIRED)]


def test_what_waits_for_a_busy_driver_is_told_when_its_time_is_up() -> None:
    box = Open()
    box.add("a", expires_at=5.0)
    box.add("b", expires_at=9.0)
    assert box.commands.due == 5.0
    box.commands.expire(5.0)
    assert box.answers == [("a", Outcome.EXPIRED)]
    assert (box.commands.waiting, box.commands.due) == (1, 9.0)
    assert box.taken(now=8.0) == ["b"]
    assert box.commands.due == 8.0 + 10.0 + FORGOTTEN, "its expiry is no matter any more; a driver may forget it"


def test_accepted_is_followed_by_one_final_answer_and_nothing_more() -> None:
    box = Open()
    box.sent("a")
    for outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.DONE, Outcome.FAILED, Outcome.ACCEPTED):
        box.commands.settle(Reply("a", outcome))
    assert box.answers == [("a", Outcome.ACCEPTED), ("a", Outcome.ACCEPTED), ("a", Outcome.DONE)]
    assert box.commands.settle(Reply("nobody", Outcome.DONE)) is None


def test_a_driver_cannot_answer_what_it_was_not_given() -> None:
    box = Open()
    box.add("a")
    assert box.commands.settle(Reply("a", Outcome.DONE)) is None
    assert box.answers == []
    assert box.taken() == ["a"]


def test_a_lost_line_tells_what_was_sent_from_what_was_not() -> None:
    box = Open()
    box.sent("sent")
    box.add("given")
    box.commands.take(0.0, busy=False)
    box.add("waiting")
    box.add("stop", urgent=True)
    box.commands.lose("cut")
    unknown, *unavailable = box.answers
    assert unknown == ("sent", Outcome.UNKNOWN)
    assert unavailable == [(id_, Outcome.UNAVAILABLE) for id_ in ("given", "waiting", "stop")]
    assert all("cut" in detail for detail in box.details)
    assert len(box.commands) == box.commands.waiting == 0


def test_what_is_held_survives_a_lost_line_until_it_is_for_good() -> None:
    box = Open()
    ticket = box.sent("job", timeout=None)
    box.commands.hold("job", None)
    box.commands.lose("cut")
    assert box.commands.carried() == [ticket.command]
    box.commands.expire(1e9)
    assert box.answers == []
    box.commands.lose("the end", keep_held=False)
    assert box.answers == [("job", Outcome.UNKNOWN)]


def test_what_is_held_for_a_time_ends_after_it() -> None:
    box = Open()
    box.sent("pulse")
    box.commands.hold("pulse", until=30.0)
    box.commands.lose("cut")
    box.commands.expire(30.0)
    assert box.answers == [], "the driver, if there is one, comes first"
    assert box.commands.due == 30.0 + GRACE
    box.commands.expire(30.0 + GRACE)
    assert box.answers == [("pulse", Outcome.UNKNOWN)]


@pytest.mark.parametrize("held_first", [True, False])
def test_holding_before_or_after_sending_is_the_same(held_first: bool) -> None:
    box = Open()
    box.add("job", timeout=2.0)
    box.commands.take(0.0, busy=False)
    if held_first:
        box.commands.hold("job", None)
    box.commands.sent("job", 0.0, WALL)
    if not held_first:
        box.commands.hold("job", None)
    assert box.commands.due == math.inf


def test_a_command_that_its_driver_forgot_ends_after_its_timeout() -> None:
    box = Open()
    ticket = box.sent("a", now=100.0, timeout=10.0)
    assert (ticket.sent, box.commands.due) == (WALL + 100.0, 110.0 + GRACE)
    box.commands.expire(110.0)
    assert box.answers == []
    box.commands.expire(box.commands.due)
    assert box.answers == [("a", Outcome.UNKNOWN)]


def test_a_second_frame_of_a_command_changes_nothing() -> None:
    box = Open()
    ticket = box.sent("a", now=100.0)
    box.commands.sent("a", 200.0, WALL + 200.0)
    box.commands.sent("nobody", 200.0, WALL)
    assert (ticket.stage, ticket.sent, ticket.due) == (Stage.SENT, WALL + 100.0, 110.0 + GRACE)


def test_what_will_end_soon_is_told_from_jobs_and_from_what_waits() -> None:
    box = Open()
    assert not box.commands.sending
    box.add("waiting")
    assert not box.commands.sending
    box.taken()
    assert box.commands.sending
    box.commands.hold("waiting", None)
    assert not box.commands.sending, "a job goes on without us"
    assert [ticket.command.id for ticket in box.commands] == ["waiting"]
    assert not box.commands.urgent("waiting")
    assert not box.commands.urgent(None)
