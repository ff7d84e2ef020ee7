"""Long frames of the IM7: what is left when their long texts are cut out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.drivers.im7_frames import Unreadable
from bridge.drivers.im7_long import Outline

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\/{}[],: \n'),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text('a"\\'), children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text('a"\\'), JSON, max_size=4))
def test_short_texts_stay(message: dict[str, object]) -> None:
    assert Outline(json.dumps(message)).message == message


@given(st.dictionaries(st.text('a"\\'), JSON, max_size=4), st.sampled_from(["x", '"', "\\", '\\"', "\n"]))
def test_long_texts_go_and_nothing_else(message: dict[str, object], part: str) -> None:
    outline = Outline(json.dumps({"before": message, "long": part * 65_536, "after": message}))
    assert outline.message["before"] == outline.message["after"] == message
    assert str(outline.message["long"]).startswith("<lab2mqtt")


@pytest.mark.parametrize("frame", ["", '"', '{"a": "\\"', "[]", "{" + '"a": 1, ' * 30_000 + '"a": 1}'])
def test_what_is_no_message(frame: str) -> None:
    with pytest.raises(Unreadable):
        Outline(frame)
