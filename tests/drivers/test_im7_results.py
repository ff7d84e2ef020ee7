"""Results of the IM7: fetched when a job ends, by the way its firmware knows, once and with care."""

from __future__ import annotations

import base64
import json
import pickle
from typing import Any

import numpy as np
import pytest

from bridge.driver import Close, Compute, Remember
from bridge.drivers.im7_data import DataError
from bridge.drivers.im7_long import LONG, PIECE
from bridge.model import Happened, Reply
from tests.drivers.im7_talk import DC, OCV, Object, Talk, ended, event, info, status

ROWS = np.array([[0.5, 1.0, 2.0, 0.0], [1.0, 1.5, 3.0, 0.0], [1.5, 2.5, 5.0, 0.0]])
CONTENT = ROWS.T.astype("<f8").tobytes()


def resource(job_id: str = "j1", **more: Any) -> Object:
    header = {"job_data_header": DC, "job_info": ended(job_id), "number_of_rows": 3}
    given = {"resource_id": f"r-{job_id}", "name": job_id, "job_id": job_id, "type": "JOB_RESULT", "size": 96}
    return {**given, "sub_type": "DATASET_DC", "header": header, **more}


def data(job_id: str = "j1", *blocks: object, header: object = DC) -> list[Object]:
    """What `/job/data` answers."""
    rows = [event("LIVE_DATA_ROWS", data=block) for block in blocks or (base64.b64encode(CONTENT).decode(),)]
    job = ended(job_id)
    return [
        event("LIVE_DATA_HEADER", header=header, job_info=job),
        *rows,
        event("LIVE_DATA_FINISHED", job_info=job),
    ]


def finished(version: int = 12, **options: Any) -> Talk:
    """A job has just ended, and its result is being asked for."""
    talk = Talk(version=version, **options)
    talk.started()
    talk.done(ended(job_meta={"mqtt_id": "c1", "name": "sample A"}))
    return talk


# --- one binary frame ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reply_first", [True, False])
def test_list_and_download_with_reply_and_frame_in_either_order(reply_first: bool) -> None:
    talk = finished()
    talk.reply("/JOB_RESULT/list", resources=[resource("other"), resource()])
    assert talk.sent[-1]["do"] == "/JOB_RESULT/download"
    assert talk.sent[-1]["resource_id"] == "r-j1"
    if reply_first:
        talk.reply("/JOB_RESULT/download")
        talk.raw(CONTENT)
    else:
        talk.raw(CONTENT)
        talk.reply("/JOB_RESULT/download")
    (result,) = talk.results
    assert np.array_equal(result.rows, ROWS)
    assert not result.rows.flags.owndata
    assert (result.job, result.name) == ("j1", "sample A")
    assert result.columns == ("time", "voltage", "current", "shunt")
    assert result.units == ("s", "V", "A", "index")
    assert result.meta["measurement"] == "OCV/OCP Scan"
    described: Any = result.meta["job_info"]
    assert described["parameters"] == OCV["parameters"]
    assert talk.jobs[-1].data["result"] == "fetched"


def test_it_is_forgotten_after_the_result_and_never_before() -> None:
    talk = finished()
    assert "job:j1" in talk.remembered
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    talk.raw(CONTENT)
    talk.reply("/JOB_RESULT/download")
    result = talk.events.index(talk.results[0])
    forgotten = talk.events.index(Remember("job:j1", None))
    assert result < forgotten
    assert "job:j1" not in talk.remembered


def test_one_download_at_a_time() -> None:
    talk = Talk()
    for name, job_id in (("c1", "j1"), ("c2", "j2")):
        talk.started(job_id, name=name)
        talk.done(ended(job_id), request_id=name)
    assert len(talk.asked("/JOB_RESULT/list")) == 1
    talk.reply("/JOB_RESULT/list", resources=[resource("j1"), resource("j2")])
    talk.reply("/JOB_RESULT/download")
    assert len(talk.asked("/JOB_RESULT/list")) == 1
    talk.raw(CONTENT)
    talk.reply("/JOB_RESULT/list", resources=[resource("j1"), resource("j2")])
    talk.reply("/JOB_RESULT/download")
    talk.raw(CONTENT)
    assert [result.job for result in talk.results] == ["j1", "j2"]


