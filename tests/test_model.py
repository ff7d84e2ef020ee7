"""Points as users see them: keys that can be read back, and what values and arguments they accept."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.keys import key_levels, point_key
from bridge.model import Argument, Json, Kind, Outcome, Point
from bridge.reading import boolean, in_range

TEXTS = st.text(st.characters())  # surrogates too: a device's names come from JSON
JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


# --- keys ------------------------------------------------------------------------------------------------


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_key_gives_its_levels_back(levels: list[str]) -> None:
    assert key_levels(point_key(*levels)) == tuple(levels)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_key_is_fit_for_a_topic(levels: list[str]) -> None:
    key = point_key(*levels)
    key.encode()  # valid UTF-8
    assert not any(character in key for character in "+#\0")
    assert not any(ord(character) < 32 for character in key)
    assert key.count("/") == len(levels) - 1
    assert all(level and level[0] not in "_$" for level in key.split("/"))


@given(st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, min_size=1, max_size=3))
def test_different_levels_have_different_keys(one: list[str], other: list[str]) -> None:
    assert (point_key(*one) == point_key(*other)) is (one == other)


@pytest.mark.parametrize(
    ("levels", "key"),
    [
        (("do", "1_01"), "do/1_01"),
        (("MyFocuser", "parameters", "exposure"), "MyFocuser/parameters/exposure"),
        (("a+b#c",), "a%2Bb%23c"),
        (("a/b",), "a%2Fb"),
        (("100%",), "100%25"),
        (("_hidden", "$sys", "in_side$"), "%5Fhidden/%24sys/in_side$"),
        (("", "x"), "%/x"),
        (("°C", "Ω\n"), "°C/Ω%0A"),
    ],
)
def test_keys_are_escaped_as_the_contract_says(levels: tuple[str, ...], key: str) -> None:
    assert point_key(*levels) == key
    assert key_levels(key) == levels


# --- readings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", "on", "ON", "True", " true\n"])
def test_words_for_on(value: Json) -> None:
    assert boolean(value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, -0.0, "0", "off", "Off", "FALSE"])
def test_words_for_off(value: Json) -> None:
    assert boolean(value) is False


@pytest.mark.parametrize("value", [None, 2, -1, 0.5, "", "yes", "2", [], [1], {}, math.nan, "on off"])
def test_what_is_neither(value: Json) -> None:
    with pytest.raises(ValueError, match="neither ON nor OFF"):
        boolean(value)


@given(JSON, st.none() | st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6))
def test_a_number_is_finite_and_between_its_limits_or_refused(
    value: Json, minimum: float | None, maximum: float | None
) -> None:
    try:
        number = in_range(value, minimum, maximum, "V")
    except ValueError:
        return
    assert math.isfinite(number)
    assert not isinstance(value, bool)
    assert minimum is None or number >= minimum
    assert maximum is None or number <= maximum
    assert isinstance(value, int | float | str)
    assert float(value) == number


def test_a_number_may_be_huge_without_harm() -> None:
    with pytest.raises(ValueError, match="finite"):
        in_range(10**400, None, None)


def test_python_s_own_ways_to_write_numbers_are_not_read() -> None:
    for text in ("1_000", "0x10", "1,5", "½"):
        with pytest.raises(ValueError, match=f"'{text}' is not a finite number"):
            in_range(text, None, None)


def test_a_number_out_of_range_says_so_with_the_unit() -> None:
    with pytest.raises(ValueError, match="11 is above the maximum of 10 V"):
        in_range("11", 0, 10, "V")
    with pytest.raises(ValueError, match="-1 is below the minimum of 0"):
        in_range(-1, 0, 10)


# --- points ----------------------------------------------------------------------------------------------


@given(st.sampled_from(list(Kind)), JSON)
def test_a_point_accepts_what_fits_its_kind_or_says_why_not(kind: Kind, value: Json) -> None:
    point = Point("key", kind, "Name", minimum=0, maximum=10, choices=("a", "b"))
    try:
        accepted = point.accept(value)
    except ValueError:
        return
    match kind:
        case Kind.SWITCH:
            assert isinstance(accepted, bool)
        case Kind.NUMBER:
            assert isinstance(accepted, float)
            assert 0 <= accepted <= 10
        case Kind.CHOICE:
            assert accepted in ("a", "b")
        case Kind.TEXT:
            assert accepted == value
        case _:
            pytest.fail(f"a {kind} is not written")


@pytest.mark.parametrize("kind", [Kind.SENSOR, Kind.BINARY, Kind.ACTION, Kind.EVENT, Kind.IMAGE])
def test_what_is_only_read_accepts_nothing(kind: Kind) -> None:
    with pytest.raises(ValueError, match="key is read-only"):
        Point("key", kind, "Name").accept("ON")


ARGUMENTS = (
    Argument("count", "integer", required=True, minimum=1, maximum=5),
    Argument("ratio", "number"),
    Argument("kind", choices=("slow", "fast")),
    Argument("really", "boolean"),
    Argument("where", "point"),
    Argument("table", "object"),
    Argument("list", "array"),
    Argument("what", "any"),
)
ACTION = Point("act", Kind.ACTION, "Act", arguments=ARGUMENTS)


def test_arguments_are_read_as_declared() -> None:
    given_ = {"count": "3", "ratio": "0.5", "kind": "slow", "really": "ON", "where": "do/1"}
    more = {"table": {"a": 1}, "list": [1], "what": None}
    read = {"count": 3, "ratio": 0.5, "kind": "slow", "really": True, "where": "do/1"}
    accepted = ACTION.arguments_of({**given_, **more})
    assert accepted == {**read, **more}
    assert type(accepted["count"]) is int


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ({}, "argument 'count' is missing"),
        ({"count": 1, "speed": 1}, "unknown argument 'speed' (act takes count, ratio"),
        ({"count": 1.5}, "argument 'count': 1.5 is not a whole number"),
        ({"count": 6}, "above the maximum"),
        ({"count": True}, "finite number"),
        ({"count": 1, "ratio": "NaN"}, "argument 'ratio'"),
        ({"count": 1, "kind": "medium"}, "not one of slow, fast"),
        ({"count": 1, "kind": 5}, "not a text"),
        ({"count": 1, "really": "maybe"}, "neither ON nor OFF"),
        ({"count": 1, "where": None}, "not a text"),
        ({"count": 1, "table": []}, "not an object"),
        ({"count": 1, "list": "ab"}, "not an array"),
        ({"count": 1, "list": {}}, "not an array"),
    ],
)
def test_arguments_that_do_not_fit_are_named(args: dict[str, Json], word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        ACTION.arguments_of(args)


def test_an_action_without_arguments_says_so() -> None:
    with pytest.raises(ValueError, match="stop takes no arguments"):
        Point("stop", Kind.ACTION, "Stop").arguments_of({"now": True})


def test_only_accepted_is_not_final() -> None:
    assert [outcome for outcome in Outcome if not outcome.final] == [Outcome.ACCEPTED]
