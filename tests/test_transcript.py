"""Transcripts: what is written comes back, what is secret does not, and the last frames cost next to nothing."""

from __future__ import annotations

import json
import timeit
from base64 import b64encode
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Json
from bridge.transcript import (
    HIDDEN,
    Direction,
    Entry,
    Recent,
    Redaction,
    decode,
    decode_line,
    encode,
    frame,
    note,
)

times = st.integers(0, 10**12).map(lambda microseconds: microseconds / 1e6)
directions: st.SearchStrategy[Direction] = st.sampled_from((">", "<", "!"))
documents: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
entries = st.builds(frame, times, directions, st.text() | st.binary()) | st.builds(
    Entry, times, directions, st.sampled_from(["note", "command", "http"]), documents, st.none() | st.integers(0)
)


@given(st.lists(entries, max_size=5))
def test_what_is_written_comes_back(written: list[Entry]) -> None:
    lines = [encode(entry) for entry in written]
    assert all("\n" not in line for line in lines)
    assert list(decode(lines)) == written
    assert list(decode(line.encode() + b"\r\n" for line in lines)) == written


def test_the_form_of_a_line() -> None:
    assert encode(frame(1.25, "<", '[{"dev": "di"}]')) == (
        r'{"t":1.25,"dir":"<","kind":"text","data":"[{\"dev\": \"di\"}]"}'
    )
    assert encode(frame(0.1 + 0.2, ">", b"\x00\xff")) == '{"t":0.3,"dir":">","kind":"binary","data":"AP8="}'
    assert encode(note(0, {"connected": True})) == '{"t":0,"dir":"!","kind":"note","data":{"connected":true}}'
    assert decode_line('{"kind":"note","data":1,"t":2,"dir":"!","more":[]}') == note(2, 1)


@pytest.mark.parametrize(
    "bad",
    [
        "no JSON",
        "[]",
        '{"t":0,"dir":"<","kind":"text"}',
        '{"t":"0","dir":"<","kind":"text","data":""}',
        '{"t":0,"dir":"?","kind":"text","data":""}',
        '{"t":0,"dir":"<","kind":"text","data":1}',
        '{"t":0,"dir":"<","kind":"binary","data":null}',
        '{"t":0,"dir":"<","kind":"binary","data":"?"}',
        b'{"t":0,"dir":"<","kind":"note","data":"\xff"}',
    ],
)
def test_a_bad_line_is_named(bad: str | bytes) -> None:
    lines = decode([encode(note(0, "fine")), "", "  \n", bad])
    assert next(lines) == note(0, "fine")
    with pytest.raises(ValueError, match=r"^line 4: "):
        next(lines)


# --- redaction -----------------------------------------------------------------------------------------

