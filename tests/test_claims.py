"""Which bridge has which device: what retained links and statuses of others say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.claims import Claims
from bridge.topics import Topics

DEEP = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def claims(*devices: str) -> Claims:
    return Claims(Topics("root", "here"), list(devices))


def link(who: Claims, device: str, bridge: str) -> bool:
    return who.heard(f"root/{device}/link", b'{"bridge": "%b", "state": "ready"}' % bridge.encode())


def status(who: Claims, bridge: str, text: bytes) -> bool:
    return who.heard(f"root/_bridge/{bridge}/status", text)


def test_what_is_asked_for() -> None:
    assert claims("io", "cell").filters() == ["root/io/link", "root/cell/link", "root/_bridge/+/status"]


def test_nobody_has_what_nobody_names() -> None:
    assert claims("io").rival("io") is None


@pytest.mark.parametrize("link_first", [True, False])
def test_a_bridge_that_is_online_and_named_has_the_device(link_first: bool) -> None:
    who = claims("io", "cell")
    if link_first:
        assert link(who, "io", "other")
        assert who.rival("io") is None  # not known to be online
        assert status(who, "other", b"online")
    else:
        assert status(who, "other", b"online")
        assert link(who, "io", "other")
    assert (who.rival("io"), who.rival("cell")) == ("other", None)


def test_a_bridge_that_goes_offline_has_nothing() -> None:
    who = claims("io")
    link(who, "io", "other")
    for text, rival in ((b"online", "other"), (b"offline", None), (b"online", "other"), (b"", None)):
        status(who, "other", text)
        assert who.rival("io") == rival


def test_our_own_word_is_no_claim_of_others() -> None:
    who = claims("io")
    link(who, "io", "here")
    status(who, "here", b"online")
    assert who.rival("io") is None


def test_a_device_may_be_handed_over() -> None:
    who = claims("io")
    status(who, "other", b"online")
    link(who, "io", "other")
    link(who, "io", "here")
    assert who.rival("io") is None


@pytest.mark.parametrize(
    "payload", [b"", b"online", b"[]", b'{"bridge": 5}', b"{", b"{}", b"\xff", b'{"bridge": "\xff"}', DEEP]
)
def test_what_is_no_link_of_a_bridge_names_nobody(payload: bytes) -> None:
    who = claims("io")
    status(who, "other", b"online")
    link(who, "io", "other")
    assert who.heard("root/io/link", payload)
    assert who.rival("io") is None


@given(st.text(max_size=20))
def test_other_topics_are_left_to_others(topic: str) -> None:
    who = claims("io")
    known = topic.startswith("root/_bridge/") or topic == "root/io/link"
    assert known or not who.heard(topic, b"online")
    assert not who.heard("root/other/link", b"{}")
    assert not who.heard("root/io/status", b"online")
