"""Pings as keepalive and as fences: what a pong proves, and when silence means death."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.heartbeat import Heartbeat, Pings


def test_a_pong_passes_its_fence_and_all_before_it() -> None:
    beat = Heartbeat(Pings(None, None), 0.0)
    beat.ping(1.0, "a")
    beat.ping(2.0)
    second = beat.ping(3.0, "b")
    third = beat.ping(4.0, "c")
    assert beat.pong(second, 5.0) == (["a", "b"], 2.0)
    assert beat.pong(third, 6.0) == (["c"], 2.0)


def test_a_pong_that_nobody_asked_for_proves_nothing() -> None:
    beat = Heartbeat(Pings(None, 10.0), 0.0)
    payload = beat.ping(1.0, "a")
    for stranger in (b"", b"heartbeat", payload + b"0"):
        assert beat.pong(stranger, 2.0) == ([], None)
    assert beat.pong(payload, 3.0) == (["a"], 2.0)
    assert beat.pong(payload, 4.0) == ([], None)


@given(st.lists(st.booleans(), max_size=30), st.data())
def test_every_fence_is_passed_once_and_in_order(fences: list[bool], data: st.DataObject) -> None:
    beat = Heartbeat(Pings(None, None), 0.0)
    payloads = [beat.ping(float(n), f"{n}" if fence else None) for n, fence in enumerate(fences)]
    answered = [payload for payload in payloads if data.draw(st.booleans())]
    passed: list[str] = []
    for payload in answered:
        passed += beat.pong(payload, 100.0)[0]
    reached = payloads.index(answered[-1]) + 1 if answered else 0
    assert passed == [f"{n}" for n, fence in enumerate(fences[:reached]) if fence]
    assert len(set(payloads)) == len(payloads)


def test_a_keepalive_is_due_an_interval_after_the_last_ping_of_any_kind() -> None:
    beat = Heartbeat(Pings(20.0, 30.0), 100.0)
    assert (beat.next, beat.due) == (120.0, 120.0)
    beat.ping(110.0, "fence")
    assert beat.next == 130.0


def test_the_oldest_missing_pong_counts() -> None:
    beat = Heartbeat(Pings(20.0, 30.0), 0.0)
    first, second = beat.ping(10.0), beat.ping(20.0)
    assert not beat.overdue(39.9)
    assert beat.overdue(40.0)
    beat.pong(first, 39.0)
    assert not beat.overdue(49.9)
    assert beat.due == 40.0  # the next keepalive
    beat.pong(second, 45.0)
    assert not beat.overdue(1e9)


@pytest.mark.parametrize("pings", [Pings(None, None), Pings(None, 5.0)])
def test_no_interval_means_no_pings_of_its_own(pings: Pings) -> None:
    assert Heartbeat(pings, 0.0).due == math.inf


def test_no_timeout_means_patience_for_ever() -> None:
    beat = Heartbeat(Pings(None, None), 0.0)
    beat.ping(0.0, "fence")
    assert not beat.overdue(1e9)
    assert beat.due == math.inf
