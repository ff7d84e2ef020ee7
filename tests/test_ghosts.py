"""What earlier lives left: noticed, counted over complete inventories, cleared; and never what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import monotonic

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.access import Rules
from bridge.catalogue import Catalogue
from bridge.ghosts import INVENTORIES, LARGEST, MOST, read_document
from bridge.model import Declared, GroupState, GroupStatus, Kind, Point, Update
from bridge.outbox import Publication
from bridge.topics import DeviceTopics
from bridge.values import Values

ONLINE, OFFLINE, GONE = GroupState.ONLINE, GroupState.OFFLINE, GroupState.GONE
KEYS = ["a", "b", "c", "d"]
GROUPS = ["", "x", "y"]


class Life:
    """One life of a device's catalogue over a broker that outlives it."""

    def __init__(self, retained: dict[str, bytes] | None = None) -> None:
        self.retained = {} if retained is None else retained
        topics = DeviceTopics("root", "io")
        self.values = Values(topics, self._publish, plain=False)
        self.catalogue = Catalogue(topics, self.values, self._publish, Rules(), {}, {}, ())
        self.read()
        self.connect()

    def read(self) -> None:
        """A connection to the broker begins: it tells what it keeps."""
        for topic, payload in list(self.retained.items()):
            if topic.partition("/")[0] == "points":
                document = read_document(payload)
                assert document is not None
                self.catalogue.found(document.group, document.kinds)

    def _publish(self, item: Publication) -> None:
        topic = item.topic.removeprefix("root/io/")
        if item.payload:
            self.retained[topic] = item.payload
        else:
            self.retained.pop(topic, None)

    def connect(self) -> None:
        self.catalogue.begin()

    def ready(self) -> None:
        for status in self.catalogue.unheard():
            self.catalogue.enter(status)

    def declare(self, group: str, *keys: str, kind: Kind = Kind.SENSOR) -> None:
        """These points, each with a value where it can have one."""
        self.catalogue.declare(Declared(tuple(Point(key, kind, key, group) for key in keys), group))
        for key in keys:
            self.values.update(Update(key, 1.0), 0.0, 0.0)

    def status(self, group: str, state: GroupState) -> None:
        self.catalogue.enter(GroupStatus(group, state, "said so"))

    def inventory(self, times: int = 1) -> Mapping[str, Mapping[str, str]]:
        found: Mapping[str, Mapping[str, str]] = {}
        for _ in range(times):
            found = self.catalogue.inventory()
        return found

    @property
    def states(self) -> set[str]:
        return {topic.removeprefix("state/") for topic in self.retained if topic.startswith("state/")}


def earlier(**groups: str) -> dict[str, bytes]:
    """What a life left that had these groups (`_`: the device itself) with these keys."""
    life = Life()
    for group, keys in groups.items():
        life.declare("" if group == "_" else group, *keys)
    return life.retained


# --- points ---------------------------------------------------------------------------------------------


def test_a_point_of_an_earlier_life_goes_with_the_second_inventory() -> None:
    life = Life(earlier(_="ab"))
    life.declare("", "a")
    assert life.inventory() == {}
    assert life.states == {"a", "b"}
    assert life.inventory() == {"": {"b": "sensor"}}
    assert life.states == {"a"}
    assert life.inventory() == {}


def test_until_then_the_document_names_it_for_the_next_life() -> None:
    life = Life(earlier(_="ab"))
    life.declare("", "a")
    document = json.loads(life.retained["points"])
    assert (list(document["points"]), document["former"]) == (["a"], {"b": "sensor"})
    again = Life(life.retained)  # killed before the second inventory
    again.declare("", "a")
    assert again.inventory(2) == {"": {"b": "sensor"}}
    assert "former" not in json.loads(again.retained["points"])


def test_a_point_that_is_declared_in_between_stays() -> None:
    life = Life(earlier(_="ab"))
    life.declare("", "a")
    life.inventory()
    life.declare("", "a", "b")
    assert life.inventory(5) == {}
    assert life.states == {"a", "b"}
    assert "former" not in json.loads(life.retained["points"])


