"""Who may do what: rules over keys, values and what a command touches; the rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.access import Bucket, Limit, Rules, refusal
from bridge.driver import Touch
from bridge.model import Argument, Command, Json, Kind, Point, Scalar

POINTS = {
    point.key: point
    for point in (
        Point("ro/1", Kind.SWITCH, "Relay 1"),
        Point("ro/2", Kind.SWITCH, "Relay 2"),
        Point("ao/1", Kind.NUMBER, "Output", minimum=0, maximum=10),
        Point("di/1", Kind.BINARY, "Input"),
        Point("di/1/mode", Kind.CHOICE, "Mode", choices=("a", "b"), guarded=True),
        Point("pulse", Kind.ACTION, "Pulse", arguments=(Argument("point", "point"),)),
        Point("reset", Kind.ACTION, "Reset", guarded=True),
    )
}


def why(rules: Rules, key: str, value: Json = None, *touches: Touch, **args: Json) -> str | None:
    return refusal(rules, POINTS[key], Command("id", key, value, args), touches, POINTS)


def test_without_rules_all_but_the_dangerous_is_allowed() -> None:
    assert why(Rules(), "ro/1", True) is None
    assert why(Rules(), "ao/1", 5.0) is None
    assert why(Rules(), "pulse", point="ro/1") is None
    assert "needs an explicit `allow`" in str(why(Rules(), "di/1/mode", "a"))
    assert "needs an explicit `allow`" in str(why(Rules(), "reset"))


@pytest.mark.parametrize("key", list(POINTS))
def test_read_only_allows_nothing(key: str) -> None:
    assert "read_only" in str(why(Rules(read_only=True, allow=("*",)), key))


@pytest.mark.parametrize(
    ("allow", "deny", "key", "allowed"),
    [
        (("ro/*",), (), "ro/1", True),
        (("ro/*",), (), "ao/1", False),
        (("ro/1",), (), "ro/2", False),
        (("*",), (), "ro/1", True),
        (("*",), (), "di/1/mode", False),  # dangerous: not by a star alone
        (("di/*",), (), "di/1/mode", False),
        (("di/*/mode",), (), "di/1/mode", True),
        (("di/1",), (), "di/1/mode", False),
        ((), ("ro/*",), "ro/1", False),
        ((), ("ro/*",), "ao/1", True),
        (("ro/*",), ("ro/1",), "ro/1", False),  # deny wins
        (("ro/*",), ("ro/1",), "ro/2", True),
        ((), ("RO/1",), "ro/1", True),  # keys have case
        ((), (), "di/1/mode", False),
        (("ro/*",), (), "reset", False),
    ],
)
def test_allow_and_deny(allow: tuple[str, ...], deny: tuple[str, ...], key: str, allowed: bool) -> None:
    assert (why(Rules(allow=allow, deny=deny), key) is None) is allowed


@given(st.sampled_from(list(POINTS)), st.lists(st.sampled_from(["ro/*", "di/*", "*", "reset"]), max_size=3))
def test_what_is_denied_is_never_allowed(key: str, allow: list[str]) -> None:
    assert why(Rules(allow=tuple(allow), deny=(key,)), key) is not None


@pytest.mark.parametrize(
    ("value", "good"),
    [(1.0, True), (5.0, True), (0.99, False), (5.01, False), (True, True), ("9", True), (None, True)],
)
def test_limits_are_for_numbers(value: Scalar, good: bool) -> None:
    rules = Rules(limits={"ao/*": Limit(1, 5)})
    assert (why(rules, "ao/1", value) is None) is good
    assert why(rules, "ro/1", value) is None


# --- what a command touches ----------------------------------------------------------------------------------


def test_a_point_in_an_argument_is_checked_as_if_it_were_set() -> None:
    rules = Rules(deny=("ro/1",))
    assert "ro/1 is denied" in str(why(rules, "pulse", point="ro/1"))
    assert why(rules, "pulse", point="ro/2") is None
    assert "no point 'ro/9'" in str(why(rules, "pulse", point="ro/9"))
    assert "di/1 is read-only" in str(why(rules, "pulse", point="di/1"))
    assert "explicit `allow`" in str(why(rules, "pulse", point="di/1/mode"))


def test_so_is_what_the_driver_says_that_it_touches() -> None:
    rules = Rules(deny=("ro/1",), limits={"ao/1": Limit(maximum=5)})
    assert "denied" in str(why(rules, "pulse", None, Touch("ro/1")))
    assert "above the configured limit" in str(why(rules, "pulse", None, Touch("ao/1", 6)))
    assert "ao/1: 11 is above the maximum" in str(why(rules, "pulse", None, Touch("ao/1", 11)))
    assert why(rules, "pulse", None, Touch("ao/1", 4), Touch("ro/2", True)) is None
    assert "no point" in str(why(rules, "pulse", None, Touch("ro/alias", True)))


def test_a_name_that_is_no_point_may_be_allowed_or_denied_too() -> None:
    job = Touch("job/calibration", point=False, guarded=True)
    assert "explicit `allow`" in str(why(Rules(), "pulse", None, job))
    assert "explicit `allow`" in str(why(Rules(allow=("pulse", "job/*")), "pulse", None, job))
    assert why(Rules(allow=("pulse", "job/calib*")), "pulse", None, job) is None
    assert "denied" in str(why(Rules(deny=("job/*",)), "pulse", None, Touch("job/scan", point=False)))


# --- the rate ------------------------------------------------------------------------------------------------


@given(
    st.floats(0.1, 10),
    st.integers(1, 5),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_never_more_than_burst_and_rate_together(rate: float, burst: int, waits: list[float]) -> None:
    bucket, now, taken = Bucket(rate, burst), 1000.0, []
    for wait in waits:
        now += wait
        if bucket.take(now):
            taken.append(now)
    for first, begin in enumerate(taken):
        for count, end in enumerate(taken[first:], 1):
            assert count <= burst + (end - begin) * rate + 1e-6


@given(st.floats(0.1, 10), st.integers(1, 5))
def test_who_waits_long_enough_is_always_let_through(rate: float, burst: int) -> None:
    bucket = Bucket(rate, burst)
    assert all(bucket.take(100.0 + n * 1.001 / rate) for n in range(20))


def test_without_a_rate_there_is_no_limit() -> None:
    bucket = Bucket(None, 1)
    assert all(bucket.take(0.0) for _ in range(1000))