def test_binary_frames_that_nobody_asked_for() -> None:
    talk = finished()
    talk.raw(CONTENT)
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    talk.raw(CONTENT)
    talk.raw(CONTENT + CONTENT)
    talk.reply("/JOB_RESULT/download")
    assert len(talk.results) == 1
    told = [happened for happened in talk.of(Happened) if happened.name == "unexpected"]
    assert [happened.data["what"] for happened in told] == ["binary frame that nobody asked for"]


def test_a_result_that_is_not_there_yet_is_asked_for_again() -> None:
    talk = finished()
    talk.reply("/JOB_RESULT/list", resources=[])
    talk.wait(0.9)
    assert len(talk.asked("/JOB_RESULT/list")) == 1
    talk.wait(0.2)
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    talk.reply("/JOB_RESULT/download")
    talk.raw(CONTENT)
    assert len(talk.results) == 1


def test_a_result_that_is_gone_is_said_and_forgotten() -> None:
    talk = finished(poll=1000)
    for pause in (1.1, 3.1, 10.1, 0):
        talk.reply("/JOB_RESULT/list", resources=["rubbish", {}])
        talk.wait(pause)
    assert talk.jobs[-1].data["result"] == "not fetched: the instrument has no result of this job"
    assert "job:j1" not in talk.remembered


def test_a_download_that_does_not_come_ends_the_connection() -> None:
    talk = finished(result_timeout=20)
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    talk.reply("/JOB_RESULT/download")
    assert not talk.of(Close)
    talk.wait(21)
    assert talk.of(Close)


def test_a_result_is_asked_for_three_times_in_all() -> None:
    talk = finished()
    for _ in range(3):
        talk.reply("/JOB_RESULT/list", resources=[resource()])
        assert talk.sent[-1]["do"] == "/JOB_RESULT/download"
        memory = {**talk.remembered}
        talk = Talk(memory=memory, jobs=[ended(job_meta={"mqtt_id": "c1"})])
    assert not talk.asked("/JOB_RESULT/list")
    assert talk.jobs[-1].data["result"] == "left on the instrument: 3 attempts to fetch it failed"
    assert "job:j1" not in talk.remembered


def test_a_header_without_columns_and_a_length_without_values() -> None:
    talk = finished()
    talk.reply("/JOB_RESULT/list", resources=[resource(header=None)])
    assert talk.jobs[-1].data["result"] == "cannot be fetched: its header names no columns"
    talk = finished()
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    talk.reply("/JOB_RESULT/download")
    talk.raw(CONTENT[:-1])
    assert talk.jobs[-1].data["result"] == "cannot be decoded: 95 bytes are no whole number of values"
    assert not talk.results


def test_values_that_fit_no_row_are_reported() -> None:
    talk = finished()
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    talk.reply("/JOB_RESULT/download")
    talk.raw(CONTENT[:-8])
    (result,) = talk.results
    assert result.rows.shape == (2, 4)
    assert result.meta["remainder"] == 3
    (happened,) = [happened for happened in talk.of(Happened) if happened.name == "remainder"]
    assert happened.data == {"job": "j1", "values": 3, "columns": 4}


def test_a_result_over_the_limit_stays_and_that_is_said() -> None:
    talk = finished(max_result=95)
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    assert not talk.asked("/JOB_RESULT/download")
    assert talk.jobs[-1].data["result"] == "left on the instrument: about 96 bytes, and max_result is 95"
    assert "job:j1" not in talk.remembered


# --- one JSON reply ------------------------------------------------------------------------------------


def test_job_data_of_older_firmware() -> None:
    talk = finished(version=7)
    assert talk.sent[-1] == {"do": "/job/data", "job_id": "j1", "request_id": talk.sent[-1]["request_id"]}
    talk.reply("/job/data", data=data())
    (result,) = talk.results
    assert np.array_equal(result.rows, ROWS)
    assert talk.remembered["retrieval"] == {"firmware": "p2 7", "way": "job_data"}


def worker(talk: Talk) -> None:
    """The worker process does what it is asked to, over pickles as in the daemon."""
    done = 0
    while len(computes := talk.of(Compute)) > done:
        compute = computes[-1]
        done = len(computes)
        try:
            found = pickle.loads(pickle.dumps(compute.call(*pickle.loads(pickle.dumps(compute.args)))))
        except DataError as error:
            found = pickle.loads(pickle.dumps(error))
        talk.take(talk.driver.computed(compute.token, found, talk.now))


