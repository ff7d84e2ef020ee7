"""Frames of the recorded conversations, through the driver.

The answers in them were made by a stand-in for the instrument, in shapes that the vendor's own client accepts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.model import Declared, Happened, Reply, Update
from tests.drivers.im7_talk import Object, Talk

RECORDINGS = Path(__file__).parent.parent / "data" / "im7_driver"
FILES = sorted(RECORDINGS.glob("*.jsonl"))


def frames(path: Path) -> list[tuple[float, str | bytes]]:
    """What the client got; long frames were cut by the recorder, and are left out."""
    found: list[tuple[float, str | bytes]] = []
    for row in map(json.loads, path.read_text().splitlines()):
        if row["dir"] == "S>C" and row["kind"] == "ws_text" and row["text"].endswith("}"):
            found.append((row["t"], row["text"]))
        elif row["dir"] == "S>C" and row["kind"] == "ws_binary":
            found.append((row["t"], bytes.fromhex(row["hex"])))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recording_passes(path: Path) -> None:
    talk = Talk(fetch="all")
    begin = talk.now
    for moment, frame in frames(path):
        talk.wait(max(0.0, begin + moment - talk.now))
        talk.raw(frame)
    talk.wait(5)
    declared = {point.key for declared in talk.of(Declared) for point in declared.points}
    assert {update.key for update in talk.of(Update)} <= declared
    assert not talk.of(Reply)
    odd = {happened.data["what"] for happened in talk.of(Happened) if happened.name == "unexpected"}
    assert odd <= {"binary frame that nobody asked for"}


def test_the_jobs_of_a_session_are_followed_from_start_to_end() -> None:
    talk = Talk(live_interval=0.05)
    begin = talk.now
    for moment, frame in frames(RECORDINGS / "session_protocol12.jsonl"):
        talk.wait(max(0.0, begin + moment - talk.now))
        talk.raw(frame)
    ends = {job.id: (job.data["type"], job.data["state"]) for job in talk.jobs if job.final}
    assert list(ends.values())[:2] == [("switch_on", "finished"), ("ocv", "finished")]
    assert ("poga", "stopped") in ends.values()
    ocv = next(job for job, (kind, _) in ends.items() if kind == "ocv")
    rows = [row for block in talk.blocks if block.job == ocv for row in block.rows.tolist()]
    assert [row[0] for row in rows] == pytest.approx([turn / 10 for turn in range(1, 11)])


def test_every_event_that_the_vendors_client_accepts_is_understood() -> None:
    talk = Talk()
    for _, frame in frames(RECORDINGS / "events_accepted_protocol12.jsonl"):
        talk.raw(frame)
    talk.wait(1)
    dc = [block for block in talk.blocks if not block.columns[0].startswith("freq")]
    assert sum(len(block.rows) for block in dc) == 5
    spectrum = talk.blocks[-1]
    assert spectrum.columns[3] == "|impedance|"
    assert spectrum.rows[0, 3] == 282.65
    assert [h.name for h in talk.of(Happened) if h.key == "message" and h.data["source"] == "job"] == [
        "warning"
    ] * 2


def received(path: Path, kind: str) -> list[Object]:
    rows = map(json.loads, path.read_text().splitlines())
    messages: list[Any] = [json.loads(r["text"]) for r in rows if r["dir"] == "S>C" and r["kind"] == "ws_text"]
    return [message for message in messages if message["type"] == kind]


def test_two_blocks_of_rows_are_both_read() -> None:
    path = RECORDINGS / "job_data_two_rows_blocks_protocol7.jsonl"
    (found,) = (m for m in received(path, "REPLY") if "data" in m)
    (done,) = received(path, "JOB_DONE")
    talk = Talk(version=7)
    talk.started(done["job_info"]["job_id"])
    talk.done(done["job_info"])
    talk.reply("/job/data", data=found["data"])
    assert len(talk.results[0].rows) > 0
    assert talk.results[0].rows.shape[1] == 4
    assert sum(1 for envelope in found["data"] if envelope["event"]["type"] == "LIVE_DATA_ROWS") == 2