def test_what_the_driver_takes_back_on_one_connection_goes_at_once() -> None:
    life = Life()
    life.declare("", "a", "b")
    life.declare("", "a")
    assert life.states == {"a"}


def test_what_a_new_connection_does_not_show_waits() -> None:
    life = Life()
    life.declare("", "a", "b")
    life.connect()
    life.declare("", "a")
    assert (life.states, set(life.catalogue.points)) == ({"a", "b"}, {"a"})
    life.declare("", "a", "b")  # the first reply of a server that has just started has gaps
    assert life.inventory(3) == {}
    assert life.states == {"a", "b"}


def test_what_was_cleared_while_there_was_no_broker_is_cleared_when_the_broker_shows_it_again() -> None:
    life = Life()
    life.declare("", "a", "b")
    life.declare("x", "c")
    kept = dict(life.retained)
    life.declare("", "a")
    life.status("x", GONE)
    after = dict(life.retained)
    life.retained |= kept
    life.read()
    assert life.retained == {**after, "points": kept["points"]}  # which is announced again anyway
    life.declare("x", "c")
    life.read()
    assert life.states == {"a", "c"}


def test_a_point_that_moved_to_another_group_keeps_its_state() -> None:
    life = Life(earlier(_="ab"))
    life.declare("", "a")
    life.declare("x", "b")
    assert life.inventory(2) == {"": {"b": "sensor"}}
    assert life.states == {"a", "b"}


def test_what_is_no_value_any_more_has_no_state() -> None:
    life = Life(earlier(_="a"))
    life.declare("", "a", kind=Kind.ACTION)
    assert life.states == set()


# --- groups ---------------------------------------------------------------------------------------------


def test_a_group_of_an_earlier_life_is_offline_and_then_goes() -> None:
    life = Life(earlier(_="a", x="b", y="cd"))
    assert (life.retained["status/x"], life.retained["status/y"]) == (b"offline", b"offline")
    life.declare("", "a")
    life.declare("x", "b")
    assert life.retained["status/x"] == b"online"
    life.inventory()
    assert life.retained["status/y"] == b"offline"
    assert life.inventory() == {"y": {"c": "sensor", "d": "sensor"}}
    assert sorted(life.retained) == ["points", "points/x", "state/a", "state/b", "status/x"]


def test_it_is_announced_offline_again() -> None:
    life = Life(earlier(x="b"))
    assert [(p.topic, p.payload) for p in life.catalogue.statuses()] == [("root/io/status/x", b"offline")]


def test_a_group_that_the_driver_says_is_offline_keeps_all_it_had() -> None:
    life = Life(earlier(_="a", x="b"))
    life.declare("", "a")
    life.status("x", OFFLINE)  # a board that does not answer is named, but its points are not
    assert life.inventory(5) == {}
    assert "b" in life.states


def test_while_a_group_is_offline_no_other_counts_as_vanished() -> None:
    life = Life(earlier(_="ab", x="c", y="d"))
    life.declare("", "a")
    life.declare("x", "c")
    life.status("x", OFFLINE)
    assert life.inventory(2) == {"": {"b": "sensor"}}
    assert life.inventory(3) == {}
    assert life.states == {"a", "c", "d"}
    life.status("x", ONLINE)
    assert life.inventory() == {}
    assert life.inventory() == {"y": {"d": "sensor"}}


def test_points_of_a_group_that_is_offline_do_not_count() -> None:
    life = Life(earlier(x="ab"))
    life.declare("x", "a")
    life.status("x", OFFLINE)
    assert life.inventory(5) == {}
    life.status("x", ONLINE)
    assert life.inventory(2) == {"x": {"b": "sensor"}}


def test_a_group_that_is_named_without_its_points_is_not_available() -> None:
    life = Life(earlier(_="a", x="b"))
    life.declare("", "a")
    life.status("x", ONLINE)  # the board is back, but its server knows its points only after a restart
    assert life.retained["status/x"] == b"offline"
    assert life.inventory(5) == {}
    life.declare("x", "b")
    assert life.retained["status/x"] == b"online"


