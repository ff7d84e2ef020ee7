"""The IM7 simulator: requests that the vendor's client sent, every command, queue, both result APIs, faults."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.simulators.im7 import Im7Simulator
from tests.simulators.im7_client import (
    EIS,
    OCV,
    POGA,
    SWITCH_ON,
    Client,
    Message,
    http,
    simulated,
    visiting,
)

DATA = Path(__file__).parents[1] / "data" / "im7"
LONG = {"duration": 1000.0, "output_data_rate": 10.0}
BEEP = {"frequency": 440.0, "duration": 0.1}
POT = {"potentiostat": "MAIN:1:POT"}
FAST = 500.0


def recorded(name: str) -> Iterator[tuple[str, Message]]:
    for line in (DATA / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        yield row["dir"], json.loads(row["text"])


def number(reply: Message) -> int:
    """The error number of a refusal, whose shape is checked."""
    assert reply["status"] == "FAILURE"
    assert set(reply["error"]) == {"number", "code", "message", "message_parameters"}
    return int(reply["error"]["number"])


def job(kind: str, parameters: object, **fields: object) -> Message:
    return {"type": kind, "parameters": parameters, "stop_conditions": [], "job_meta": {}, **fields}


async def exact(simulator: Im7Simulator, job_id: str) -> bytes:
    return simulator.instrument.results.of_job(job_id).raw()


# --- what the vendor's client sent -------------------------------------------------------------------------------


def lacks(ours: object, theirs: object, where: str = "") -> list[str]:
    """What of a recorded answer ours does not have, or has with another type."""
    match ours, theirs:
        case dict(), dict():
            return [
                problem
                for key, value in theirs.items()
                if key != "parameters"  # an echo, and lists of jobs have no order
                for problem in (lacks(ours[key], value, f"{where}/{key}") if key in ours else [f"{where}/{key}"])
            ]
        case list(), list():
            return lacks(ours[0], theirs[0], f"{where}[0]") if ours and theirs else []
        case int() | float(), int() | float() if isinstance(ours, bool) == isinstance(theirs, bool):
            return []
    return [] if type(ours) is type(theirs) else [f"{where} is {ours!r}"]


class Replay:
    """Sends recorded requests again; ids that the recorder made up are replaced by those that we got."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids: dict[str, str] = {}

    async def send(self, request: Message) -> Message:
        fields = {
            key: self._ids.get(value, value) if isinstance(value, str) else value for key, value in request.items()
        }
        do = fields.pop("do")
        fields.pop("request_id", None)
        return await self._client.ask(do, **fields)

    def learn(self, ours: Message, theirs: Message) -> None:
        for name in ("job_info", "resource", "connection"):
            for key, value in theirs.get(name, {}).items():
                if key in {"job_id", "resource_id", "connection_id"}:
                    self._ids[value] = ours[name][key]
        for entry in theirs.get("resources", []):
            if (job_id := self._ids.get(entry.get("job_id"))) is not None:
                self._ids[entry["resource_id"]] = f"r-{job_id}"
        for entry in theirs.get("connections", []):
            self._ids[entry["connection_id"]] = ours["connections"][0]["connection_id"]


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("session_protocol12", 12),
        ("session_protocol7", 7),
        ("control_job_results", 12),
        ("resources_and_job_options", 12),
    ],
)
@pytest.mark.asyncio
async def test_recorded_sessions(name: str, protocol: int) -> None:
    lines = list(recorded(name))
    answers = {(m["type"], m.get("request_id")): m for way, m in lines if way == "S>C"}
    async with simulated(Im7Simulator(protocol=protocol, speed=FAST)) as (_, client):
        replay = Replay(client)
        for way, request in lines:
            if way == "S>C" or request["do"] == "/connection/drop":
                continue
            if request.get("job", {}).get("type") == "poga":
                request["job"]["parameters"]["duration"] = 1e4
                client.told.clear()
            if request["do"] == "/stop" and name.startswith("session"):
                await client.event("LIVE_DATA_ROWS")
            reply = await replay.send(request)
            theirs = answers.get(("REPLY", request.get("request_id")), {})
            if theirs.get("status") != "SUCCESS" or (
                request.get("job", {}).get("parameters", {}).get("key") == "X"
            ):
                continue
            if reply["status"] == "SUCCESS":
                replay.learn(reply, theirs)
            assert lacks(reply, theirs) == [], request
            done = answers.get(("JOB_DONE", request.get("request_id")))
            if done is not None and done["job_info"]["type"] != "poga":
                ours = await client.done(reply["job_info"]["job_id"])
                if ours["job_info"]["type"] != "switch_on" or ours["job_info"]["status"] == "FINISHED":
                    assert lacks(ours, done) == []


