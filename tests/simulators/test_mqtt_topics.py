"""Filters against the examples of the standard (4.7), and the tree against the plain comparison."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulators.mqtt_topics import Grant, Message, RetainedMessages, SubscriptionTree, matches, valid_filter

levels = st.sampled_from(["", "a", "b", "$x"])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
filters = (
    st.tuples(st.lists(levels | st.just("+"), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join(parts[0] + parts[1]))
    .filter(bool)
)


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/#", "+/a/#", "/+", "a//b", "/", "$SYS/#", "ä/+"])
def test_valid_filters(topic_filter: str) -> None:
    assert valid_filter(topic_filter)


@pytest.mark.parametrize("topic_filter", ["", "a#", "a/#/b", "#/a", "a+", "+a/b", "a/b+/c", "##", "++"])
def test_filters_that_are_not_valid(topic_filter: str) -> None:
    assert not valid_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/a", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/monitor", True),
        ("a/#", "a/$b", True),
    ],
)
def test_what_a_filter_matches(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter.split("/"), topic) is expected
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add(topic_filter, "me", Grant(1))
    assert tree.match(topic) == ([("me", [Grant(1)])] if expected else [])


@given(st.lists(filters, unique=True, max_size=6), topics, st.data())
def test_the_tree_finds_what_comparing_each_filter_finds(
    chosen: list[str], topic: str, data: st.DataObject
) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    for topic_filter in chosen:
        tree.add(topic_filter, topic_filter, Grant(0))
        tree.match(topic)  # so that a stale answer would show
    gone = data.draw(st.sets(st.sampled_from(chosen))) if chosen else set()
    for topic_filter in gone:
        tree.remove(topic_filter, topic_filter)
    expected = {name for name in chosen if name not in gone and matches(name.split("/"), topic)}
    assert {name for name, _ in tree.match(topic)} == expected


def test_a_filter_of_many_levels_is_no_danger() -> None:
    deep = "/".join("a" * 30_000)
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add(deep, "me", Grant(0))
    assert tree.match(deep) == [("me", [Grant(0)])]
    tree.remove(deep, "me")
    assert tree.match(deep) == []


def test_expired_retained_messages_are_not_shown_and_make_room() -> None:
    retained = RetainedMessages(limit=20)
    short = Message("a", bytes(10), 0, True, expires=5.0)
    assert retained.store(short, 0.0)
    assert not retained.store(Message("b", bytes(10), 0, True), 4.9)
    assert retained.matching("#", 4.9) == [short]
    assert retained.matching("a", 5.0) == []
    assert retained.store(Message("b", bytes(10), 0, True), 5.0)
    assert len(retained) == 1
