"""When a changed value is worth a message, against the plainest model of what the policy promises."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Policy, Scalar
from bridge.policy import NEVER, Throttle, inherit

POLICIES = st.builds(
    Policy,
    deadband=st.none() | st.floats(0.1, 3),
    min_interval=st.none() | st.floats(0.1, 5),
    max_silence=st.none() | st.floats(0.5, 20),
)
VALUES: st.SearchStrategy[Scalar] = st.integers(0, 6) | st.booleans() | st.sampled_from(["a", "b"]) | st.none()
STEPS = st.lists(st.tuples(st.floats(0, 3), VALUES), min_size=1, max_size=40)


class Shell:
    """What a user of Throttle does: publish when told, and at `due`."""

    def __init__(self, policy: Policy) -> None:
        self.throttle = Throttle(policy)
        self.latest: Scalar = None
        self.published: list[tuple[float, Scalar]] = []

    def offer(self, value: Scalar, now: float) -> None:
        self.ring(now)
        self.latest = value
        if self.throttle.offer(value, now):
            self.published.append((now, value))

    def ring(self, now: float) -> None:
        while self.throttle.due <= now:
            at = self.throttle.due
            self.published.append((at, self.latest))
            self.throttle.published(self.latest, at)


def same(one: Scalar, other: Scalar) -> bool:
    return one == other and type(one) is type(other)


@given(POLICIES, STEPS)
def test_the_promises_hold_for_any_sequence(policy: Policy, steps: list[tuple[float, Scalar]]) -> None:
    shell, now = Shell(policy), 0.0
    for wait, value in steps:
        now += wait
        shell.offer(value, now)
    end = now + 100.0
    shell.ring(end)
    times = [at for at, _ in shell.published]

    # The first value goes out at once.
    assert same(shell.published[0][1], steps[0][1])
    # Nothing is said more often than allowed.
    interval = policy.min_interval or 0.0
    assert all(later - earlier >= interval - 1e-9 for earlier, later in pairwise(times))
    # Nor is it silent for longer than allowed.
    if policy.max_silence is not None:
        longest = max(policy.max_silence, interval)
        assert all(later - earlier <= longest + 1e-9 for earlier, later in pairwise(times))
        assert end - times[-1] <= longest + 1e-9
    # The last value is told, or so near to it that it does not matter.
    told, last = shell.published[-1][1], steps[-1][1]
    band = policy.deadband or 0.0
    near = (
        isinstance(told, int | float)
        and isinstance(last, int | float)
        and not isinstance(last, bool)
        and abs(told - last) < band
    )
    assert same(told, last) or near


@given(STEPS)
def test_without_a_policy_every_change_goes_out_and_nothing_else(steps: list[tuple[float, Scalar]]) -> None:
    shell, now = Shell(Policy()), 0.0
    for wait, value in steps:
        now += wait
        shell.offer(value, now)
    changes = [value for n, (_, value) in enumerate(steps) if n == 0 or not same(value, steps[n - 1][1])]
    assert [value for _, value in shell.published] == changes
    assert shell.throttle.due == NEVER


def test_a_value_that_goes_back_within_the_interval_is_not_told_twice() -> None:
    throttle = Throttle(Policy(min_interval=1.0))
    assert throttle.offer(1, 0.0)
    assert not throttle.offer(2, 0.2)
    assert throttle.due == 1.0
    assert not throttle.offer(1, 0.4)  # what was told already: nothing trails
    assert throttle.due == NEVER


def test_a_deadband_is_measured_from_what_was_told() -> None:
    throttle = Throttle(Policy(deadband=1.0))
    assert throttle.offer(0.0, 0.0)
    assert [throttle.offer(value, 1.0) for value in (0.4, 0.8, 0.99)] == [False] * 3  # creeping is not missed:
    assert throttle.offer(1.0, 2.0)


@pytest.mark.parametrize(
    ("first", "second"), [(None, 0), (0, None), ("1", 1), (1, "1"), (False, True), ("a", "b")]
)
def test_a_deadband_is_for_numbers(first: Scalar, second: Scalar) -> None:
    throttle = Throttle(Policy(deadband=5.0))
    throttle.offer(first, 0.0)
    assert throttle.offer(second, 1.0)


def test_a_minimum_interval_wins_over_a_shorter_maximum_silence() -> None:
    throttle = Throttle(Policy(min_interval=2.0, max_silence=1.0))
    throttle.offer(1, 0.0)
    assert throttle.due == 2.0


def test_layers_are_inherited_field_by_field() -> None:
    bridge, device = Policy(min_interval=1.0, deadband=0.5), Policy(min_interval=2.0)
    assert inherit(bridge, device, Policy(max_silence=9)) == Policy(0.5, 2.0, 9)
    assert inherit() == Policy()
    assert inherit(Policy(min_interval=1), Policy(min_interval=0)) == Policy(min_interval=0)  # 0 says something