SECRET = 'h"u\\nt/er=2Ω'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"evt":"LO","user":"ADMIN","pw":"abc"}', '{"evt":"LO","user":"ADMIN","pw":"***"}'),
        (r'{"Password" : "a\"b\\", "x": 1}', '{"Password" : "***", "x": 1}'),
        ('{"api_key": 1234, "accessToken":null}', '{"api_key": "***", "accessToken":"***"}'),
        ('{"password":"cut off in the mid', '{"password":"***"'),
        (r'{"data":"{\"password\": \"a\\\"b\", \"x\": 1}"}', r'{"data":"{\"password\": \"***\", \"x\": 1}"}'),
        ("GET / HTTP/1.1\r\nAuthorization: Basic dTpw\r\nHost: x", None),
        ("{'authorization': 'Bearer abc', 'host': 'x'}", "{'authorization': '***', 'host': 'x'}"),
        ("ws://user:pass@10.0.0.5/ws?a=b@c", "ws://***@10.0.0.5/ws?a=b@c"),
    ],
)
def test_secret_fields(text: str, shown: str | None) -> None:
    redacted = Redaction().text(text)
    assert redacted == (shown or "GET / HTTP/1.1\r\nAuthorization: ***\r\nHost: x")
    assert Redaction().text(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        '[{"dev":"di","circuit":"1_01","value":1,"pending":false}]',
        '{"evt":"XX","passed":1,"compass":"N","power":"pw"}',
        "https://example.org/a:b@c",
        "Cookies are nice",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redaction().text(text) == text


@pytest.mark.parametrize(
    "where",
    [
        f"sent {SECRET} to the device",
        json.dumps({"note": SECRET}),
        json.dumps({"note": SECRET}, ensure_ascii=False),
        json.dumps({"inner": json.dumps({"password": SECRET})}),
        "http://x/?q=h%22u%5Cnt%2Fer%3D2%CE%A9",
    ],
)
def test_configured_secrets(where: str) -> None:
    redacted = Redaction([SECRET, "x", ""]).text(where)
    assert HIDDEN in redacted
    assert not any(piece in redacted for piece in ("er=2", "er%3D2", "nt/", "nt%2F", "u03a9"))


@given(secret=st.text(min_size=4), before=st.text(), after=st.text(), direction=directions)
def test_a_secret_never_shows(secret: str, before: str, after: str, direction: Direction) -> None:
    redaction = Redaction([secret])
    for data in (before + secret + after, (before + secret + after).encode(), b"\xff" + secret.encode()):
        shown = redaction(frame(1.0, direction, data)).data
        assert isinstance(shown, str | bytes)
        rest = shown if isinstance(shown, bytes) else shown.encode()
        assert secret.encode() not in rest.replace(b"***", b"\0")
    structured = redaction(note(1.0, {"list": [before + secret, {"k" + secret: None}], "password": [secret]}))
    assert structured.data["password"] == HIDDEN  # type: ignore[call-overload,index]
    assert not [text for text in _texts(structured.data) if secret in text.replace("***", "\0")]


def _texts(data: object) -> Iterator[str]:
    match data:
        case str():
            yield data
        case dict():
            for key, value in data.items():
                yield from (key, *_texts(value))
        case list():
            for item in data:
                yield from _texts(item)


def test_other_things_of_a_note_stay() -> None:
    data: Json = {"user": "ADMIN", "values": [1, 2.5, None, True], "token": {"a": "b"}}
    assert Redaction()(note(0, data)).data == {"user": "ADMIN", "values": [1, 2.5, None, True], "token": HIDDEN}


# --- the last frames -----------------------------------------------------------------------------------


def test_the_last_frames() -> None:
    recent = Recent(limit=3)
    for number in range(5):
        recent.add(number, "<", f"frame {number}")
    assert [entry.data for entry in decode(recent.lines(Redaction()))] == ["frame 2", "frame 3", "frame 4"]
    recent.add(9, ">", b"\x01")
    recent.add(9, ">", '{"pw":"abc"}')
    assert list(decode(recent.lines(Redaction())))[1:] == [frame(9, ">", b"\x01"), frame(9, ">", '{"pw":"***"}')]


@pytest.mark.parametrize("length", [2001, 16_384, 16_385, 1_000_000])
def test_long_frames_are_cut_and_their_length_is_told(length: int) -> None:
    recent = Recent()
    recent.add(0, "<", "x" * length)
    recent.add(0, "<", b"x" * length)
    text, binary = decode(recent.lines(Redaction()))
    assert text == Entry(0, "<", "text", "x" * 2000, length)
    assert binary == Entry(0, "<", "binary", b"x" * 2000, length)


def test_a_secret_across_the_cut_does_not_show() -> None:
    recent = Recent()
    recent.add(0, "<", "x" * 1995 + "hunter2-hunter2" + "y" * 100)
    (line,) = recent.lines(Redaction(["hunter2-hunter2"]))
    assert "hun" not in line


def test_adding_is_cheap() -> None:
    recent = Recent()
    frames = '{"dev":"di"}', b64encode(bytes(1000))
    seconds = min(
        timeit.repeat(lambda: [recent.add(1.0, "<", data) for data in frames], number=1000, repeat=5)  # type: ignore[func-returns-value]
    )
    assert seconds / 2000 < 1e-6
