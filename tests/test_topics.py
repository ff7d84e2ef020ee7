"""The mapping between what the bridge says and MQTT topics, and which response topics may be used."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.keys import key_levels, point_key
from bridge.topics import MAX_RESPONSE_TOPIC, Address, DeviceTopics, Topics

TOPICS = Topics("site7/lab", "here")
IDS = st.from_regex(r"[a-z0-9]{1,5}(_[a-z0-9]{1,5}){0,2}", fullmatch=True)
LEVELS = st.lists(st.text(st.characters()), min_size=1, max_size=3)


@given(st.sampled_from(["set", "call"]), IDS, LEVELS)
def test_a_command_topic_gives_its_address_back(verb: str, device: str, levels: list[str]) -> None:
    key = point_key(*levels)
    address = TOPICS.parse(f"site7/lab/{device}/{verb}/{key}")
    assert address == Address(verb, device, key)
    assert key_levels(address.key) == tuple(levels)


@pytest.mark.parametrize(
    "topic",
    [
        "site7/lab",
        "site7/lab/io",
        "site7/lab/io/set",
        "site7/lab/io/set/",
        "site7/lab/io/state/x",
        "site7/lab/io/reply/x",
        "site7/lab/_bridge/set/x",
        "site7/lab/_bridge/other/call/refresh",
        "site7/labs/io/set/x",
        "other/io/set/x",
        "lab/io/set/x",
        "",
    ],
)
def test_other_topics_are_no_commands(topic: str) -> None:
    assert TOPICS.parse(topic) is None


def test_the_bridge_itself_is_called() -> None:
    assert TOPICS.parse("site7/lab/_bridge/here/call/refresh") == Address("call", None, "refresh")


def test_only_what_is_ours_is_subscribed() -> None:
    filters = TOPICS.filters(["io", "cell"])
    assert filters == [
        "site7/lab/io/set/#",
        "site7/lab/io/call/#",
        "site7/lab/cell/set/#",
        "site7/lab/cell/call/#",
        "site7/lab/_bridge/here/call/#",
    ]


def test_the_topics_of_a_bridge() -> None:
    assert TOPICS.status == "site7/lab/_bridge/here/status"
    assert TOPICS.status_of("other") == "site7/lab/_bridge/other/status"
    assert TOPICS.event("link") == "site7/lab/_bridge/here/event/link"
    assert TOPICS.reply(None, "refresh") == "site7/lab/_bridge/here/reply/refresh"
    assert TOPICS.reply("io", "do/1_01") == "site7/lab/io/reply/do/1_01"


def test_the_topics_of_a_device() -> None:
    device = TOPICS.device("io")
    assert device.status() == "site7/lab/io/status"
    assert device.status("My/Module") == "site7/lab/io/status/My%2FModule"
    assert device.points("xS11") == "site7/lab/io/points/xS11"
    assert device.link == "site7/lab/io/link"
    assert device.state("do/1_01") == "site7/lab/io/state/do/1_01"
    assert device.part("run 1", 3) == "site7/lab/io/data/run 1/part/3"
    assert device.live("a/b") == "site7/lab/io/data/a%2Fb/live"
    assert device.manifest("x") == "site7/lab/io/data/x/manifest"
    assert device.job("+") == "site7/lab/io/job/%2B"


@given(st.text(st.characters(), min_size=1), st.text(st.characters(), min_size=1))
def test_groups_and_jobs_never_share_a_topic(one: str, other: str) -> None:
    assume(one != other)
    device = DeviceTopics("root", "io")
    assert device.status(one) != device.status(other)
    assert device.job(one) != device.job(other)
    assert device.status(one) != device.status()


# --- response topics -------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["response/me", "response/a/b", "site7/lab/io/reply/x", "response/" + "x" * 247])
def test_good_response_topics(topic: str) -> None:
    assert TOPICS.may_answer(topic, "io", "response/")


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "response",
        "Response/me",
        "response/+",
        "response/me/#",
        "response/a\0b",
        "response/" + "x" * 248,
        "response/" + "é" * 124,
        "response" + "/" * 64,
        "site7/lab/io/set/do/1_01",
        "site7/lab/io/call/pulse",
        "site7/lab/io/replyx",
        "site7/lab/io/reply/+",
        "site7/lab/other/reply/x",
        "site7/lab/_bridge/here/reply/x",
        "homeassistant/device/x/config",
        "$SYS/x",
    ],
)
def test_bad_response_topics(topic: str) -> None:
    assert not TOPICS.may_answer(topic, "io", "response/")


def test_what_the_bridge_answers_goes_below_its_own_reply() -> None:
    assert TOPICS.may_answer("site7/lab/_bridge/here/reply/x", None, "response/")
    assert not TOPICS.may_answer("site7/lab/io/reply/x", None, "response/")


@given(st.text(max_size=300), st.sampled_from(["response/", "site7/", "site7/lab/", "s"]))
def test_whatever_is_configured_no_answer_becomes_a_command(rest: str, prefix: str) -> None:
    for topic in (prefix + rest, f"site7/lab/io/set/{rest}", f"site7/lab/io/call/{rest}"):
        if TOPICS.may_answer(topic, "io", prefix):
            assert TOPICS.parse(topic) is None
            assert len(topic.encode()) <= MAX_RESPONSE_TOPIC
            assert not topic.startswith("site7/lab/") or topic.startswith("site7/lab/io/reply/")
