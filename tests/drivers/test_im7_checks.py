"""Job objects for the IM7: what is checked before they are sent, and what needs an explicit `allow`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bridge.driver import Touch
from bridge.drivers.im7_checks import start_fields, touches
from bridge.drivers.im7_forms import DANGEROUS, FORMS, measures
from bridge.model import Command
from tests.drivers.im7_talk import OCV, Object, Talk

REQUESTS = Path(__file__).parent.parent / "data" / "im7_driver" / "job_requests_all_types.jsonl"
SWEEP: Object = {
    "type": "generate",
    "min_frequency": 1e2,
    "max_frequency": 1e6,
    "start_frequency": 1e4,
    "points_per_decade_upper": 20,
    "points_per_decade_lower": 5,
    "pre_duration": 0.1,
    "pre_waves": 1,
    "meas_duration": 1,
    "meas_waves": 5,
    "amplitude": 0.01,
}


def sent_by_the_vendors_client() -> list[Object]:
    rows = [json.loads(line) for line in REQUESTS.read_text().splitlines()]
    return [json.loads(row["text"]) for row in rows if row["dir"] == "C>S" and row["kind"] == "ws_text"]


@pytest.mark.parametrize("request_", sent_by_the_vendors_client(), ids=lambda r: str(r["job"]["type"]))
def test_whatever_the_vendors_client_sends_passes_unchanged(request_: Object) -> None:
    args: Object = {
        name: request_[name] for name in ("job", "bypass_queue", "discard_result_data") if name in request_
    }
    assert start_fields(args, None) == args


def test_the_vendors_client_sends_all_the_types_that_are_known() -> None:
    assert {request["job"]["type"] for request in sent_by_the_vendors_client()} == FORMS.keys()


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (None, "job is missing"),
        ([], "job is not an object"),
        ({}, "job.type is missing or no text"),
        ({"type": 5}, "job.type is missing or no text"),
        ({**OCV, "extra": 1}, "job.extra is unknown"),
        ({"type": "ocv"}, "parameter duration is missing"),
        (
            {"type": "ocv", "parameters": {"duration": "2", "output_data_rate": 2}},
            "parameter duration is not a number",
        ),
        (
            {"type": "ocv", "parameters": {"duration": True, "output_data_rate": 2}},
            "parameter duration is not a number",
        ),
        (
            {"type": "ocv", "parameters": {"duration": float("inf"), "output_data_rate": 2}},
            "parameters.duration is not a finite number",
        ),
        (
            {"type": "set_voltage_range", "parameters": {"potentiostat": "x", "index": 1.5}},
            "index is not a whole number",
        ),
        ({"type": "switch_off", "parameters": {"potentiostat": 5}}, "parameter potentiostat is not a text"),
        (
            {"type": "set_active_gains", "parameters": {"adc": "x", "indexes": [1, "2"]}},
            "indexes is not a list of whole",
        ),
        (
            {
                "type": "wave",
                "parameters": {"value_rate": 1, "output_data_rate": 1, "current_range": 1, "values": ["x"]},
            },
            "parameter values is not a list of numbers",
        ),
        (
            {
                "type": "switch_on",
                "parameters": {
                    "potentiostat": "x",
                    "coupling": "ON",
                    "bias": 0,
                    "voltage_range_index": 0,
                    "compliance_range_index": 0,
                },
            },
            "parameter coupling is not one of POTENTIOSTATIC, GALVANOSTATIC, FRA_PROBE",
        ),
        ({"type": "eis", "parameters": {"bias": 0}}, "parameter frequency_range is missing"),
        ({"type": "eis", "parameters": {"bias": 0, "frequency_range": 5}}, "frequency_range is not an object"),
        (
            {"type": "eis", "parameters": {"bias": 0, "frequency_range": {**SWEEP, "amplitude": None}}},
            "parameter frequency_range.amplitude is not a number",
        ),
        (
            {"type": "eis_table", "parameters": {"bias": 0, "frequency_range": {"spectrum": [{"frequency": 1}]}}},
            "parameter frequency_range.spectrum[0].amplitude is missing",
        ),
        (
            {"type": "eis_table", "parameters": {"bias": 0, "frequency_range": {}}},
            "frequency_range.spectrum is missing",
        ),
        ({**OCV, "stop_conditions": {}}, "stop_conditions is not a list"),
        ({**OCV, "stop_conditions": [{}]}, "stop_conditions[0].type is missing or no text"),
        (
            {**OCV, "stop_conditions": [{"type": "max", "parameters": {"for_dimension": "voltage"}}]},
            "parameter stop_conditions[0].maximum is missing",
        ),
        ({**OCV, "job_meta": {"n": 5}}, "job_meta.n is not a text"),
        ({**OCV, "bypass_queue": "yes"}, "bypass_queue is neither true nor false"),
        (
            {"type": "new", "parameters": {"deep": [{"x": [1, float("nan")]}]}},
            "parameters.deep[0].x[1] is not a finite number",
        ),
    ],
)
def test_what_is_wrong_is_named(job: Any, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        start_fields({"job": job}, "c1")
    talk = Talk()
    talk.call("job_start", job=job)
    assert talk.outcomes == ["rejected"]
    assert why in talk.replies[0][2]


def test_what_is_nested_without_end() -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deep"):
        start_fields({"job": {"type": "new", "parameters": {"deep": deep}}}, None)


def test_parameters_of_later_firmware_pass() -> None:
    job = {**OCV, "parameters": {**OCV["parameters"], "new": [1, {"x": None}]}}
    fields: Any = start_fields({"job": job}, None)
    assert fields["job"]["parameters"]["new"] == [1, {"x": None}]


def test_the_tag_is_ours() -> None:
    fields: Any = start_fields({"job": {**OCV, "job_meta": {"sample": "A", "mqtt_id": "old"}}}, "c1")
    assert fields["job"]["job_meta"] == {"sample": "A", "mqtt_id": "c1"}


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_known_types_are_touched_and_only_dangerous_ones_guarded(kind: str) -> None:
    command = Command("c1", "job_start", args={"job": {"type": kind}})
    assert touches(command) == (Touch(f"job_type/{kind}", point=False, guarded=kind in DANGEROUS),)


def test_unknown_types_are_guarded_and_nonsense_touches_nothing() -> None:
    unknown = Command("c1", "job_start", args={"job": {"type": "a/b"}})
    assert touches(unknown) == (Touch("job_type/a%2Fb", point=False, guarded=True),)
    for args in ({}, {"job": 5}, {"job": {"type": 5}}):
        assert touches(Command("c1", "job_start", args=args)) == ()
    assert touches(Command("c1", "job_check", args={"job": {"type": "reboot"}})) == ()


def test_what_has_a_result() -> None:
    assert measures("ocv")
    assert measures("eis_multisine")
    assert measures("new")
    assert not measures("beep")
    assert not measures("measure_integral")
