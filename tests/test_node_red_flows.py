"""The Node-RED flows in config/node-red keep the contract's rules and can be imported side by side."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.simulate import INSTRUMENTS

FLOWS = Path(__file__).parents[1] / "config" / "node-red"
FILES = sorted(FLOWS.glob("*.json"))
Node = dict[str, Any]

BROKER = {"lab2mqtt_broker"}
DASHBOARD = {"lab2mqtt_ui", "lab2mqtt_theme"}  # shared by the dashboards, as the broker is by all
STRUCTURE = {"tab", "group", "junction", "comment", "mqtt-broker"}
CORE = {
    "inject",
    "debug",
    "catch",
    "link in",
    "link out",
    "function",
    "switch",
    "change",
    "trigger",
    "rbe",
    "watch",
}
MQTT = {"mqtt in", "mqtt out"}
WIDGETS = {
    "ui-text",
    "ui-switch",
    "ui-slider",
    "ui-button",
    "ui-chart",
    "ui-progress",
    "ui-notification",
    "ui-table",
}
PAGES = {"ui-base", "ui-theme", "ui-page", "ui-group"}

DEVICE = r"lab2mqtt/(?:[a-z0-9_]+|\+)"
BRIDGE = r"lab2mqtt/_bridge/(?:[a-z0-9_]+|\+)"
KEY = r"[^/#]+(?:/[^/#]+)*"
READ = re.compile(
    rf"{DEVICE}/(status|link|state/{KEY}|event/[^/]+|job/\+|data/\+/(live|manifest)|reply/{KEY})"
    rf"|{BRIDGE}/(status|health|info|event/(\w+|\+))"
    r"|response/node-red/[a-z0-9-]+"
)
SENT = re.compile(rf"lab2mqtt/[a-z0-9_]+/(set|call)/{KEY}|lab2mqtt/_bridge/[a-z0-9_]+/call/(refresh|reload)")
IN_CODE = re.compile(r"[`']((?:lab2mqtt|response)/[^`']+)[`']")


def nodes_of(path: Path) -> list[Node]:
    nodes: list[Node] = json.loads(path.read_text(encoding="utf-8"))
    return nodes


def of_type(nodes: Sequence[Node], *types: str) -> list[Node]:
    return [node for node in nodes if node["type"] in types]


def named(path: Path) -> str:
    return path.stem


@pytest.fixture(params=FILES, ids=named)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def nodes(path: Path) -> list[Node]:
    return nodes_of(path)


def test_there_is_a_flow_and_a_dashboard_for_each_instrument() -> None:
    there = {path.stem for path in FILES}
    for driver in INSTRUMENTS:
        name = driver.replace("_", "-")
        assert {name, f"{name}-dashboard"} <= there
    assert {"first-steps", "bridge"} <= there


def test_ids_are_unique_but_for_what_is_shared() -> None:
    shared = BROKER | DASHBOARD
    found = Counter(node["id"] for path in FILES for node in nodes_of(path))
    assert {id_ for id_, count in found.items() if count > 1} == shared
    for id_ in shared:
        copies = [node for path in FILES for node in nodes_of(path) if node["id"] == id_]
        assert all(copy == copies[0] for copy in copies)


def test_every_reference_leads_to_a_node_of_the_file(nodes: list[Node]) -> None:
    there = {node["id"]: node for node in nodes}
    for node in nodes:
        wires = [id_ for output in node.get("wires", []) for id_ in output]
        for id_ in [*wires, *node.get("links", []), *node.get("nodes", [])]:
            assert id_ in there, (node["name"], id_)
        for key in ("z", "g", "broker", "group", "page", "ui", "theme"):
            if key in node and node["type"] != "mqtt-broker":
                assert node[key] in there, (node["name"], key)
    for link in of_type(nodes, "link out"):
        assert [node["type"] for node in (there[id_] for id_ in link["links"])] == ["link in"]
        assert link["id"] in there[link["links"][0]]["links"]


def test_only_what_a_node_red_has_that_followed_the_readme(path: Path, nodes: list[Node]) -> None:
    allowed = STRUCTURE | CORE | MQTT
    if path.stem.endswith("-dashboard"):
        allowed = allowed | WIDGETS | PAGES
    assert {node["type"] for node in nodes} <= allowed
    assert not [node["name"] for node in of_type(nodes, "function") if node["libs"]]


def test_no_credentials_and_one_broker(nodes: list[Node]) -> None:
    assert not [node for node in nodes if {"credentials", "user", "password"} & node.keys()]
    (broker,) = of_type(nodes, "mqtt-broker")
    assert (broker["broker"], broker["port"], broker["protocolVersion"]) == ("localhost", "1883", "5")
    assert broker["cleansession"]  # nothing waits for a Node-RED that is away
    assert all(node["broker"] == broker["id"] for node in of_type(nodes, *MQTT))


def test_commands_are_never_retained_and_arrive(nodes: list[Node]) -> None:
    """mqtt out: the node's own `false` also overrules a retain flag of the message."""
    for node in of_type(nodes, "mqtt out"):
        assert (node["qos"], node["retain"]) == ("1", "false"), node["name"]