def long_text(rows: int = LONG // 24) -> tuple[Any, str]:
    table = np.arange(rows * 4.0).reshape(rows, 4)
    return table, base64.b64encode(table.T.tobytes()).decode()


@pytest.mark.parametrize("escaped", [False, True])
def test_a_long_reply_is_decoded_by_the_worker_piece_by_piece(escaped: bool) -> None:
    talk = finished(version=7)
    table, content = long_text()
    message = {"type": "REPLY", "status": "SUCCESS", "request_id": talk.sent[-1]["request_id"]}
    frame = json.dumps({**message, "data": data("j1", content, content)})
    talk.raw(frame.replace("/", "\\/") if escaped else frame)
    assert not talk.results
    talk.wait(1000)  # the worker has all the time
    assert not talk.of(Close)
    worker(talk)
    pieces = [str(compute.args[0]) for compute in talk.of(Compute)]
    assert len(pieces) == 4
    assert max(map(len, pieces)) == PIECE
    assert np.array_equal(talk.results[0].rows, np.concatenate([table, table]))
    assert talk.take(talk.driver.computed("piece 4", b"", talk.now)) == []


def test_a_long_reply_over_the_limit_is_not_even_decoded() -> None:
    talk = finished(version=7, max_result=3 << 20)
    talk.reply("/job/data", data=data("j1", long_text()[1]))
    assert not talk.of(Compute)
    assert "left on the instrument" in str(talk.jobs[-1].data["result"])


@pytest.mark.parametrize("at", [100, PIECE - 1, -1])
def test_a_long_reply_that_is_no_base64(at: int) -> None:
    talk = finished(version=7)
    content = list(long_text()[1])
    content[at] = "="
    content[at - 1] = "=" if at == PIECE - 1 else content[at - 1]
    talk.reply("/job/data", data=data("j1", "".join(content) + ("A" if at < 0 else "")))
    worker(talk)
    assert "cannot be decoded: no valid base64" in str(talk.jobs[-1].data["result"])


def test_a_long_refusal() -> None:
    talk = finished(version=7)
    talk.refuse("/job/data", 16399, "x" * LONG)
    assert "cannot be fetched" in str(talk.jobs[-1].data["result"])


def test_a_worker_that_died_is_tried_again() -> None:
    talk = finished(version=7)
    talk.reply("/job/data", data=data("j1", long_text()[1]))
    (compute,) = talk.of(Compute)
    talk.take(talk.driver.computed(compute.token, MemoryError("no room"), talk.now))
    talk.wait(1.1)
    talk.reply("/job/data", data=data())
    assert len(talk.results) == 1


@pytest.mark.parametrize(
    "frame",
    [
        " " * (LONG + 1),
        json.dumps(event("LIVE_DATA_ROWS", data=[[0.0] * 4] * (LONG // 20))),
        '{"a": "' + "x" * LONG,
        '{"a": "' + "x" * LONG + '\\"',
        "[" + '"x",' * (LONG // 4) + "0]",
        json.dumps({"type": "REPLY", "request_id": "nobody", "text": "x" * LONG}),
    ],
    ids=range(6),
)
def test_a_long_frame_of_another_kind_is_reported(frame: str) -> None:
    talk = finished(version=7)
    talk.raw(frame)
    assert [happened.name for happened in talk.of(Happened) if happened.key is None] == ["unexpected"]
    talk.reply("/job/data", data=data())
    assert len(talk.results) == 1


@pytest.mark.parametrize(
    ("envelopes", "why"),
    [
        (data("j1", "AAA"), "no valid base64"),
        (data("j1", "AAAA"), "3 bytes are no whole number of values"),
        (data("j1", [[1, 2, 3]]), "1 rows do not have 4 values"),
        (data(header={}), "rows without a header"),
        ([], "no header that names columns"),
    ],
)
def test_what_cannot_be_decoded_is_said(envelopes: list[Object], why: str) -> None:
    talk = finished(version=7)
    talk.reply("/job/data", data=envelopes)
    assert why in str(talk.jobs[-1].data["result"])
    assert not talk.results


def test_a_stopped_job_may_have_no_rows_or_no_result() -> None:
    talk = finished(version=7)
    talk.reply("/job/data", data=data("j1", ""))
    assert talk.results[0].rows.shape == (0, 4)
    talk = finished(version=7)
    talk.refuse("/job/data", 262146, "discarded")
    assert talk.jobs[-1].data["result"] == "discarded on the instrument"


def test_a_guess_keeps_a_giant_on_the_instrument() -> None:
    talk = Talk(version=7)
    job: Object = {
        "type": "poga",
        "parameters": {"bias": 0, "duration": 86_400, "output_data_rate": 1000, "current_range": 1},
    }
    talk.started(job=job)
    talk.done(ended(**job))
    assert not talk.asked("/job/data")
    assert "left on the instrument" in str(talk.jobs[-1].data["result"])


# --- which way, and whose ------------------------------------------------------------------------------


def test_the_other_way_is_tried_once_and_remembered() -> None:
    talk = finished(version=8)
    talk.refuse("/JOB_RESULT/list", 8194, "no such endpoint")
    talk.reply("/job/data", data=data())
    assert len(talk.results) == 1
    assert talk.remembered["retrieval"] == {"firmware": "p2 8", "way": "job_data"}
    later = Talk(version=8, memory=talk.remembered)
    later.started()
    later.done(ended())
    assert later.sent[-1]["do"] == "/job/data"
    updated = Talk(version=9, memory=talk.remembered)
    updated.started()
    updated.done(ended())
    assert updated.sent[-1]["do"] == "/JOB_RESULT/list"


def test_neither_way_is_tried_for_ever() -> None:
    talk = finished(version=7)
    talk.refuse("/job/data", 8194)
    talk.refuse("/JOB_RESULT/list", 8194)
    assert "cannot be fetched" in str(talk.jobs[-1].data["result"])
    assert len(talk.asked("/job/data")) == len(talk.asked("/JOB_RESULT/list")) == 1


def test_jobs_of_others_are_fetched_if_configured() -> None:
    talk = Talk(jobs=[ended("old"), info("theirs", "RUNNING")], fetch="all")
    assert "job:theirs" in talk.remembered
    talk.hear(status(ended("theirs")))
    talk.reply("/JOB_RESULT/list", resources=[resource("old"), resource("theirs")])
    talk.reply("/JOB_RESULT/download")
    talk.raw(CONTENT)
    assert [result.job for result in talk.results] == ["theirs"]


def test_nothing_is_fetched_if_configured() -> None:
    talk = finished(fetch="none")
    assert not talk.asked("/JOB_RESULT/list")
    assert talk.jobs[-1].data["result"] == "not fetched (fetch is none)"


def test_nothing_is_fetched_of_what_was_discarded_or_cancelled() -> None:
    talk = Talk()
    talk.started(discard_result_data=True)
    talk.done(ended())
    talk.started("j2", name="c2")
    talk.done(info("j2", "FAILED", "CANCELLED_BEFORE_RUN"), request_id="c2")
    assert not talk.asked("/JOB_RESULT/list")


def test_a_result_is_fetched_after_a_restart() -> None:
    first = finished()
    second = first.again(jobs=[ended(job_meta={"mqtt_id": "c1"})], carried=False)
    second.reply("/JOB_RESULT/list", resources=[resource()])
    second.reply("/JOB_RESULT/download")
    second.raw(CONTENT)
    assert len(second.results) == 1
    assert second.of(Remember)[-1] == Remember("job:j1", None)


def test_fetching_on_demand() -> None:
    talk = Talk(jobs=[ended("old")])
    talk.call("job_data", job_id="old")
    talk.reply("/JOB_RESULT/list", resources=[resource("old")])
    talk.reply("/JOB_RESULT/download")
    talk.raw(CONTENT)
    assert talk.replies == [("c1", "done", "")]
    assert talk.of(Reply)[0].data == {
        "job_id": "old",
        "rows": 3,
        "columns": ["time", "voltage", "current", "shunt"],
    }
    talk.call("job_data", name="c2", job_id="nosuch")
    talk.refuse("/JOB_RESULT/list", 16388, "never")
    assert talk.replies[-1] == ("c2", "failed", "cannot be fetched: never (CODE 16388)")


def test_fetching_on_demand_what_is_being_fetched() -> None:
    talk = finished()
    talk.call("job_data", name="c2", job_id="j1")
    talk.reply("/JOB_RESULT/list", resources=[resource()])
    talk.reply("/JOB_RESULT/download")
    talk.raw(CONTENT)
    assert len(talk.results) == 1
    assert talk.replies[-1] == ("c2", "done", "")


def test_fetching_on_demand_what_still_runs() -> None:
    talk = Talk()
    talk.started()
    talk.call("job_data", name="c2", job_id="j1")
    assert talk.replies[-1] == ("c2", "rejected", "job j1 is running: it has a result when it has ended")