@pytest.mark.parametrize(
    "kind", ["LIVE_DATA_HEADER", "LIVE_DATA_ROWS", "LIVE_DATA_HEADER_EIS", "LIVE_DATA_ROW_EIS"]
)
@pytest.mark.asyncio
async def test_events_have_the_shapes_that_the_client_takes(kind: str) -> None:
    theirs = next(m["event"] for _, m in recorded("session_protocol12") if m.get("event", {}).get("type") == kind)
    async with simulated(Im7Simulator(speed=FAST, on=1.0, loss=0)) as (_, client):
        await client.run("eis", EIS)
        await client.run("ocv", OCV)
        assert lacks(client.events(kind)[0], theirs) == []


@pytest.mark.asyncio
async def test_every_recorded_job_type_is_accepted_and_runs() -> None:
    requests = [m["job"] for way, m in recorded("job_requests_all_types") if way == "C>S"]
    failures = {}
    async with simulated(Im7Simulator(speed=1e6, queue=100)) as (_, client):
        await client.run("switch_on", SWITCH_ON)
        for each in requests:
            assert (await client.ask("/job/check_parameters", job=each))["status"] == "SUCCESS", each
            if each["type"] != "reboot":
                done = await client.done(await client.start(each["type"], each["parameters"]))
                if done["job_info"]["error"]["number"]:
                    failures[each["type"]] = done["job_info"]["error"]["number"]
                if each["type"] in {"switch_off", "switch_all_off"}:
                    await client.run("switch_on", {**SWITCH_ON, "coupling": "GALVANOSTATIC", "bias": 0.0})
    assert failures == {
        "set_hardware_property": 16398,  # X has no Y
        "switch_on": 8388608,  # it was on
        "switch_on_quick": 8388608,
        "wave_file": 16400,  # there is no such wave
    }


@pytest.mark.asyncio
async def test_bare_nan_and_infinity_in_requests() -> None:
    async with simulated(Im7Simulator()) as (_, client):
        requests = [m for way, m in recorded("nan_infinity_in_requests") if way == "C>S"]
        assert math.isnan(requests[0]["job"]["parameters"]["duration"])
        assert number(await client.ask("/job/check_parameters", job=requests[0]["job"])) == 16387
        assert (await client.ask("/job/check_parameters", job=requests[1]["job"]))["status"] == "SUCCESS"


@pytest.mark.asyncio
async def test_the_potentiostat_tells_exactly_twelve_things() -> None:
    theirs = next(m["result"] for _, m in recorded("get_potentiostat_state_result") if "result" in m)
    async with simulated(Im7Simulator(speed=FAST)) as (_, client):
        await client.run("switch_on", {**SWITCH_ON, "bias": 0.5})
        await client.run("set_bias", {**POT, "bias": 0.75})
        state = (await client.run("get_potentiostat_state", POT))["result"]
        assert state.keys() == theirs.keys()
        assert lacks(state, theirs) == []
        assert [state["switched_on"], state["bias"]] == [True, 0.75]


# --- jobs --------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_order_of_what_a_measurement_tells() -> None:
    async with simulated(Im7Simulator(speed=10.0, loss=0.0)) as (_, client):
        done = await client.run("ocv", OCV)
        told = [m["type"] if m["type"] == "JOB_DONE" else m["event"]["type"] for m in client.told]
        assert told[:3] == ["JOB_STATUS_UPDATE", "JOB_STATUS_UPDATE", "LIVE_DATA_HEADER"]
        assert told[-3:] == ["LIVE_DATA_FINISHED", "JOB_STATUS_UPDATE", "JOB_DONE"]
        assert set(told[3:-3]) == {"LIVE_DATA_ROWS"}
        assert [e["new_status"] for e in client.events("JOB_STATUS_UPDATE")] == ["PENDING", "RUNNING", "FINISHED"]
        assert all(e["new_status"] == e["job_info"]["status"] for e in client.events("JOB_STATUS_UPDATE"))
        pending, finished = client.events("JOB_STATUS_UPDATE")[0]["job_info"], done["job_info"]
        assert [pending["status_detail"], finished["status_detail"]] == ["NOT_FINISHED", "RUN_TO_COMPLETION"]
        assert "started" in pending
        assert "ended" not in pending
        assert finished["created"] <= finished["started"] <= finished["ended"]
        assert finished["error"]["message"] == "no error occoured"


