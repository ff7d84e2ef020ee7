"""The lanes: answers are never lost, the last state wins, each lost occurrence is counted, late ones come last."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.outbox import Lane, Outbox, Publication

TOPICS = st.sampled_from(["a", "b", "c"])


def item(topic: str, payload: bytes = b"x", *, after: tuple[str, ...] = (), number: int = 0) -> Publication:
    return Publication(topic, payload, after=after, number=number)


class Shelf:
    """What survives, by number."""

    def __init__(self) -> None:
        self.items: dict[int, Publication] = {}
        self._number = 0

    def keep(self, item: Publication) -> int:
        self._number += 1
        self.items[self._number] = item
        return self._number

    def forget(self, number: int) -> None:
        del self.items[number]


class Lanes(RuleBasedStateMachine):
    """Random traffic against three plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.outbox = Outbox(occurrences=5, occurrence_bytes=40, kept=self.shelf)
        self.count = 0
        self.answers: list[Publication] = []
        self.states: dict[str, Publication] = {}
        self.occurrences: list[bytes] = []
        self.late: list[bytes] = []
        self.flying: list[Publication] = []
        self.durable: set[bytes] = set()
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

    @rule(topic=TOPICS, size=st.integers(5, 60), durable=st.booleans())
    def occurrence(self, topic: str, size: int, durable: bool) -> None:
        new = self.new(f"event/{topic}", size)
        self.put_in += 1
        self.occurrences.append(new.payload)
        if durable:
            self.durable.add(new.payload)
        self.outbox.occurrence(new, durable=durable)
        while len(self.late) + len(self.occurrences) > 5 or (
            sum(map(len, self.late + self.occurrences)) > 40 and len(self.late) + len(self.occurrences) > 1
        ):
            self.durable.discard((self.late or self.occurrences).pop(0))

    @rule()
    def connection(self) -> None:
        """What waited for it is late."""
        self.outbox.begin()
        self.late += self.occurrences
        self.occurrences = []

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
        self.take(self.outbox.next_occurrence(), self.occurrences, Lane.OCCURRENCE)

    @rule()
    def take_late(self) -> None:
        self.take(self.outbox.next_late(), self.late, Lane.LATE)

    def take(self, head: Publication | None, expected: list[bytes], lane: Lane) -> None:
        assert (head and head.payload) == (expected[0] if expected else None)
        if head is not None:
            assert self.outbox.remove(head) is lane
            self.flying.append(head)
            expected.pop(0)
            self.taken += 1

    @rule()
    def acknowledged(self) -> None:
        if self.flying:
            item = self.flying.pop(0)
            self.outbox.settled(item)
            self.durable.discard(item.payload)

    @invariant()
    def nothing_is_lost_uncounted(self) -> None:
        outbox = self.outbox
        waiting = len(self.occurrences) + len(self.late)
        assert (outbox.answers, outbox.states) == (len(self.answers), len(self.states))
        assert outbox.occurrences == waiting
        assert len(outbox) == len(self.answers) + len(self.states) + waiting
        assert self.put_in == self.taken + waiting + outbox.lost
        assert outbox.lost == sum(outbox.dropped.values())

    @invariant()
    def what_is_durable_survives_until_it_is_settled(self) -> None:
        assert {item.payload for item in self.shelf.items.values()} == self.durable


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
    outbox.put_back([item("1"), item("2")], [item("a"), item("b")], [item("before")])
    outbox.begin()
    answers, occurrences = [], []
    while (head := outbox.next_answer()) is not None:
        outbox.remove(head)
        answers.append(head.topic)
    while (head := outbox.next_late()) is not None:
        outbox.remove(head)
        occurrences.append(head.topic)
    assert (answers, occurrences) == (["1", "2", "3"], ["before", "a", "b", "c"])


def test_a_late_occurrence_says_so_once_and_bytes_that_are_no_json_stay_as_they_are() -> None:
    outbox = Outbox()
    outbox.recall([item("earlier", b'{"event_type":"link"}')])
    outbox.occurrence(item("waited", b'{"n":1}'))
    outbox.occurrence(item("part", b"\x93NUMPY"))
    outbox.begin()
    outbox.begin()
    told = []
    while (head := outbox.next_late()) is not None:
        outbox.remove(head)
        told.append(head.payload)
    assert told == [b'{"event_type":"link","cached":true}', b'{"n":1,"cached":true}', b"\x93NUMPY"]


def test_of_what_an_earlier_process_left_the_oldest_go_first_when_it_is_too_much() -> None:
    shelf = Shelf()
    outbox = Outbox(occurrences=2, kept=shelf)
    outbox.recall([item(name, name.encode(), number=shelf.keep(item(name))) for name in "abc"])
    outbox.occurrence(item("now"))
    assert (outbox.dropped, outbox.lost) == (Counter(a=1, b=1), 2)
    assert [kept.topic for kept in shelf.items.values()] == ["c", "now"]


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
        outbox.put_back([], [], removals=[gone])
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
    outbox.put_back([], [], removals=[item("back", b"")])  # it was in flight, and is told anew in the meantime
    assert outbox.next_state() == item("back", b"new")
    assert outbox.states == 1
