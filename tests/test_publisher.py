"""From the outbox to the broker, over a connection of which the test decides what it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import pytest

from bridge.mqtt import Meta, Mqtt, MqttError, TooLarge
from bridge.outbox import Outbox, Publication
from bridge.publisher import LATE_AT_ONCE, OCCURRENCES_AT_ONCE, REFUSED_TOPICS, STRIKES, Publisher


class Line:
    """What a Publisher sees of a connection, scripted."""

    def __init__(self, window: int = 100) -> None:
        self.window = window
        self.congested = False
        self.sent: list[Publication] = []
        self.in_flight: list[int] = []
        self.fails: Callable[[Publication], Exception | None] = lambda item: None
        self._mid = 0

    @property
    def room(self) -> int:
        return 0 if self.congested else self.window - len(self.in_flight)

    def publish(
        self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, meta: Meta | None = None
    ) -> int | None:
        item = Publication(topic, payload, qos, retain, meta)
        if (error := self.fails(item)) is not None:
            raise error
        self.sent.append(item)
        if qos == 0:
            return None
        self._mid += 1
        self.in_flight.append(self._mid)
        return self._mid

    @property
    def topics(self) -> list[str]:
        return [item.topic for item in self.sent]


class Post:
    """A publisher with its outbox and all that it reported."""

    def __init__(self, occurrences: int = 10_000) -> None:
        self.outbox = Outbox(occurrences=occurrences)
        self.reports: list[tuple[str, str]] = []
        self.publisher = Publisher(
            self.outbox,
            lambda reason, topic: self.reports.append((reason, topic)),
            lambda lost: Publication("gap", json.dumps(lost).encode()),
        )
        self.line = Line()

    def connect(self, *states: Publication, window: int = 100) -> Line:
        self.line = Line(window)
        self.publisher.attach(cast(Mqtt, self.line), states)
        return self.line

    def acknowledge(self, *mids: int, code: int = 0) -> None:
        for mid in mids or tuple(self.line.in_flight):
            self.line.in_flight.remove(mid)
            self.publisher.acknowledged(mid, code)


def state(topic: str, payload: bytes = b"x", qos: int = 1) -> Publication:
    return Publication(topic, payload, qos, True)


def event(topic: str) -> Publication:
    return Publication(topic, b"x")


def answer(topic: str, *after: str) -> Publication:
    return Publication(topic, b"x", after=after)


# --- the order and the window ------------------------------------------------------------------------------


def test_without_a_connection_everything_waits() -> None:
    post = Post()
    post.outbox.answer(answer("a"))
    post.publisher.flush()
    assert (len(post.outbox), post.publisher.idle) == (1, False)
    post.connect()
    post.acknowledge()
    assert (post.publisher.idle, post.publisher.published) == (True, 1)


def test_answers_go_first_with_their_proofs_then_occurrences_then_states() -> None:
    post = Post()
    post.connect()
    post.line.congested = True
    post.outbox.state(state("s1"))
    post.outbox.state(state("proof", qos=0))
    post.outbox.occurrence(event("e"))
    post.outbox.answer(answer("a", "proof"))
    post.publisher.flush()
    assert post.line.sent == []
    post.line.congested = False
    post.publisher.flush()
    assert post.line.topics == ["proof", "a", "e", "s1"]


def test_the_window_is_never_overrun_and_a_puback_makes_room() -> None:
    post = Post()
    line = post.connect(window=2)
    for n in range(5):
        post.outbox.answer(answer(f"a{n}"))
    post.publisher.flush()
    assert (line.topics, post.publisher.in_flight) == (["a0", "a1"], 2)
    post.acknowledge(1)
    assert line.topics == ["a0", "a1", "a2"]
    while line.in_flight:
        post.acknowledge(line.in_flight[0])
    assert line.topics == [f"a{n}" for n in range(5)]
    assert post.publisher.idle


def test_a_full_window_holds_no_qos_0_state_back() -> None:
    post = Post()
    post.connect(window=1)
    post.outbox.answer(answer("a0"))
    post.outbox.answer(answer("a1"))
    post.publisher.state(state("value", qos=0))
    assert post.line.topics == ["a0", "value"]


def test_occurrences_leave_the_states_a_turn() -> None:
    post = Post()
    line = post.connect(window=1000)
    post.outbox.state(state("s"))
    for n in range(OCCURRENCES_AT_ONCE + 10):
        post.outbox.occurrence(event(f"e{n}"))
    post.publisher.flush()
    assert line.topics.index("s") == OCCURRENCES_AT_ONCE
    post.publisher.flush()
    assert post.outbox.occurrences == 0


def test_what_waited_for_a_connection_comes_after_what_is_now_a_few_at_a_time() -> None:
    post = Post()
    for n in range(LATE_AT_ONCE + 2):
        post.outbox.occurrence(event(f"late{n}"))
    line = post.connect(state("s"), window=1000)
    late = [f"late{n}" for n in range(LATE_AT_ONCE + 2)]
    assert line.topics == ["s", *late[:LATE_AT_ONCE]]
    post.outbox.occurrence(event("now"))
    post.publisher.flush()
    assert line.topics == ["s", *late[:LATE_AT_ONCE], "now"]
    post.acknowledge()
    assert line.topics == ["s", *late[:LATE_AT_ONCE], "now", *late[LATE_AT_ONCE:]]
    post.acknowledge()
    assert post.publisher.idle


def test_late_ones_keep_their_order_over_lost_connections() -> None:
    post = Post()
    names = [f"late{n}" for n in range(2 * LATE_AT_ONCE)]
    for name in names:
        post.outbox.occurrence(event(name))
    post.connect()
    post.outbox.occurrence(event("now"))
    post.publisher.flush()
    post.publisher.detach()
    post.outbox.occurrence(event("since"))
    line = post.connect(window=1000)
    while line.in_flight:
        post.acknowledge(line.in_flight[0])
    assert line.topics == [*names, "now", "since"]


def test_the_word_of_lost_occurrences_goes_before_what_is_left() -> None:
    post = Post(occurrences=2)
    for n in range(5):
        post.outbox.occurrence(event(f"e{n}"))
    line = post.connect()
    assert [(i.topic, i.payload) for i in line.sent] == [("gap", b"3"), ("e3", b"x"), ("e4", b"x")]


@pytest.mark.parametrize("error", [BufferError("full"), MqttError("not connected")])
def test_what_cannot_go_now_goes_later(error: Exception) -> None:
    post = Post()
    line = post.connect()
    line.fails = lambda item: error
    post.outbox.answer(answer("a"))
    post.publisher.flush()
    assert (line.sent, post.outbox.answers, post.reports) == ([], 1, [])
    line.fails = lambda item: None
    post.publisher.flush()
    assert line.topics == ["a"]


# --- what can never go -------------------------------------------------------------------------------------


def test_what_is_too_large_is_set_aside_and_reported_and_the_rest_goes_on() -> None:
    post = Post()
    line = post.connect()
    line.fails = lambda item: TooLarge(f"{item.topic}: too much") if item.topic == "big" else None
    for item in (answer("big"), answer("a")):
        post.outbox.answer(item)
    post.outbox.state(state("big"))
    post.publisher.flush()
    assert line.topics == ["a"]
    assert post.reports == [("big: too much", "big")] * 2
    assert post.publisher.refused["big"] == 2
    post.acknowledge()
    assert post.publisher.idle


def test_what_the_broker_refuses_is_not_sent_again() -> None:
    post = Post()
    line = post.connect()
    post.outbox.occurrence(event("forbidden"))
    post.publisher.flush()
    post.acknowledge(1, code=0x87)
    assert post.reports == [("refused by the broker (0x87)", "forbidden")]
    post.publisher.detach()
    post.connect()
    assert (line.topics, post.line.topics) == (["forbidden"], [])


def test_success_codes_are_no_refusals() -> None:
    post = Post()
    post.connect()
    post.outbox.occurrence(event("e"))
    post.publisher.flush()
    post.acknowledge(1, code=0x10)  # no matching subscribers
    assert post.reports == []


def test_an_acknowledgement_of_nothing_is_nothing() -> None:
    post = Post()
    post.connect()
    post.publisher.acknowledged(77, 0)
    assert post.publisher.idle


# --- a lost connection -----------------------------------------------------------------------------------------


def test_what_was_in_flight_is_sent_again_in_its_order_before_newer_things() -> None:
    post = Post()
    post.connect()
    post.outbox.answer(answer("a0"))
    post.outbox.occurrence(event("e0"))
    post.publisher.flush()
    post.outbox.answer(answer("a1"))
    post.publisher.detach()
    post.outbox.answer(answer("a2"))
    post.outbox.occurrence(event("e1"))
    assert post.connect().topics == ["a0", "a1", "a2", "e0", "e1"]


def test_states_are_told_from_the_beginning_and_the_newest_wins() -> None:
    post = Post()
    post.connect(state("s", b"1"))
    post.publisher.detach()
    post.publisher.state(state("s", b"2"))
    line = post.connect(state("s", b"3"), state("t"))
    assert [(i.topic, i.payload) for i in line.sent] == [("s", b"3"), ("t", b"x")]


def test_a_removal_that_was_in_flight_is_told_again() -> None:
    post = Post()
    post.connect()
    post.publisher.state(state("gone", b""))
    post.publisher.detach()
    assert [(i.topic, i.payload) for i in post.connect(state("s")).sent] == [("gone", b""), ("s", b"x")]


def test_a_message_in_flight_at_several_losses_in_a_row_is_set_aside() -> None:
    post = Post()
    post.outbox.occurrence(event("poison"))
    for _ in range(STRIKES):
        assert post.connect().topics == ["poison"]
        post.publisher.detach()
    assert post.reports == [("in flight at 3 lost connections in a row", "poison")]
    assert post.connect().topics == []


def test_a_state_that_kills_connections_is_not_announced_again() -> None:
    post = Post()
    bad, good = state("bad"), state("good")
    for turn in range(STRIKES):
        line = post.connect(good, bad)
        assert line.topics == ["good", "bad"], turn
        post.acknowledge(1)  # only the good one
        post.publisher.detach()
    assert post.connect(good, bad).topics == ["good"]
    post.publisher.detach()
    assert post.connect(good, state("bad", b"another payload")).topics == ["good", "bad"]


def test_strikes_are_in_a_row() -> None:
    post = Post()
    post.outbox.occurrence(event("e"))
    for _ in range(STRIKES - 1):
        post.connect()
        post.publisher.detach()
    post.connect()
    post.acknowledge()
    post.outbox.occurrence(event("e"))  # the same again, later
    for _ in range(STRIKES - 1):
        post.connect()
        post.publisher.detach()
    assert post.connect().topics == ["e"]
    assert post.reports == []


def test_a_line_that_fails_several_times_puts_nothing_aside_that_was_in_company() -> None:
    post = Post()
    states = [state("status"), state("points"), state("online")]
    for _ in range(STRIKES):
        post.connect(*states)
        post.publisher.detach()
    line = post.connect(*states)
    post.acknowledge()
    post.acknowledge()
    post.acknowledge()
    assert line.topics == ["status", "points", "online"]
    assert post.reports == []


def test_one_message_among_many_that_kills_connections_is_found() -> None:
    post = Post()
    states = [state("a"), state("bad"), state("z")]
    for _ in range(2):
        post.connect(*states)
        post.publisher.detach()
    for _ in range(STRIKES):
        line = post.connect(*states)
        post.acknowledge()
        assert line.topics == ["a", "bad"]  # one at a time
        post.publisher.detach()
    assert [topic for _, topic in post.reports] == ["bad"]
    line = post.connect(*states)
    post.acknowledge()
    assert line.topics == ["a", "z"]


def test_what_is_no_topic_is_set_aside() -> None:
    """`reply/` is longer than `set/`: the answer to a command with the longest topic there is has none."""
    post = Post()
    line = post.connect()
    line.fails = lambda item: ValueError("not a topic") if item.topic == "long" else None
    for item in (answer("long"), answer("a")):
        post.outbox.answer(item)
    post.publisher.flush()
    assert line.topics == ["a"]
    assert post.reports == [("not a topic", "long")]


def test_the_count_of_what_is_refused_is_bounded_whatever_topics_others_ask_for() -> None:
    post = Post()
    post.connect().fails = lambda item: TooLarge("too much")
    for n in range(REFUSED_TOPICS + 50):
        post.outbox.answer(answer(f"response/{n}"))
    post.publisher.flush()
    assert len(post.publisher.refused) == REFUSED_TOPICS + 1
    assert post.publisher.refused.total() == REFUSED_TOPICS + 50