@pytest.mark.asyncio
async def test_the_queue_runs_one_job_after_another_and_is_limited() -> None:
    async with simulated(Im7Simulator(queue=2)) as (_, client):
        running = await client.start("ocv", LONG)
        await client.event("LIVE_DATA_ROWS")
        waiting = [await client.start("beep", BEEP) for _ in range(2)]
        assert number(await client.ask("/job/start", job=job("beep", BEEP))) == 262145
        jobs = {j["job_id"]: j for j in (await client.ask("/job/list", exclude_finished=True))["jobs"]}
        assert [jobs[job_id]["status"] for job_id in (running, *waiting)] == ["RUNNING", "PENDING", "PENDING"]
        assert (await client.ask("/status"))["workstation_status"]["busy"] is True
        assert (await client.ask("/stop", queue="continue"))["status"] == "SUCCESS"
        assert (await client.done(running))["job_info"]["status_detail"] == "STOPPED_BY_USER"
        for job_id in waiting:
            assert (await client.done(job_id))["job_info"]["status_detail"] == "RUN_TO_COMPLETION"
        assert (await client.ask("/job/list", exclude_finished=True))["jobs"] == []
        assert len((await client.ask("/job/list", exclude_finished=False))["jobs"]) == 3


@pytest.mark.asyncio
async def test_stop_with_flush_cancels_what_waits() -> None:
    async with simulated(Im7Simulator(loss=0.0)) as (_, client):
        running = await client.start("ocv", LONG)
        waiting = await client.start("ocv", OCV)
        await client.event("LIVE_DATA_ROWS", 3)
        await client.socket.send('{"do":"/stop","queue":"flush"}')
        stopped, cancelled = await client.done(running), await client.done(waiting)
        errors = [(m["job_info"]["status_detail"], m["job_info"]["error"]["number"]) for m in (stopped, cancelled)]
        assert errors == [("STOPPED_BY_USER", 65539), ("CANCELLED_BEFORE_RUN", 65538)]
        assert "None" not in client.replies, "without request_id there is no reply"


@pytest.mark.parametrize(("queue", "detail"), [("continue", "STOPPED_BY_USER"), ("flush", "CANCELLED_BEFORE_RUN")])
@pytest.mark.asyncio
async def test_a_stop_that_comes_before_the_job_has_begun(queue: str, detail: str) -> None:
    async with simulated(Im7Simulator()) as (_, client):
        started = await client.send("/job/start", job=job("ocv", LONG))
        await client.ask("/stop", queue=queue)
        job_id = (await client.reply(started))["job_info"]["job_id"]
        assert (await client.done(job_id))["job_info"]["status_detail"] in {detail, "STOPPED_BY_USER"}


@pytest.mark.asyncio
async def test_bypassing_the_queue() -> None:
    async with simulated(Im7Simulator(queue=0)) as (_, client):
        assert number(await client.ask("/job/start", job=job("ocv", LONG))) == 262145
        await client.start("ocv", LONG, bypass_queue=True)
        await client.event("LIVE_DATA_ROWS")
        assert (await client.run("beep", BEEP, bypass_queue=True))["job_info"]["bypass_queue"] is True
        assert number(await client.ask("/job/start", job=job("ocv", OCV), bypass_queue=True)) == 262144
    async with simulated(Im7Simulator(bypass="all", speed=100.0)) as (_, client):
        long = await client.start("ocv", LONG)
        short = await client.run("ocv", OCV, bypass_queue=True)
        await client.ask("/stop")
        assert short["job_info"]["status"] == "FINISHED"
        assert (await client.done(long))["job_info"]["status_detail"] == "STOPPED_BY_USER"
    async with simulated(Im7Simulator(bypass="none")) as (_, client):
        assert number(await client.ask("/job/start", job=job("beep", BEEP), bypass_queue=True)) == 262144


@pytest.mark.parametrize("status", ["FAILED", "FINISHED"])
@pytest.mark.asyncio
async def test_a_stop_condition_ends_the_job(status: Any) -> None:
    stops = [{"type": "max", "parameters": {"for_dimension": "time", "maximum": 0.45}}]
    async with simulated(Im7Simulator(speed=FAST, limit_status=status)) as (_, client):
        info = (await client.run("ocv", OCV, stops))["job_info"]
        assert [info["status"], info["status_detail"]] == [status, "FUNCTIONAL_LIMIT_OCCURRED"]
        assert info["error"]["number"] == 65537
        [resource] = (await client.ask("/JOB_RESULT/list"))["resources"]
        assert resource["header"]["number_of_rows"] == 5


