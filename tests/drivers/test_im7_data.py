"""Decoding what the IM7 measured: two orientations, three carriers, and lengths that do not fit."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bridge.drivers.im7_data import (
    DataError,
    Rows,
    from_base64,
    from_bytes,
    job_data,
    live_rows,
    read_header,
)
from tests.drivers.im7_talk import COLUMNS, DC, Object, Talk, ended, event, info

EXAMPLE = Path(__file__).parent.parent / "data" / "im7_driver" / "job_data_example.json"
TABLES = arrays.arrays(
    np.dtype("<f8"), st.tuples(st.integers(0, 40), st.just(4)), elements=st.floats(allow_nan=True, width=64)
)


def encoded(rows: Rows) -> str:
    """As the instrument stores it: column by column."""
    return base64.b64encode(np.ascontiguousarray(rows.T).astype("<f8").tobytes()).decode()


def reply(*blocks: object) -> Object:
    found = [event("LIVE_DATA_ROWS", data=block) for block in blocks]
    header = event("LIVE_DATA_HEADER", header=DC, job_info=ended())
    finished = event("LIVE_DATA_FINISHED", job_info=ended())
    return {"type": "REPLY", "status": "SUCCESS", "request_id": "r", "data": [header, *found, finished]}


def same(one: Rows, other: Rows) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def test_the_published_example_has_four_columns_of_four_values() -> None:
    table = job_data(json.loads(EXAMPLE.read_text()))
    assert table.header.columns == ("time", "voltage", "current", "debug")
    assert table.header.units == ("s", "V", "A", "bits")
    assert table.header.urns[1] == "2557874741:POT:U~43043:PAD_U"
    assert table.header.title == "OCV/OCP Scan"
    assert table.info["job_id"] == "bf76433f-39aa-4915-9318-8784aaca2e55"
    assert [column.tolist() for column in table.rows.T] == [
        [0.5, 1.0, 1.5, 2.0],
        [-4.7057221349162015e-05, -4.653572612424228e-05, -4.462520156191946e-05, -4.348960915625307e-05],
        [-2.393749297032741e-13, -2.4168694052009246e-13, -2.6540589739164965e-13, -2.773070678257643e-13],
        [0.0, 0.0, 0.0, 0.0],
    ]
    assert table.remainder == 0


@given(TABLES)
def test_whatever_is_encoded_is_decoded_bit_by_bit(rows: Rows) -> None:
    found, remainder = from_base64(encoded(rows), 4)
    assert remainder == 0
    assert same(np.ascontiguousarray(found), rows)
    binary, _ = from_bytes(base64.b64decode(encoded(rows)), 4)
    assert same(np.ascontiguousarray(binary), rows)


@given(TABLES.filter(len))
def test_live_rows_and_the_fetched_columns_of_a_job_agree(rows: Rows) -> None:
    talk = Talk(version=7)
    talk.started()
    talk.hear(event("LIVE_DATA_HEADER", header=DC, job_info=info(status="RUNNING")))
    talk.hear(event("LIVE_DATA_ROWS", data=rows.tolist()))
    talk.done(ended())
    talk.reply("/job/data", data=reply(encoded(rows))["data"])
    live = np.concatenate([block.rows for block in talk.blocks])
    assert np.array_equal(live, talk.results[0].rows, equal_nan=True)


@given(st.lists(TABLES, max_size=4))
def test_several_blocks_are_joined_row_by_row(blocks: list[Rows]) -> None:
    table = job_data(reply(*map(encoded, blocks)))
    wanted = np.concatenate([np.empty((0, 4)), *blocks])
    assert same(np.ascontiguousarray(table.rows), wanted)


@given(st.binary(max_size=400), st.integers(1, 9))
def test_any_length_is_decoded_or_refused(content: bytes, width: int) -> None:
    if len(content) % 8:
        with pytest.raises(DataError):
            from_bytes(content, width)
        return
    rows, remainder = from_bytes(content, width)
    assert rows.shape == (len(content) // 8 // width, width)
    assert rows.size + remainder == len(content) // 8
    assert not rows.size or rows.T.tobytes() == content[: rows.size * 8]


def test_a_last_block_that_is_cut_reports_what_is_left_over() -> None:
    whole = np.arange(8.0).reshape(2, 4)
    cut = base64.b64encode(np.arange(7.0).tobytes()).decode()
    table = job_data(reply(encoded(whole), cut))
    assert len(table.rows) == 3
    assert table.remainder == 3


def test_binary_content_is_not_copied() -> None:
    content = np.arange(8.0).tobytes()
    rows, _ = from_bytes(content, 4)
    assert not rows.flags.owndata
    assert not rows.flags.writeable


@pytest.mark.parametrize(
    "data", ["AAA", "AAAA", "A A A A A A", "AAAAAAAAAAA=\n", "AAAAAAAAAAA", "Ω", "AAAAAAAAAAAA===="]
)
def test_base64_is_taken_strictly(data: str) -> None:
    with pytest.raises(DataError):
        from_base64(data, 1)


def test_a_result_may_be_rows_and_a_spectrum() -> None:
    assert job_data(reply([[1, 2, 3, None]], [])).rows.shape == (1, 4)
    header = event("LIVE_DATA_HEADER_EIS", header={"meta": {"dimensions": ["frequency"]}}, job_info=ended())
    row = event("LIVE_DATA_ROW_EIS", meta=[5.0])
    assert job_data({"data": [header, row, row]}).rows.tolist() == [[5.0], [5.0]]
    with pytest.raises(DataError):
        job_data({"data": [header, event("LIVE_DATA_ROW_EIS", meta=[5.0, 6.0])]})


def test_a_spectrums_columns_come_in_the_order_of_its_result() -> None:
    path = Path(__file__).parent.parent / "data" / "im7_driver" / "eis_result_download_column_order.jsonl"
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    texts = [row["text"] for row in messages if row.get("dir") == "S>C" and row["kind"] == "ws_text"]
    (listed,) = (text for text in texts if "job_data_header" in text)
    (frame,) = (bytes.fromhex(row["hex"]) for row in messages if row["kind"] == "ws_binary")
    start = listed.index('"job_data_header": ') + len('"job_data_header": ')
    header = read_header(json.JSONDecoder().raw_decode(listed, start)[0])
    assert header is not None
    assert header.width == 17
    rows, remainder = from_bytes(frame + bytes(408 - len(frame)), header.width)
    assert remainder == 0
    assert header.columns[:4] == ("frequency", "periods", "time", "|impedance|")
    assert rows[:, 0].tolist() == [0.0, 1.0, 2.0]  # the first doubles are the first column


@given(
    st.recursive(st.none() | st.floats() | st.text(max_size=3), lambda c: st.lists(c, max_size=5), max_leaves=20)
)
def test_anything_may_stand_where_live_rows_are_expected(data: Any) -> None:
    rows, _ = live_rows(data, 3)
    assert all(len(row) == 3 for row in rows)


def test_headers() -> None:
    assert read_header({"columns": COLUMNS, "measurement_type": 5}) is not None
    assert read_header(None) is read_header({"columns": 5}) is read_header({"impedances": "x"}) is None