def test_the_device_itself_keeps_its_status_when_it_has_no_points_of_its_own_any_more() -> None:
    life = Life(earlier(_="a", x="b"))
    life.retained["status"] = b"online"
    life.declare("x", "b")
    assert life.inventory(2) == {"": {"a": "sensor"}}
    assert sorted(life.retained) == ["points/x", "state/b", "status", "status/x"]


def test_a_group_that_is_gone_takes_along_what_it_had_in_an_earlier_life() -> None:
    life = Life(earlier(_="a", x="b"))
    life.declare("", "a")
    life.status("x", GONE)
    assert sorted(life.retained) == ["points", "state/a"]


def test_a_group_that_a_new_connection_does_not_declare_goes_in_two_steps() -> None:
    life = Life()
    life.declare("", "a")
    life.declare("x", "b")
    life.connect()
    life.declare("", "a")
    life.ready()
    assert life.retained["status/x"] == b"offline"
    life.inventory()
    assert life.states == {"a", "b"}
    assert life.inventory() == {"x": {"b": "sensor"}}
    assert sorted(life.retained) == ["points", "state/a"]
    assert set(life.catalogue.points) == {"a"}


def test_a_device_that_declares_nothing_loses_nothing() -> None:
    life = Life(earlier(_="a", x="b"))
    assert life.inventory(5) == {}
    assert life.states == {"a", "b"}


def test_a_list_that_some_stranger_wrote_costs_little() -> None:
    """Nor does one of ours: tens of thousands of points are cleared without a pause that others would notice."""
    life = Life()
    life.catalogue.found("", {f"p{number}": "sensor" for number in range(2 * LARGEST)})
    for number in range(2 * MOST):
        life.catalogue.found(f"g{number}", {"x": "sensor"})
    assert sum(len(life.catalogue.ghosts.of(group)) for group in life.catalogue.ghosts) == LARGEST
    assert len(life.retained) == len(list(life.catalogue.ghosts)) - 1 == MOST - 1  # groups, offline
    life.declare("")
    begun = monotonic()
    for _ in range(INVENTORIES):
        life.catalogue.inventory()
    assert len(life.catalogue.ghosts.of("")) == 0
    assert monotonic() - begun < 3.0


# --- documents ------------------------------------------------------------------------------------------


def test_foreign_documents_are_none() -> None:
    assert [read_document(text) for text in (b"", b"[]", b"\xff", b'{"points": 1}', b"[" * 100_000)] == [None] * 5


def test_what_is_no_key_names_no_topic() -> None:
    document = read_document(
        b'{"group": "", "points": {"#": {"kind": "sensor"}, "a/b": {}, "%FF": {}}, "former": {"+": "x"}}'
    )
    assert document is not None
    assert document.kinds == {"a/b": ""}


# --- always ---------------------------------------------------------------------------------------------

declaration = st.tuples(st.just("declare"), st.sampled_from(GROUPS), st.sets(st.sampled_from(KEYS)))
status = st.tuples(st.just("status"), st.sampled_from(GROUPS[1:]), st.sampled_from(GroupState))
steps = st.lists(
    declaration | status | st.tuples(st.sampled_from(["connect", "ready", "inventory", "restart", "read"])),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_what_the_device_shows_is_never_cleared_and_nothing_is_forgotten(steps: list[tuple[object, ...]]) -> None:
    """After any story every declared point has its state, and every state is listed: so it can be cleared."""
    life = Life()
    for step in steps:
        match step:
            case ("declare", str(group), set(keys)):
                life.declare(group, *(f"{group}{key}" for key in sorted(map(str, keys))))
            case ("status", str(group), GroupState() as state):
                life.status(group, state)
            case ("connect",):
                life.connect()
            case ("ready",):
                life.ready()
            case ("inventory",):
                life.inventory()
            case ("read",):
                life.read()
            case ("restart",):
                life = Life(life.retained)
        assert set(life.catalogue.points) <= life.states
        documents = [read_document(p) for topic, p in life.retained.items() if topic.startswith("points")]
        listed = {key for document in documents if document is not None for key in document.kinds}
        assert life.states <= listed
