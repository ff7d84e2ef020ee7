"""What a running IM7 job measures: attributed, collected, shown; live rows never make a result."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from bridge.driver import Remember
from bridge.model import Declared, Happened, Update
from tests.drivers.im7_talk import COLUMNS, DC, OCV, Object, Talk, ended, event, info, status

EIS: Object = {
    "measurement_type": "Electrochemical Impedance Spectroscopy",
    "measurement_type_short": "eis",
    "meta": {"dimensions": ["frequency", "periods", "time"], "units": ["Hz", "", "s"], "urns": ["", "", ""]},
    "paths": [
        {"name": "voltage", "dimensions": ["dc", "amplitude"], "units": ["V", "V"], "urns": ["a", "b"]},
        {"name": "current", "dimensions": ["dc", "amplitude"], "units": ["A", "A"], "urns": ["c", "d"]},
    ],
    "impedances": [{"impedance_name": "Main cell", "dimensions": ["|impedance|", "phase"], "units": ["Ω", "rad"]}],
    "potentiostats": [{"uri": "37128:POT", "dimensions": ["dc", "bandwith"], "units": ["", ""], "urns": ["", ""]}],
    "async_paths": [],
}
CV: Object = {"start_value": 0, "first_vertex": 1, "second_vertex": -1, "end_value": 0, "scan_rate": 0.1}
EIS_NAMES = (
    "frequency",
    "periods",
    "time",
    "|impedance|",
    "phase",
    "voltage dc",
    "voltage amplitude",
    "current dc",
    "current amplitude",
    "potentiostat dc",
    "potentiostat bandwith",
)


def rows(*values: object) -> Object:
    return event("LIVE_DATA_ROWS", data=list(values))


def eis_row(frequency: float = 1000.0, **more: Any) -> Object:
    fields: Object = {
        "meta": [frequency, 3.0, 0.7],
        "paths": [[1.0, 0.007], [0.001, 2.5e-05]],
        "impedances": [[282.65, -0.4959]],
        "potentiostats": [[1.0, 5.0]],
        "async_paths": [],
        "paths_waves": [[0.1, 0.2]],
    }
    return event("LIVE_DATA_ROW_EIS", **(fields | more))


def measuring(**options: Any) -> Talk:
    talk = Talk(**options)
    talk.started()
    talk.hear(event("LIVE_DATA_HEADER", header=DC, job_info=info(status="RUNNING")))
    return talk


def test_a_row_after_a_pause_is_published_at_once() -> None:
    talk = measuring()
    talk.hear(rows([0.5, 1.0, 2.0, 11]))
    (block,) = talk.blocks
    assert (block.job, block.offset) == ("j1", 0)
    assert block.columns == ("time", "voltage", "current", "shunt")
    assert block.units == ("s", "V", "A", "index")
    assert block.rows.dtype == np.float64
    assert block.rows.tolist() == [[0.5, 1.0, 2.0, 11.0]]
    assert talk.last("live/voltage") == 1.0
    assert talk.last("live/shunt") == 11.0


def test_rows_are_collected_by_time_and_count() -> None:
    talk = measuring(live_rows=3)
    talk.hear(rows([0.5, 1, 2, 3]))
    talk.hear(rows([1.0, 1, 2, 3]), after=0.1)
    talk.hear(rows([1.5, 1, 2, 3]), after=0.1)
    assert len(talk.blocks) == 1
    talk.wait(0.5)
    assert [(block.offset, len(block.rows)) for block in talk.blocks] == [(0, 1), (1, 2)]
    talk.hear(rows(*([2.0 + turn, 1, 2, 3] for turn in range(7))))
    assert [(block.offset, len(block.rows)) for block in talk.blocks[2:]] == [(3, 3), (6, 3)]
    talk.hear(event("LIVE_DATA_FINISHED", job_info=info(status="RUNNING")))
    assert [(block.offset, len(block.rows)) for block in talk.blocks[4:]] == [(9, 1)]


def test_the_rest_is_published_before_the_end_is_told() -> None:
    talk = measuring()
    talk.hear(rows([0.5, 1, 2, 3]))
    talk.hear(rows([1.0, 1, 2, 3]))
    seen = len(talk.events)
    talk.done(ended())
    kinds = [type(effect).__name__ for effect in talk.events[seen:]]
    assert kinds.index("Block") < kinds.index("Job") < kinds.index("Reply")


def test_the_dimensions_become_points_that_outlive_the_connection() -> None:
    talk = measuring()
    assert talk.points["live/voltage"].unit == "V"
    assert talk.points["live/voltage"].device_class == "voltage"
    assert talk.points["live/shunt"].device_class is None
    assert talk.points["live/voltage"].policy.min_interval
    assert Remember("live", {"time": "s", "voltage": "V", "current": "A", "shunt": "index"}) in talk.events
    declared = len(talk.of(Declared))
    talk.hear(event("LIVE_DATA_HEADER", header=DC, job_info=info(status="RUNNING")))
    assert len(talk.of(Declared)) == declared
    assert "live/voltage" in talk.again().points


def test_a_null_and_a_nan_are_nan_and_no_value() -> None:
    talk = measuring()
    talk.raw('{"type":"EVENT","event":{"type":"LIVE_DATA_ROWS","data":[[1.0,NaN,null,1e999]]}}')
    (row,) = talk.blocks[0].rows.tolist()
    assert row[0] == 1.0
    assert np.isnan(row[1:3]).all()
    assert row[3] == np.inf
    assert talk.last("live/voltage") is None


def test_rows_that_do_not_fit_are_dropped_and_counted() -> None:
    talk = measuring()
    talk.hear(
        rows([1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, "4"], [1, 2, 3, True], "x", [1, 2, 3, 4], [1, 2, 3, 10**400])
    )
    talk.hear(event("LIVE_DATA_ROWS", data=5), event("LIVE_DATA_ROWS"), rows())
    assert len(talk.blocks) == 1
    talk.done(ended())
    (happened,) = [happened for happened in talk.of(Happened) if happened.name == "live_dropped"]
    assert happened.data == {"job": "j1", "misfits": 8, "unattributed": 0}


def test_live_base64_is_taken_column_by_column() -> None:
    talk = measuring()
    values = np.arange(8.0)
    talk.hear(event("LIVE_DATA_ROWS", data=base64.b64encode(values.tobytes()).decode()))
    assert talk.blocks[0].rows.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_rows_without_a_header_belong_to_nobody() -> None:
    talk = Talk(jobs=[info("theirs", "RUNNING")])
    talk.hear(rows([1, 2, 3, 4]), eis_row(), rows([1, 2, 3, 4]))
    assert not talk.blocks
    assert [happened.name for happened in talk.of(Happened) if happened.key is None] == ["unexpected"]


def test_rows_go_on_after_a_lost_connection() -> None:
    first = measuring()
    first.hear(rows([0.5, 1, 2, 3]))
    second = first.again(jobs=[first.described(status="RUNNING")])
    second.hear(rows([1.0, 1, 2, 3]))
    (block,) = second.blocks
    assert (block.job, block.columns) == ("j1", ("time", "voltage", "current", "shunt"))
    second.done(ended())
    assert Remember("header:j1", None) in second.events


def test_a_job_that_ended_meanwhile_measures_no_more() -> None:
    second = measuring().again(jobs=[ended(job_meta={"mqtt_id": "c1"})])
    assert Remember("header:j1", None) in second.events
    second.hear(rows([1.0, 1, 2, 3]))
    assert not second.blocks


def test_rows_of_two_jobs_at_once_belong_to_nobody() -> None:
    talk = measuring()
    talk.hear(event("LIVE_DATA_HEADER", header=DC, job_info=info("j2", "RUNNING")))
    talk.hear(rows([1, 2, 3, 4]))
    assert not talk.blocks
    talk.hear(event("LIVE_DATA_FINISHED", job_info=info("j2", "RUNNING")))
    talk.hear(rows([1, 2, 3, 4]))
    assert [block.job for block in talk.blocks] == ["j1"]


def test_spectra_and_curves_are_told_apart() -> None:
    talk = measuring()
    talk.hear(event("LIVE_DATA_HEADER_EIS", header=EIS, job_info=info("j2", "RUNNING", type="eis")))
    talk.hear(rows([1, 2, 3, 4]), eis_row())
    assert [block.job for block in talk.blocks] == ["j1", "j2"]
    assert talk.blocks[1].columns == EIS_NAMES
    assert talk.blocks[1].rows.tolist() == [[1000, 3, 0.7, 282.65, -0.4959, 1, 0.007, 0.001, 2.5e-05, 1, 5]]
    assert talk.last("live/|impedance|") == 282.65


def test_a_spectrums_row_that_does_not_fit_is_dropped() -> None:
    talk = Talk()
    talk.hear(event("LIVE_DATA_HEADER_EIS", header=EIS, job_info=info("j2", "RUNNING", type="eis")))
    talk.hear(eis_row(paths=[[1.0], [2.0]]), eis_row(meta="x"), eis_row(impedances=[5]))
    assert not talk.blocks


def test_columns_with_the_same_name_are_told_apart() -> None:
    talk = Talk()
    columns = {"dimensions": ["T1", "T1", "", 5], "units": ["°C"]}
    talk.hear(event("LIVE_DATA_HEADER", header={"columns": columns}, job_info=info(status="RUNNING")))
    talk.hear(rows([1, 2, 3, 4]))
    assert talk.blocks[0].columns == ("T1", "T1 2", "column 3", "column 4")
    assert talk.blocks[0].units == ("°C", "", "", "")


def test_two_impedances_keep_their_names() -> None:
    talk = Talk()
    two = [{"impedance_name": name, "dimensions": ["|impedance|"], "units": ["Ω"]} for name in ("cell", "")]
    header = {"meta": {"dimensions": ["frequency"]}, "impedances": two}
    talk.hear(event("LIVE_DATA_HEADER_EIS", header=header, job_info=info(status="RUNNING")))
    talk.hear(event("LIVE_DATA_ROW_EIS", meta=[1], impedances=[[2], [3]]))
    assert talk.blocks[0].columns == ("frequency", "cell |impedance|", "impedance 2 |impedance|")


@pytest.mark.parametrize(
    "header", [None, {}, {"columns": {}}, {"columns": {"dimensions": ["x"] * 1000}}, {"meta": 5}]
)
def test_a_header_without_columns_opens_nothing(header: object) -> None:
    talk = Talk()
    talk.hear(event("LIVE_DATA_HEADER", header=header, job_info=info(status="RUNNING")), rows([1]))
    assert not talk.blocks


def test_live_data_can_be_switched_off_and_progress_goes_on() -> None:
    talk = measuring(live=False)
    talk.hear(rows([0.5, 1, 2, 3]))
    assert not talk.blocks
    assert "live/voltage" not in talk.points
    assert talk.last("job/progress") == 25.0


@pytest.mark.parametrize(
    ("job", "row", "progress"),
    [
        (OCV, [0.5, 1, 2, 3], 25.0),
        (OCV, [5.0, 1, 2, 3], 99.0),
        (OCV, [float("nan"), 1, 2, 3], None),
        (
            {"type": "ramp", "parameters": {"start_value": 0, "end_value": -1, "scan_rate": 0.1}},
            [5, 1, 2, 3],
            50.0,
        ),
        ({"type": "ramp", "parameters": {"start_value": 0, "end_value": -1, "scan_rate": 0}}, [5, 1, 2, 3], None),
        ({"type": "cv", "parameters": {}}, [5, 1, 2, 3], None),
        ({"type": "cv", "parameters": {**CV, "num_cycles": 1}}, [10, 1, 2, 3], 25.0),  # 0, 1, -1, 0: 4 V
        ({"type": "cv", "parameters": {**CV, "num_cycles": 1.5}}, [15, 1, 2, 3], 25.0),  # 0, 1, -1, 1, 0: 6 V
        ({"type": "cv", "parameters": {**CV, "num_cycles": 1e308}}, [5, 1, 2, 3], None),
        ({"type": "poga", "parameters": {"duration": "x"}}, [5, 1, 2, 3], None),
    ],
)
def test_progress_where_it_can_be_known(job: Object, row: list[float], progress: float | None) -> None:
    talk = Talk()
    running = info(status="RUNNING", **job)
    talk.hear(status(running), event("LIVE_DATA_HEADER", header={"columns": COLUMNS}, job_info=running), rows(row))
    assert talk.last("job/progress") == progress


def test_progress_of_a_table_of_frequencies() -> None:
    talk = Talk()
    running = info(
        status="RUNNING", type="eis_table", parameters={"frequency_range": {"spectrum": [{"frequency": 1}] * 4}}
    )
    talk.hear(event("LIVE_DATA_HEADER_EIS", header=EIS, job_info=running), eis_row(), eis_row())
    talk.wait(1)
    assert talk.last("job/progress") == 50.0


def test_every_value_belongs_to_a_declared_point() -> None:
    talk = measuring()
    for turn in range(60):
        columns = {"dimensions": [f"x{turn}", f"y{turn}"], "units": ["V", "A"]}
        talk.hear(event("LIVE_DATA_HEADER", header={"columns": columns}, job_info=info(f"k{turn}", "RUNNING")))
        talk.hear(rows([1, 2]), event("LIVE_DATA_FINISHED", job_info=info(f"k{turn}", "RUNNING")))
    assert {update.key for update in talk.of(Update)} <= talk.points.keys()
    assert len(talk.points) < 150
