"""The three lanes: answers are never lost, the last state wins, every lost occurrence is counted."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.outbox import Lane, Outbox, Publication

TOPICS = st.sampled_from(["a", "b", "c"])


def item(topic: str, payload: bytes = b"x", *, after: tuple[str, ...] = ()) -> Publication:
    return Publication(topic, payload, after=after)


class Lanes(RuleBasedStateMachine):
    """Random traffic against three plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(occurrences=5, occurrence_bytes=40)
        self.count = 0
        self.answers: list[Publication] = []
        self.states: dict[str, Publication] = {}
        self.occurrences: list[Publication] = []
        self.put_in = 0
        self.taken = 0

    def new(self, topic: str, size: int = 1, after: tuple[str, ...] = ()) -> Publication:
        self.count += 1
        return item(topic, (b"%05d" % self.count).ljust(size, b"."), after=after)

    @rule(topic=TOPICS, after=st.lists(TOPICS, max_size=2).map(tuple))
    def answer(self, topic: str, after: tuple[str, ...]) -> None:
        self.answers.append(self.new(f"reply/{topic}", after=after))
        self.outbox.answer(self.answers[-1])

    @rule(topic=TOPICS)
    def state(self, topic: str) -> None:
        self.states[topic] = self.new(topic)
        self.outbox.state(self.states[topic])

    @rule(topic=TOPICS, size=st.integers(5, 60))
    def occurrence(self, topic: str, size: int) -> None:
        new = self.new(f"event/{topic}", size)
        self.put_in += 1
        self.occurrences.append(new)
        self.outbox.occurrence(new)
        while len(self.occurrences) > 5 or (
            sum(len(o.payload) for o in self.occurrences) > 40 and len(self.occurrences) > 1
        ):
            self.occurrences.pop(0)

    @rule()
    def take_answer(self) -> None:
        head = self.outbox.next_answer()
        if not self.answers:
            assert head is None
            return
        first = next((self.states[t] for t in self.answers[0].after if t in self.states), self.answers[0])
        assert head is first
        lane = self.outbox.remove(first)
        if first is self.answers[0]:
            assert lane is Lane.ANSWER
            self.answers.pop(0)
        else:
            assert lane is Lane.STATE
            del self.states[first.topic]

    @rule()
    def take_state(self) -> None:
        head = self.outbox.next_state()
        assert head is next(iter(self.states.values()), None)
        if head is not None:
            assert self.outbox.remove(head) is Lane.STATE
            del self.states[head.topic]

    @rule()
    def take_occurrence(self) -> None:
        head = self.outbox.next_occurrence()
        assert head is (self.occurrences[0] if self.occurrences else None)
        if head is not None:
            assert self.outbox.remove(head) is Lane.OCCURRENCE
            self.occurrences.pop(0)
            self.taken += 1

    @invariant()
    def nothing_is_lost_uncounted(self) -> None:
        outbox = self.outbox
        assert (outbox.answers, outbox.states) == (len(self.answers), len(self.states))
        assert outbox.occurrences == len(self.occurrences)
        assert len(outbox) == len(self.answers) + len(self.states) + len(self.occurrences)
        assert self.put_in == self.taken + len(self.occurrences) + outbox.lost
        assert outbox.lost == sum(outbox.dropped.values())


Lanes.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40)
test_lanes = Lanes.TestCase


@given(st.lists(st.tuples(TOPICS, st.binary(max_size=3)), max_size=20))
def test_of_each_topic_the_last_state_is_kept_where_the_first_one_stood(changes: list[tuple[str, bytes]]) -> None:
    outbox = Outbox()
    for topic, payload in changes:
        outbox.state(item(topic, payload))
    told = []
    while (state := outbox.next_state()) is not None:
        outbox.remove(state)
        told.append((state.topic, state.payload))
    assert told == list(dict(changes).items())
    assert outbox.merged == len(changes) - len(told)


def test_a_state_that_proves_an_answer_goes_first_if_it_still_waits() -> None:
    outbox = Outbox()
    outbox.state(item("state/other"))
    outbox.state(item("state/ro"))
    outbox.answer(item("reply/ro", after=("state/ro", "state/told_already")))
    order = []
    while (head := outbox.next_answer()) is not None:
        outbox.remove(head)
        order.append(head.topic)
    assert order == ["state/ro", "reply/ro"]
    assert outbox.states == 1


def test_one_occurrence_over_the_bound_of_bytes_is_kept_alone() -> None:
    outbox = Outbox(occurrence_bytes=10)
    outbox.occurrence(item("small", b"12345"))
    outbox.occurrence(item("huge", b"x" * 100))
    assert outbox.next_occurrence() == item("huge", b"x" * 100)
    assert outbox.dropped == Counter(small=1)


def test_the_word_of_a_loss_goes_first_and_ends_the_count() -> None:
    outbox = Outbox(occurrences=1)
    for name in "abc":
        outbox.occurrence(item(name))
    assert outbox.lost == 2
    outbox.head(item("gap"))
    assert outbox.lost == 0
    assert outbox.next_occurrence() == item("gap")


# --- a lost connection -----------------------------------------------------------------------------------


def test_what_was_in_flight_goes_first_again_in_its_old_order() -> None:
    outbox = Outbox()
    outbox.answer(item("3"))
    outbox.occurrence(item("c"))
    outbox.put_back([item("1"), item("2")], [item("a"), item("b")])
    answers, occurrences = [], []
    while (head := outbox.next_answer()) is not None:
        outbox.remove(head)
        answers.append(head.topic)
    while (head := outbox.next_occurrence()) is not None:
        outbox.remove(head)
        occurrences.append(head.topic)
    assert (answers, occurrences) == (["1", "2", "3"], ["a", "b", "c"])


def test_a_new_connection_tells_the_states_from_the_beginning() -> None:
    outbox = Outbox()
    outbox.state(item("old"))
    outbox.restart([item("b"), item("a")])
    assert outbox.states == 2
    assert outbox.next_state() == item("b")


@pytest.mark.parametrize("in_flight", [False, True])
def test_a_removal_is_told_again_for_nothing_else_would(in_flight: bool) -> None:
    outbox = Outbox()
    gone = item("gone", b"")
    if in_flight:
        outbox.put_back([], [], [gone])
    else:
        outbox.state(gone)
    outbox.restart([item("here")])
    assert outbox.next_state() == gone
    outbox.remove(gone)
    assert outbox.next_state() == item("here")


def test_what_is_there_again_is_not_removed() -> None:
    outbox = Outbox()
    outbox.state(item("back", b""))
    outbox.restart([item("back", b"new")])
    outbox.put_back([], [], [item("back", b"")])  # it was in flight, and is told anew in the meantime
    assert outbox.next_state() == item("back", b"new")
    assert outbox.states == 1