@pytest.mark.asyncio
async def test_measuring_needs_a_potentiostat_that_is_on() -> None:
    async with simulated(Im7Simulator(speed=FAST)) as (_, client):
        info = (await client.run("poga", POGA))["job_info"]
        assert [info["status"], info["status_detail"]] == ["FAILED", "RUNTIME_ERROR"]
        assert info["error"]["number"] == 1048576
        assert client.events("LIVE_DATA_FINISHED") == []
        assert (await client.run("set_bias", {**POT, "bias": 0.5}))["job_info"]["error"]["number"] == 1048576


@pytest.mark.asyncio
async def test_events_reach_all_but_who_started_it_by_request() -> None:
    async with simulated(Im7Simulator(speed=FAST)) as (server, client), visiting(server, "/") as other:
        job_id = await client.start("beep", BEEP)
        done = await client.done(job_id)
        await other.event("JOB_DONE")
        assert [e["new_status"] for e in other.events("JOB_STATUS_UPDATE")] == ["PENDING", "RUNNING", "FINISHED"]
        assert all(m["type"] == "EVENT" for m in other.told)
        await client.fence()
        assert client.events("JOB_DONE") == []
        assert done["request_id"] == "1"
    async with simulated(Im7Simulator(speed=FAST, twice=True)) as (_, client):
        await client.run("beep", BEEP)
        await client.event("JOB_DONE")


@pytest.mark.asyncio
async def test_memory_for_jobs_and_results_is_limited() -> None:
    async with simulated(Im7Simulator(speed=FAST, jobs=3, results=2)) as (_, client):
        ids = [(await client.run("ocv", OCV))["job_info"]["job_id"] for _ in range(5)]
        listed = {j["job_id"] for j in (await client.ask("/job/list"))["jobs"]}
        assert ids[-1] in listed
        assert len(listed) == 3
        assert {r["job_id"] for r in (await client.ask("/JOB_RESULT/list"))["resources"]} == set(ids[-2:])
        assert number(await client.ask("/job/info", job_id=ids[0])) == 16400


# --- results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 7])
@pytest.mark.asyncio
async def test_results_of_the_old_generation(protocol: int) -> None:
    simulator = Im7Simulator(protocol=protocol, speed=FAST)
    async with simulated(simulator) as (server, client):
        job_id = (await client.run("ocv", OCV))["job_info"]["job_id"]
        reply = await client.ask("/job/data", job_id=job_id)
        header, rows, finished = [entry["event"] for entry in reply["data"]]
        assert [e["type"] for e in (header, rows, finished)] == [
            "LIVE_DATA_HEADER",
            "LIVE_DATA_ROWS",
            "LIVE_DATA_FINISHED",
        ]
        raw = base64.b64decode(rows["data"], validate=True)
        assert (200, raw) == await http(server, f"/_result/{job_id}")
        columns = np.frombuffer(raw, "<f8").reshape(len(header["header"]["columns"]["dimensions"]), -1)
        assert columns[0].tolist() == [row / 10 for row in range(1, 11)]
        assert all(row in columns.T.tolist() for row in client.rows())
        assert number(await client.ask("/JOB_RESULT/list")) == 8194
        assert simulator.state()["fetched"] == {job_id: 1}


@pytest.mark.asyncio
async def test_results_of_the_new_generation() -> None:
    simulator = Im7Simulator(speed=FAST, on=1.0)
    async with simulated(simulator) as (server, client):
        for kind, parameters, sub_type in (("ocv", OCV, "DATASET_DC"), ("eis", EIS, "DATASET_AC")):
            job_id = (await client.run(kind, parameters))["job_info"]["job_id"]
            resource = (await client.ask("/JOB_RESULT/list"))["resources"][-1]
            assert [resource["job_id"], resource["sub_type"]] == [job_id, sub_type]
            assert resource["header"]["job_info"]["status"] == "FINISHED"
            await client.ask("/JOB_RESULT/download", resource_id=resource["resource_id"])
            while not client.binary:
                await client.receive()
            raw = client.binary.pop()
            assert len(raw) == resource["size"]
            assert (200, raw) == await http(server, f"/_result/{job_id}")
            parts = [
                await client.ask("/JOB_RESULT/get", resource_id=resource["resource_id"], offset=offset, limit=100)
                for offset in range(0, len(raw), 100)
            ]
            assert b"".join(base64.b64decode(part["data"]) for part in parts) == raw
            assert parts[0]["resource_total_size"] == len(raw)
        assert number(await client.ask("/job/data", job_id=job_id)) == 8194