def test_states_come_in_with_the_flag_that_tells_kept_from_new(nodes: list[Node]) -> None:
    """Retain as published would mark every state as kept."""
    for node in of_type(nodes, "mqtt in"):
        assert (node["rap"], node["rh"], node["datatype"]) == (False, 0, "auto-detect"), node["name"]


def topics_sent(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        match node["type"]:
            case "mqtt out" if node["topic"]:
                yield node["topic"]
            case "inject":
                yield from (one["v"] for one in node["props"] if one["p"] == "topic" and "/" in one["v"])
            case "change":
                yield from (rule["to"] for rule in node["rules"] if rule["p"] == "topic")
            case "function":
                found = IN_CODE.findall(node["func"])
                yield from (
                    topic.replace("${key}", "key")
                    for topic in found
                    if topic.startswith("lab2mqtt/") and "+" not in topic
                )


def test_topics_have_the_forms_of_the_contract(nodes: list[Node]) -> None:
    for node in of_type(nodes, "mqtt in"):
        assert READ.fullmatch(node["topic"]), node["topic"]
    sent = list(topics_sent(nodes))
    assert sent
    for topic in sent:
        assert SENT.fullmatch(topic), topic


def test_devices_are_those_of_the_demo(nodes: list[Node]) -> None:
    known = {instrument.device for instrument in INSTRUMENTS.values()} | {"_bridge", "+"}
    topics = [node["topic"] for node in of_type(nodes, *MQTT) if node["topic"].startswith("lab2mqtt/")]
    assert {topic.split("/")[1] for topic in (*topics, *topics_sent(nodes))} <= known


def commands(nodes: Sequence[Node]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """What asks for an answer: name, properties."""
    for node in nodes:
        if node["type"] == "inject":
            given = {one["p"]: one["v"] for one in node["props"]}
        elif node["type"] == "change":
            given = {rule["p"]: rule["to"] for rule in node["rules"]}
        else:
            continue
        if "responseTopic" in given:
            yield node["name"], given


def test_who_asks_names_itself_and_listens_for_the_answer(nodes: list[Node]) -> None:
    heard = {node["topic"] for node in of_type(nodes, "mqtt in")}
    asked = dict(commands(nodes))
    assert asked
    for name, given in asked.items():
        assert given["responseTopic"] in heard, name
        assert given["correlationData"], name
        assert given["messageExpiryInterval"] == "5", name
    in_code = [topic for node in of_type(nodes, "function") for topic in IN_CODE.findall(node["func"])]
    assert {topic for topic in in_code if topic.startswith("response/")} <= heard


def test_response_topics_are_one_per_file() -> None:
    found = [
        {node["topic"] for node in of_type(nodes_of(path), "mqtt in") if node["topic"].startswith("response/")}
        for path in FILES
    ]
    assert all(len(one) == 1 for one in found)
    assert len(set.union(*found)) == len(found)


def test_functions_of_one_name_are_the_same_everywhere() -> None:
    for name in ("answer in words", "connection in words", "job in words", "queue in words"):
        codes = {
            node["func"] for path in FILES for node in of_type(nodes_of(path), "function") if node["name"] == name
        }
        assert len(codes) == 1, name


def test_groups_hold_their_nodes_say_what_they_do_and_do_not_overlap(nodes: list[Node]) -> None:
    groups = of_type(nodes, "group")
    there = {node["id"]: node for node in nodes}
    for group in groups:
        inside = [there[id_] for id_ in group["nodes"]]
        assert [node["g"] for node in inside] == [group["id"]] * len(inside)
        assert [node["type"] for node in inside].count("comment") == 1, group["name"]
        for node in inside:
            assert group["x"] < node["x"] < group["x"] + group["w"], node["name"]
            assert group["y"] < node["y"] < group["y"] + group["h"], node["name"]
    for one, other in combinations(groups, 2):
        assert one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all("g" in node for node in nodes if "x" in node and node["type"] != "group")


def test_nothing_lies_on_something_else(nodes: list[Node]) -> None:
    for one, other in combinations([node for node in nodes if "x" in node and node["type"] != "group"], 2):
        assert abs(one["x"] - other["x"]) >= 30 or abs(one["y"] - other["y"]) >= 30, (one["name"], other["name"])


def test_names_say_which_node_it_is(nodes: list[Node]) -> None:
    names = [node["name"] for node in nodes if "x" in node and node["type"] not in ("junction", "group")]
    assert all(names)
    assert len(names) == len(set(names))
