"""Repeated warnings: a few lines, then a count; each kind for itself, and nothing is lost in silence."""

from __future__ import annotations

import logging

from bridge.log_limits import BURST, KINDS, WINDOW, Repeats


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(event: str, level: int = logging.WARNING, **fields: object) -> logging.LogRecord:
    message = {"event": event, **fields}
    return logging.LogRecord("bridge.x", level, "", 0, message, (), None)


def told(found: logging.LogRecord) -> object:
    assert isinstance(found.msg, dict)
    return found.msg.get("repeated")


def test_a_kind_is_told_so_often_and_then_counted() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    assert [repeats.filter(record("a")) for _ in range(BURST + 3)] == [True] * BURST + [False] * 3
    clock.now += WINDOW
    again = record("a")
    assert repeats.filter(again)
    assert told(again) == 3
    fresh = record("a")
    assert repeats.filter(fresh)
    assert told(fresh) is None


def test_kinds_are_counted_apart() -> None:
    repeats = Repeats(Clock())
    for _ in range(BURST):
        repeats.filter(record("a", device="io"))
    assert not repeats.filter(record("a", device="io"))
    assert repeats.filter(record("a", device="cell"))
    assert repeats.filter(record("b", device="io"))
    assert repeats.filter(record("a", logging.ERROR, device="io"))


def test_information_is_never_held_back() -> None:
    repeats = Repeats(Clock())
    assert all(repeats.filter(record("a", logging.INFO)) for _ in range(100))


def test_what_nobody_repeats_is_summed_up_once() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    for number in range(BURST + 7):
        repeats.filter(record("a", number=number))
    repeats.filter(record("b"))
    assert repeats.due() == []
    clock.now += WINDOW
    (sum_,) = repeats.due()
    assert sum_.msg == {"event": "a", "number": BURST + 6, "repeated": 7}
    assert repeats.due() == []
    assert repeats.filter(record("a"))


def test_foreign_records_are_counted_in_their_text() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    for number in range(BURST + 2):
        repeats.filter(logging.LogRecord("paho", logging.WARNING, "", 0, "no %s", (number,), None))
    clock.now += WINDOW
    (sum_,) = repeats.due()
    assert sum_.getMessage() == f"no {BURST + 1} (repeated 2 times)"


def test_strangers_cannot_make_it_grow() -> None:
    repeats = Repeats(Clock())
    for number in range(3 * KINDS):
        repeats.filter(record(f"kind {number}"))
    assert len(repeats._windows) == KINDS


def test_what_was_held_back_of_a_kind_that_gives_way_is_told_all_the_same() -> None:
    repeats = Repeats(Clock())
    for _ in range(BURST + 4):
        repeats.filter(record("first"))
    for number in range(KINDS):
        repeats.filter(record(f"kind {number}"))
    (sum_,) = repeats.due()
    assert told(sum_) == 4
    assert repeats.due() == []