@pytest.mark.asyncio
async def test_a_spectrum_is_told_frequency_by_frequency_in_the_columns_of_the_result() -> None:
    simulator = Im7Simulator(speed=FAST, on=1.0)
    async with simulated(simulator) as (_, client):
        job_id = (await client.run("eis", EIS))["job_info"]["job_id"]
        header = client.events("LIVE_DATA_HEADER_EIS")[0]["header"]
        blocks = [header["meta"], *header["impedances"], *header["paths"], *header["potentiostats"]]
        width = sum(len(block["dimensions"]) for block in blocks)
        result = np.frombuffer(await exact(simulator, job_id), "<f8").reshape(width, -1)
        rows = client.events("LIVE_DATA_ROW_EIS")
        assert len(rows) == result.shape[1] == len(client.events("LIVE_DATA_WAVES"))
        for row, column in zip(rows, result.T.tolist(), strict=True):
            lists = [row["meta"], *row["impedances"], *row["paths"], *row["potentiostats"]]
            assert [value for values in lists for value in values] == column


@pytest.mark.asyncio
async def test_live_rows_are_lossy_and_the_result_is_complete() -> None:
    rate = {"duration": 20.0, "output_data_rate": 1000.0}
    simulator = Im7Simulator(speed=100.0, loss=0.2, live_rows=50)
    async with simulated(simulator) as (_, client):
        job_id = (await client.run("ocv", rate))["job_info"]["job_id"]
        columns = np.frombuffer(await exact(simulator, job_id), "<f8").reshape(4, -1)
        assert columns.shape == (4, 20_000)
        complete = {tuple(row) for row in columns.T.tolist()}
        live = [tuple(row) for row in client.rows()]
        assert 0 < len(live) < 10_000
        assert set(live) <= complete
        assert live == sorted(live)
        assert max(len(event["data"]) for event in client.events("LIVE_DATA_ROWS")) <= 50


@pytest.mark.asyncio
async def test_when_results_are_there() -> None:
    simulator = Im7Simulator(protocol=7, loss=0.0)
    async with simulated(simulator) as (_, client):
        running = await client.start("ocv", LONG)
        await client.event("LIVE_DATA_ROWS", 3)
        refusal = await client.ask("/job/data", job_id=running)
        assert number(refusal) == 16400
        await client.ask("/stop")
        rows = (await client.ask("/job/data", job_id=running))["data"][1]["event"]["data"]
        assert len(base64.b64decode(rows)) == 32 * len(client.rows()) >= 96
        discarded = (await client.run("ocv", {**OCV, "duration": 0.1}, discard_result_data=True))["job_info"]
        assert discarded["discard_result_data"] is True
        assert number(await client.ask("/job/data", job_id=discarded["job_id"])) == 262146


@pytest.mark.asyncio
async def test_a_result_of_a_million_rows_is_quick() -> None:
    simulator = Im7Simulator(speed=1e5)
    async with simulated(simulator) as (_, client):
        job_id = (await client.run("ocv", {"duration": 1000.0, "output_data_rate": 1000.0}))["job_info"]["job_id"]
        await client.ask("/JOB_RESULT/download", resource_id=f"r-{job_id}")
        while not client.binary:
            await client.receive()
        assert client.binary[0] == await exact(simulator, job_id)
        assert len(client.binary[0]) == 32_000_000
        assert len(client.rows()) < 10_000


# --- other commands ----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_control_jobs_give_results_to_who_started_them() -> None:
    async with simulated(Im7Simulator(speed=FAST)) as (_, client):
        on = (await client.run("switch_on", SWITCH_ON))["result"]
        assert on["applied_bias"] == on["voltage"] == 1.0
        volts, amperes = [
            (await client.run("measure_integral", {"channel": f"MAIN:1:POT:{c}", "duration": 0.1}))["result"][
                "value"
            ]
            for c in "UI"
        ]
        assert [volts, amperes] == [1.0, on["current"]]
        await client.run("set_hardware_property", {"uri": "MIO:1", "key": "DIGITAL_OUT", "value": 5})
        value = await client.run("get_hardware_property", {"uri": "MIO:1", "key": "DIGITAL_OUT"})
        assert value["result"] == {"value": 5}
        await client.run("switch_all_off", {})
        assert (await client.run("get_potentiostat_state", POT))["result"]["switched_on"] is False
        assert "result" not in await client.run("beep", BEEP)


