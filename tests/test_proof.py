"""How old may a command be? The bound that canaries give, against a line that holds back what it likes."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bridge.proof import CANARY, SLOW, Proof


def proved(at: float = 0.0) -> Proof:
    """On a connection without an old session, its first canary back."""
    proof = Proof()
    proof.connected(at, session_present=False)
    proof.sent(b"first", at)
    assert proof.returned(b"first", at)
    return proof


def test_in_the_beginning_nothing_is_known() -> None:
    assert Proof().age(1000.0) == math.inf


def test_without_an_old_session_nothing_can_have_waited() -> None:
    proof = Proof()
    proof.connected(10.0, session_present=False)
    assert proof.age(10.5) == 0.0


def test_after_the_first_canary_what_comes_is_fresh() -> None:
    proof = proved()
    proof.connected(5.0, session_present=True)
    proof.sent(b"x", 5.0)
    assert proof.age(5.01) > 0.0
    assert proof.returned(b"x", 5.02)
    assert proof.age(5.03) == 0.0


def test_before_the_first_canary_the_old_link_counts() -> None:
    proof = proved(at=0.0)
    proof.connected(7.0, session_present=True)
    assert proof.age(8.0) == 8.0  # the last canary that came back was sent at 0


def test_a_new_process_knows_nothing_about_an_old_session() -> None:
    proof = Proof()
    proof.connected(0.0, session_present=True)
    assert proof.age(0.1) == math.inf
    proof.sent(b"x", 0.2)
    proof.returned(b"x", 0.3)
    assert proof.age(0.4) == 0.0


def test_canaries_of_an_earlier_connection_prove_nothing() -> None:
    proof = proved()
    proof.sent(b"lost", 1.0)
    proof.connected(2.0, session_present=True)
    assert not proof.returned(b"lost", 2.1)
    assert not proof.returned(b"made up", 2.1)
    assert proof.age(2.2) > 0.0


def test_a_line_that_stalls_makes_what_comes_doubtful() -> None:
    proof = proved()
    proof.sent(b"slow", 1.0)
    assert proof.age(1.0 + SLOW) == 0.0
    assert proof.age(1.0 + SLOW + 0.1) > SLOW
    proof.returned(b"slow", 6.0)
    assert proof.age(6.0) >= 5.0  # it came through a line that was stalled, and so may other things have
    proof.sent(b"quick", 6.1)
    proof.returned(b"quick", 6.2)
    assert proof.age(6.3) == 0.0


def test_a_process_that_was_stopped_knows_that_it_was() -> None:
    proof = proved()
    assert proof.age(CANARY + SLOW + 5.0) >= 5.0


def test_the_round_trip_is_that_of_the_last_canary() -> None:
    proof = Proof()
    proof.connected(0.0, session_present=False)
    assert proof.round_trip is None
    proof.sent(b"a", 1.0)
    proof.returned(b"a", 1.25)
    assert proof.round_trip == 0.25
    proof.connected(2.0, session_present=True)
    assert proof.round_trip is None


def test_it_is_known_for_how_long_a_canary_is_out() -> None:
    proof = proved()
    assert proof.waiting(5.0) == 0.0
    proof.sent(b"a", 6.0)
    proof.sent(b"b", 7.0)
    assert proof.waiting(9.0) == 3.0


@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 4),  # then, so much later:
            st.sampled_from(["publish", "canary", "deliver", "break", "stall"]),
        ),
        max_size=50,
    )
)
def test_the_bound_is_never_less_than_the_true_age(story: list[tuple[float, str]]) -> None:
    """A broker that delivers in order, and a line that holds everything back or breaks whenever it likes."""
    now, count, stalled = 0.0, 0, False
    proof = Proof()
    proof.connected(now, session_present=False)
    kept: list[tuple[str, float]] = []  # what is in the broker or on the line for us, oldest first

    def deliver() -> None:
        while kept:
            what, at = kept.pop(0)
            if what.startswith("canary"):
                proof.returned(what.encode(), now)
            else:  # a stall shorter than that may pass unseen between two canaries
                assert proof.age(now) >= now - at - (CANARY + SLOW) - 1e-9

    for wait, what in story:
        now += wait
        match what:
            case "publish":
                kept.append(("command", now))
            case "canary":
                count += 1
                proof.sent(f"canary {count}".encode(), now)
                kept.append((f"canary {count}", now))
            case "break":
                proof.connected(now, session_present=True)
                stalled = True
            case "stall":
                stalled = True
            case "deliver":
                stalled = False
        if not stalled:
            deliver()
