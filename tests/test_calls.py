"""Everybody who calls is answered once: with the rest of their turn, or why there is none for them."""

from __future__ import annotations

from bridge.calls import ENDS, MOST, Calls
from bridge.model import Json, Outcome
from bridge.mqtt import Message, Meta


def call(number: int) -> Message:
    return Message("lab2mqtt/_bridge/gate/call/tidy", b"%d" % number, 1, False, False, Meta())


class Desk:
    """What each was told, by its number."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, str]] = []
        self.calls = Calls("tidy", self._answer)

    def _answer(self, call: Message, verb: str, outcome: Outcome, detail: str, data: Json = None) -> None:
        assert verb == "tidy"
        self.told.append((int(call.payload), outcome.value, detail))


def test_who_calls_while_it_is_being_done_gets_the_next_time() -> None:
    desk = Desk()
    assert desk.calls.add(call(1))
    assert desk.calls.add(call(2))
    desk.calls.begin()
    assert desk.calls.add(call(3))
    desk.calls.settle(Outcome.DONE, "tidy")
    assert desk.told == [(1, "done", "tidy"), (2, "done", "tidy")]
    desk.calls.begin()
    desk.calls.settle(Outcome.REJECTED, "not now")
    assert desk.told[2:] == [(3, "rejected", "not now")]


def test_more_than_can_wait_are_turned_down() -> None:
    desk = Desk()
    assert all(desk.calls.add(call(number)) for number in range(MOST))
    assert not desk.calls.add(call(MOST))
    assert desk.told == [(MOST, "rejected", "too many ask for it")]


def test_at_the_end_all_are_answered_and_so_is_whoever_comes_later() -> None:
    desk = Desk()
    desk.calls.add(call(1))
    desk.calls.begin()
    desk.calls.add(call(2))
    desk.calls.end()
    assert not desk.calls.add(call(3))
    desk.calls.settle(Outcome.DONE, "too late")
    assert desk.told == [(number, "unavailable", ENDS) for number in (1, 2, 3)]