@pytest.mark.asyncio
async def test_resources() -> None:
    async with simulated(Im7Simulator()) as (_, client):
        resource = (await client.ask("/WAVE/create", name="w"))["resource"]
        content = bytes(range(256)) * 8
        for part in (content[:1000], content[1000:]):
            data = base64.b64encode(part).decode()
            await client.ask("/WAVE/append", resource_id=resource["resource_id"], data=data)
        info = (await client.ask("/WAVE/info", resource_id=resource["resource_id"]))["resource"]
        assert [info["size"], info["name"], info["type"]] == [2048, "w", "WAVE"]
        assert [r["name"] for r in (await client.ask("/WAVE/list"))["resources"]] == ["w"]
        await client.ask("/WAVE/download", resource_id=resource["resource_id"])
        while not client.binary:
            await client.receive()
        assert client.binary == [content]
        asked = {"resource_id": resource["resource_id"]}
        assert number(await client.ask("/WAVE/append", **asked, data="*")) == 16386
        assert number(await client.ask("/CALIB_MESH/info", **asked)) == 131073
        assert number(await client.ask("/WAVE/get", **asked, offset=0, limit=400_000)) == 16388
        assert number(await client.ask("/DEBUG_INFO/create", name="x")) == 131075
        assert (await client.ask("/WAVE/delete", **asked))["status"] == "SUCCESS"
        assert number(await client.ask("/WAVE/delete", **asked)) == 16400


@pytest.mark.asyncio
async def test_settings_and_connections() -> None:
    async with simulated(Im7Simulator()) as (server, client), visiting(server) as other:
        settings = (await client.ask("/settings/get"))["settings"]
        assert all(isinstance(value, bool | int | float | str) for value in settings.values())
        reply = await client.ask("/settings/set", settings={"system.name": "x", "no.such": 1})
        assert [reply["settings"][key]["number"] for key in ("system.name", "no.such")] == [0, 32768]
        assert (await client.ask("/settings/get"))["settings"]["system.name"] == "x"
        own = (await client.ask("/connection/id"))["connection"]
        theirs = (await other.ask("/connection/id"))["connection"]
        listed = (await client.ask("/connection/list"))["connections"]
        assert own in listed
        assert theirs in listed
        await client.ask("/connection/drop", connection_id=theirs["connection_id"])
        with pytest.raises(ConnectionClosed):
            await other.receive()
        assert number(await client.ask("/connection/drop", connection_id="nobody")) == 16400


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 8192),
        ("[1]", 8193),
        ("{}", 16384),
        ('{"do":"/nope"}', 8194),
        ('{"do":"/WAVE/x"}', 8194),
        (b"\xff", 8192),
    ],
)
@pytest.mark.asyncio
async def test_requests_that_are_none(text: str | bytes, code: int) -> None:
    async with simulated(Im7Simulator()) as (_, client):
        await client.socket.send(text)
        assert number(await client.reply("None")) == code


@pytest.mark.parametrize(
    ("protocol", "does"), [(2, [False, True, False]), (7, [True, True, False]), (12, [True, False, True])]
)
@pytest.mark.asyncio
async def test_what_the_generations_know(protocol: int, does: list[bool]) -> None:
    async with simulated(Im7Simulator(protocol=protocol)) as (_, client):
        assert (await client.ask("/id"))["workstation"]["protocol_version"] == protocol
        replies = [
            await client.ask("/job/info", job_id="x"),
            await client.ask("/job/data", job_id="x"),
            await client.ask("/JOB_RESULT/info", resource_id="x"),
        ]
        assert [number(reply) == 16400 for reply in replies] == does


# --- connecting and HTTP -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_seeds_curl_lines() -> None:
    async with simulated(Im7Simulator(protocol=2, speed=FAST)) as (server, client):
        status, body = await http(server, "/id")
        assert (status, json.loads(body)["workstation"]["serial_number"]) == (200, "73000000")
        seed = {"request_id": "q", "job": {"type": "switch_on", "parameters": SWITCH_ON}}
        status, body = await http(server, "/job/start", seed)
        reply = json.loads(body)
        assert [status, reply["request_id"], reply["job_info"]["status"]] == [200, "q", "PENDING"]
        await client.event("JOB_DONE")
        jobs = json.loads((await http(server, "/job/list"))[1])["jobs"]
        assert [(j["type"], j["status"]) for j in jobs] == [("switch_on", "FINISHED")]
        assert json.loads((await http(server, "/job/list?exclude_finished=true"))[1])["jobs"] == []
        long = await client.start("ocv", LONG)
        await client.event("LIVE_DATA_ROWS")
        assert json.loads((await http(server, "/stop"))[1]) == {"type": "REPLY", "status": "SUCCESS"}
        assert (await client.done(long))["job_info"]["status_detail"] == "STOPPED_BY_USER"
        for body in (b"{", b"[]"):
            assert (await http(server, "/job/start", body))[0] == 400
        assert (await http(server, "/nope"))[0] == 404
        assert (await http(server, "/_result/nope"))[0] == 404


