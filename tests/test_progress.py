"""Who is stuck: late by more than patience, seen by one who looks regularly; who waits is not."""

from __future__ import annotations

import math

from bridge.progress import LOOK, PATIENCE, Progress


def looks(progress: Progress, begin: float, end: float) -> list[tuple[float, list[str]]]:
    """What is seen at each look."""
    found = []
    now = begin
    while now <= end:
        found.append((now, progress.stuck(now)))
        now += LOOK
    return found


def test_a_part_that_does_not_turn_in_time_is_stuck() -> None:
    progress = Progress(lambda: {"clock": 5.0, "broker": math.inf})
    seen = looks(progress, 0.0, 60.0)
    assert all(not stuck for now, stuck in seen if now <= 5.0 + PATIENCE)
    assert all(stuck == ["clock"] for now, stuck in seen if now > 5.0 + PATIENCE)


def test_one_that_waits_for_ever_or_turns_now_and_then_is_not() -> None:
    parts = {"broker": math.inf, "clock": 0.0}
    progress = Progress(lambda: parts)
    for now in range(1000):
        parts["clock"] = now + 0.25
        assert progress.stuck(float(now)) == []


def test_one_that_has_ended_is_stuck_at_once() -> None:
    progress = Progress(lambda: {"journal": -math.inf})
    assert looks(progress, 0.0, 1.0)[-1][1] == ["journal"]


def test_who_was_stopped_itself_first_gives_the_others_time_to_turn() -> None:
    parts = {"clock": 0.25}
    progress = Progress(lambda: parts)
    looks(progress, 0.0, 3.0)
    later = 1000.0  # the whole process slept
    seen = looks(progress, later, later + PATIENCE - LOOK)
    assert all(not stuck for _, stuck in seen)
    assert progress.stuck(later + PATIENCE) == ["clock"]  # and if it still does not: it is stuck
    parts["clock"] = later + PATIENCE + 1
    assert progress.stuck(later + PATIENCE + LOOK) == []
