"""The story of a link as its retained document tells it."""

from __future__ import annotations

import json
from typing import Any

from bridge.link import Link, State


def told(link: Link) -> Any:
    return json.loads(link.encode())


def test_a_link_that_was_never_up_says_so() -> None:
    link = Link("here", since=1_700_000_000.0)
    assert told(link) == {
        "bridge": "here",
        "state": "offline",
        "reason": "not started",
        "since": "2023-11-14T22:13:20.000Z",
    }


def test_the_way_up_and_down() -> None:
    link = Link("here")
    link.enter(State.CONNECTING, 1.0, "connecting to ws://x")
    assert (told(link)["state"], told(link)["attempt"]) == ("connecting", 1)
    link.enter(State.OFFLINE, 2.0, "refused", next_try=4.5)
    assert told(link)["next_try"] == "1970-01-01T00:00:04.500Z"
    link.enter(State.CONNECTING, 5.0)
    assert told(link)["attempt"] == 2
    assert "next_try" not in told(link)
    link.enter(State.GREETING, 6.0)
    link.enter(State.READY, 7.0)
    link.round_trip = 0.0123
    link.queue = 3
    link.info = {"model": "L533"}
    up = told(link)
    assert (up["state"], up["since"], up["round_trip_ms"], up["queue"]) == (
        "ready",
        "1970-01-01T00:00:07.000Z",
        12.3,
        3,
    )
    assert up["device"] == {"model": "L533"}
    assert "attempt" not in up  # it is up: nothing is being tried
    link.enter(State.OFFLINE, 9.0, "gone")
    assert "round_trip_ms" not in told(link)
    assert told(link)["device"] == {"model": "L533"}  # what it said it is, it still is


def test_since_is_when_the_state_changed_not_when_it_was_said_again() -> None:
    link = Link("here")
    link.enter(State.READY, 1.0)
    link.enter(State.READY, 2.0, "still")
    assert link.since == 1.0
    link.enter(State.READY, 3.0, "busy", shown="stuck")
    assert (link.since, told(link)["state"], told(link)["reason"]) == (3.0, "stuck", "busy")
    link.enter(State.READY, 4.0)
    assert (link.since, told(link)["state"]) == (4.0, "ready")