@pytest.mark.asyncio
async def test_a_body_that_comes_in_pieces() -> None:
    async with simulated(Im7Simulator()) as (server, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = json.dumps({"job": job("beep", BEEP)}).encode()
        for piece in (
            b"POST /job/start HTTP/1.1\r\nHo",
            b"st: x\r\nContent-Le",
            b"ngth: %d\r\n\r\n{" % len(body),
            body[1:],
        ):
            writer.write(piece)
            await client.ask("/id")  # by then the server has read the piece
        assert b'"PENDING"' in await reader.read()
        writer.close()


@pytest.mark.parametrize(
    "head", [b"Content-Length: x", b"Content-Length: 99999999999999", b"Transfer-Encoding: chunked"]
)
@pytest.mark.asyncio
async def test_a_body_of_no_proper_length(head: bytes) -> None:
    async with simulated(Im7Simulator()) as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /job/start HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n{}")
        assert (await reader.read()).split(b" ")[1:2] != [b"200"]
        writer.close()


@pytest.mark.asyncio
async def test_login_and_version() -> None:
    basic = {"Authorization": f"Basic {base64.b64encode(b'lab:secret').decode()}"}
    async with simulated(Im7Simulator(protocol=7)) as (server, _):
        version = "Z-Supported-Protocol-Version"
        async with connect(server.url + "/default", additional_headers={version: "7"}):
            pass
        with pytest.raises(InvalidStatus, match="409"):
            async with connect(server.url + "/default", additional_headers={version: "12"}):
                pass
        with pytest.raises(InvalidStatus, match="404"):
            async with connect(server.url + "/elsewhere"):
                pass
        server.simulator = Im7Simulator(user="lab", password="secret")
        assert (await http(server, "/id"))[0] == 401
        assert (await http(server, "/id", headers=basic))[0] == 200
        async with connect(server.url, additional_headers=basic):
            pass
        with pytest.raises(InvalidStatus, match="401"):
            async with connect(server.url):
                pass


# --- faults ------------------------------------------------------------------------------------------------------


async def fault(server: Any, name: str) -> None:
    status, body = await http(server, f"/_fault/{name}")
    assert status == 200, body


@pytest.mark.asyncio
async def test_dropped_in_the_middle_of_a_job_which_goes_on() -> None:
    simulator = Im7Simulator(speed=20.0)
    async with simulated(simulator) as (server, client):
        await fault(server, "drop_at?row=5")
        job_id = await client.start("ocv", {"duration": 20.0, "output_data_rate": 10.0})
        with pytest.raises(ConnectionClosed):
            await client.done(job_id)
        async with visiting(server) as again:
            assert (await again.ask("/job/info", job_id=job_id))["job_info"]["status"] == "RUNNING"
            done = await again.event("JOB_DONE")
            assert done["job_info"]["job_id"] == job_id
            assert len(await exact(simulator, job_id)) == 200 * 32


@pytest.mark.asyncio
async def test_a_start_that_was_executed_but_not_answered() -> None:
    async with simulated(Im7Simulator(speed=FAST)) as (server, client):
        await fault(server, "lose_reply")
        await client.send("/job/start", job=job("beep", BEEP, job_meta={"mqtt_id": "a"}))
        with pytest.raises(ConnectionClosed):
            await client.receive()
        async with visiting(server) as again:
            [found] = (await again.ask("/job/list"))["jobs"]
            assert found["job_meta"] == {"mqtt_id": "a"}
            state = json.loads((await http(server, "/_state"))[1])
            assert state["starts"]["count"] == 1


@pytest.mark.asyncio
async def test_job_done_can_overtake_the_reply() -> None:
    async with simulated(Im7Simulator(speed=FAST)) as (server, client):
        await fault(server, "late_reply")
        request_id = await client.send("/job/start", job=job("beep", BEEP))
        job_id = (await client.reply(request_id))["job_info"]["job_id"]
        assert client.told[-1]["type"] == "JOB_DONE"
        assert client.told[-1]["job_info"]["job_id"] == job_id


@pytest.mark.asyncio
async def test_a_job_that_is_forgotten() -> None:
    async with simulated(Im7Simulator(protocol=7, speed=FAST)) as (server, client):
        job_id = (await client.run("ocv", OCV))["job_info"]["job_id"]
        await fault(server, f"forget?job_id={job_id}")
        assert number(await client.ask("/job/info", job_id=job_id)) == 16400
        assert number(await client.ask("/job/data", job_id=job_id)) == 16400
        running = await client.start("ocv", LONG)
        await client.event("LIVE_DATA_HEADER", 2)
        await fault(server, "forget")
        told = len(client.told)
        assert (await client.run("beep", BEEP))["job_info"]["status"] == "FINISHED"
        assert running not in json.dumps(client.told[told:])
        assert (await http(server, "/_fault/forget?job_id="))[0] == 200


@pytest.mark.asyncio
async def test_refusing_and_failing() -> None:
    async with simulated(Im7Simulator()) as (server, client):
        await fault(server, "full_queue")
        assert number(await client.ask("/job/start", job=job("beep", BEEP))) == 262145
        await fault(server, "full_queue?full=false")
        await fault(server, "refuse_jobs?number=4194304")
        assert number(await client.ask("/job/start", job=job("beep", BEEP))) == 4194304
        assert (await http(server, "/_fault/refuse_jobs?number=3"))[0] == 400
        for how, expected in (
            ("exception", ("RUNTIME_ERROR", 8388608)),
            ("safety", ("SAFETY_LIMIT_OCCURRED", 1048579)),
        ):
            job_id = await client.start("ocv", LONG)
            await client.event("LIVE_DATA_ROWS", len(client.events("LIVE_DATA_ROWS")) + 1)
            await fault(server, f"fail?how={how}")
            info = (await client.done(job_id))["job_info"]
            assert (info["status_detail"], info["error"]["number"]) == expected


@pytest.mark.asyncio
async def test_values_that_are_not_numbers() -> None:
    simulator = Im7Simulator(speed=FAST, loss=0.0)
    async with simulated(simulator) as (server, client):
        await fault(server, "nan?count=2&column=current")
        job_id = (await client.run("ocv", OCV))["job_info"]["job_id"]
        columns = np.frombuffer(await exact(simulator, job_id), "<f8").reshape(4, -1)
        assert np.isnan(columns).sum() == np.isnan(columns[2]).sum() == 2
        assert sum(math.isnan(row[2]) for row in client.rows()) == 2


@pytest.mark.asyncio
async def test_measurements_can_stand_still() -> None:
    async with simulated(Im7Simulator(speed=100.0, loss=0.0)) as (server, client):
        job_id = await client.start("ocv", {"duration": 100.0, "output_data_rate": 10.0})
        await client.event("LIVE_DATA_ROWS")
        await fault(server, "freeze")
        await client.fence()
        rows = len(client.rows())
        assert rows < 1000
        assert (await client.ask("/status"))["workstation_status"]["busy"] is True
        await fault(server, "freeze?seconds=0")
        assert (await client.done(job_id))["job_info"]["status"] == "FINISHED"
        assert len(client.rows()) == 1000 or max(len(e["data"]) for e in client.events("LIVE_DATA_ROWS")) == 100


@pytest.mark.asyncio
async def test_messages_and_reboot() -> None:
    async with simulated(Im7Simulator(speed=FAST, on=1.0)) as (server, client):
        await fault(server, "message?text=hot&severity=WARNING")
        await fault(server, "message?text=cold&from_job=true")
        assert (await client.event("MESSAGE_FROM_SERVER"))["message"]["severity"] == "WARNING"
        assert (await client.event("MESSAGE_FROM_JOB"))["message"].keys() >= {"job_id", "message", "date_time"}
        await client.start("reboot", {})
        with pytest.raises(ConnectionClosed):
            await client.event("MESSAGE_FROM_SERVER", 2)  # which never comes
        server.faults.clear()
        async with asyncio.timeout(5):
            while True:
                try:
                    async with visiting(server) as again:
                        assert (await again.ask("/job/list"))["jobs"] == []
                        state = (await again.run("get_potentiostat_state", POT))["result"]
                        assert state["switched_on"] is False
                        return
                except OSError:
                    continue  # it does not listen again yet
