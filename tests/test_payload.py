"""The encodings of values, answers and blocks, and the reading of commands."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import payload
from bridge.model import Block, Json, Outcome, Quality, Reply, Scalar
from bridge.payload import MAX_ID, StateFormat, Times, Wish

TIME = "2026-11-21T10:00:00.123Z"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS: st.SearchStrategy[Scalar] = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FINITE | TEXTS
JSON: st.SearchStrategy[Json] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


# --- values --------------------------------------------------------------------------------------------


@given(SCALARS, st.none() | TEXTS, st.sampled_from(list(Quality)))
def test_an_envelope_is_json_with_just_its_keys(value: Scalar, unit: str | None, quality: Quality) -> None:
    read = json.loads(StateFormat(unit, plain=False).encode(value, TIME, quality))
    expected: dict[str, object] = {"value": value, "time": TIME}
    if unit:
        expected["unit"] = unit
    if quality is not Quality.GOOD:
        expected["quality"] = quality.value
    assert read == expected
    assert type(read["value"]) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, b"ON"), (False, b"OFF"), (None, b"null"), (5, b"5"), (5.5, b"5.5"), ("a °", "a °".encode())],
)
def test_a_plain_value_is_bare(value: Scalar, text: bytes) -> None:
    assert StateFormat("V", plain=True).encode(value, TIME, Quality.BAD) == text


@given(st.floats(0, 4e9))
def test_times_are_rfc_3339_with_milliseconds(seconds: float) -> None:
    text = payload.timestamp(seconds)
    assert len(text) == len(TIME)
    assert text.endswith("Z")
    assert abs(datetime.fromisoformat(text).timestamp() - seconds) <= 0.0011


def test_non_finite_numbers_become_null() -> None:
    assert payload.json({"a": math.nan, "b": [math.inf, -math.inf, 1.5]}) == b'{"a":null,"b":[null,null,1.5]}'


def test_half_a_surrogate_pair_keeps_nothing_from_being_said() -> None:
    assert payload.json({"a\ud800": ("x\udfff", Times(received="\ud800"))}) == b'{"a?":["x?",{"received":"?"}]}'
    assert b'"x?"' in StateFormat("\ud800", plain=False).encode("x\ud800", TIME)


# --- set -----------------------------------------------------------------------------------------------


@given(TEXTS.filter(lambda text: not text.lstrip().startswith("{")))
def test_a_bare_payload_is_left_as_text(text: str) -> None:
    assert payload.read_set(text.encode()) == Wish(value=text)


@given(
    JSON,
    JSON,
    st.none() | st.text(min_size=1, max_size=MAX_ID),
    st.none() | st.floats(0, 1e9),
    st.none() | st.floats(0, 1e9),
    st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
)
def test_an_envelope_is_read_back(
    value: Json, expect: Json, id_: str | None, expires: float | None, timeout: float | None, sent: datetime | None
) -> None:
    fields = {
        "value": value,
        **({} if expect is None else {"expect": expect}),
        "id": id_,
        "expires": expires,
        "timeout": timeout,
        "sent": None if sent is None else sent.isoformat(),
    }
    wish = payload.read_set(json.dumps(fields).encode())
    assert (wish.value, wish.expect, wish.id) == (value, expect, id_)
    assert (wish.expires, wish.timeout) == (expires, timeout)
    assert wish.sent == (None if sent is None else sent.timestamp())


def test_an_expected_null_is_no_condition_that_anybody_means() -> None:
    with pytest.raises(ValueError, match="`expect` is null"):
        payload.read_set(b'{"value": 1, "expect": null}')


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"{}", 'needs the key "value"'),
        (b'{"id": "x"}', 'needs the key "value"'),
        (b'{"value": 1, "args": {}}', "unknown field `args`"),
        (b'{"value": 1,}', "not valid JSON"),
        (b'{"value": NaN}', "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"value": 1}x', "not valid JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"value": 1, "id": ""}', "0 characters"),
        (b'{"value": 1, "id": "' + b"x" * 129 + b'"}', "129 characters"),
        (b'{"value": 1, "id": 7}', "does not fit"),
        (b'{"value": 1, "expires": -1}', "`expires`"),
        (b'{"value": 1, "timeout": "1"}', "does not fit"),
        (b'{"value": 1, "sent": "noon"}', "no RFC 3339 time"),
        (b'{"value": 1, "sent": "2026-11-21T10:00:00"}', "no time zone"),
        (b'{"value":' * 3000 + b"1" + b"}" * 3000, "nested too deep"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(text: bytes, word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)) as caught:
        payload.read_set(text)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: ("{" + text).encode(errors="replace")))
def test_any_bytes_are_a_wish_or_an_error(data: bytes) -> None:
    for read in (payload.read_set, payload.read_call):
        try:
            assert isinstance(read(data), Wish)
        except ValueError:
            assert len(payload.id_of(data)) <= MAX_ID


# --- call ----------------------------------------------------------------------------------------------


@given(st.dictionaries(TEXTS.filter(lambda name: name != "args"), JSON, max_size=4))
def test_an_object_without_args_is_the_arguments(args: dict[str, Json]) -> None:
    assert payload.read_call(json.dumps(args).encode()) == Wish(args=args)


@given(st.dictionaries(TEXTS, JSON, max_size=4), st.text(min_size=1, max_size=5))
def test_an_object_with_args_is_an_envelope(args: dict[str, Json], id_: str) -> None:
    wish = payload.read_call(json.dumps({"args": args, "id": id_, "expires": 3}).encode())
    assert (wish.args, wish.id, wish.expires) == (args, id_, 3)


@pytest.mark.parametrize("text", [b"", b" \n", b"{}", b'{"args": {}}'])
def test_nothing_means_no_arguments(text: bytes) -> None:
    assert payload.read_call(text).args == {}


@pytest.mark.parametrize(
    "text", [b"[]", b"null", b"5", b'"x"', b"ON", b'{"args": []}', b'{"args": {}, "value": 1}', b'{"args": null}']
)
def test_other_things_are_no_call(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        payload.read_call(text)


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        (b'{"value": 1, "id": "mine", "odd": 1}', "mine"),
        (b'{"id": 5}', ""),
        (b'{"id": "' + b"x" * 129 + b'"}', ""),
        (b"[1]", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b'{"value": 1, "id": "\xff"}', ""),
        (b"", ""),
    ],
)
def test_the_id_of_what_was_turned_down(text: bytes, id_: str) -> None:
    assert payload.id_of(text) == id_


# --- answers and blocks ----------------------------------------------------------------------------------


@given(st.sampled_from(list(Outcome)), TEXTS, JSON, st.booleans())
def test_an_answer_has_the_keys_of_the_contract(outcome: Outcome, detail: str, data: Json, action: bool) -> None:
    times = Times(received=TIME, answered=TIME)
    read = json.loads(payload.answer(Reply("id", outcome, detail, data), action=action, times=times))
    expected: dict[str, object] = {
        "id": "id",
        "outcome": outcome.value,
        "final": outcome is not Outcome.ACCEPTED,
        "detail": detail,
        "times": {"received": TIME, "answered": TIME},
    }
    if data is not None:
        expected["data" if action else "value"] = data
    assert read == expected


@given(st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=5))
def test_a_block_is_published_column_by_column(rows: list[tuple[float, float]]) -> None:
    block = Block("run", 7, ("time", "U"), ("s", "V"), np.array(rows))
    read = json.loads(payload.live_block(block))
    assert (read["job"], read["offset"], read["units"]) == ("run", 7, {"time": "s", "U": "V"})
    for index, name in enumerate(("time", "U")):
        expected = [row[index] if math.isfinite(row[index]) else None for row in rows]
        assert read["columns"][name] == expected
