"""Commands sent and not yet answered, by whatever correlates their answers."""

from __future__ import annotations

import pytest

from bridge.model import Command, Outcome
from bridge.pending import Pending


def test_an_answer_finds_its_command_once() -> None:
    pending, command = Pending(), Command("a", "lamp", timeout=5.0)
    pending.add("turn 1", command, now=100.0)
    assert "turn 1" in pending
    assert pending.get("turn 1") is command
    assert pending.pop("turn 1") is command
    assert pending.pop("turn 1") is pending.get("turn 1") is None
    assert len(pending) == 0


def test_a_key_is_given_once() -> None:
    pending = Pending()
    pending.add("lamp", Command("a", "lamp"), now=0.0)
    with pytest.raises(ValueError, match="'lamp' is pending already"):
        pending.add("lamp", Command("b", "lamp"), now=0.0)
    assert pending.get("lamp") == Command("a", "lamp")


def test_what_is_overdue_is_unknown() -> None:
    pending = Pending()
    pending.add("soon", Command("a", "lamp", timeout=5.0), now=100.0)
    pending.add("later", Command("b", "lamp", timeout=9.0), now=100.0)
    pending.add("never", Command("c", "job", timeout=None), now=100.0)
    assert pending.due == 105.0
    assert list(pending.expire(104.9)) == []
    (reply,) = pending.expire(105.0)
    assert (reply.id, reply.outcome) == ("a", Outcome.UNKNOWN)
    assert (pending.due, pending.oldest()) == (109.0, "later")
    assert [reply.detail for reply in pending.expire(1e9, "stuck")] == ["stuck"]
    assert pending.due is None
    assert list(pending) == ["never"]


def test_it_may_change_while_it_is_read() -> None:
    pending = Pending()
    for name in "abc":
        pending.add(name, Command(name, "lamp", timeout=1.0), now=0.0)
    assert [pending.pop(name) is not None for name in pending] == [True] * 3
    assert pending.oldest() is None
    pending.add("d", Command("d", "lamp", timeout=0.0), now=0.0)
    for reply in pending.expire(0.0):
        pending.add("e", Command(reply.id, "lamp", timeout=0.0), now=0.0)
    assert list(pending) == ["e"]
