"""The vendor's own client holds a whole session with our IM7 simulator: what it reads is what was measured.

Opt-in, because the client is proprietary: LAB2MQTT_ZAHNER_LINK_12 and LAB2MQTT_ZAHNER_LINK_7 name the Python of a
virtual environment that has zahner_link 26.40.1 (protocol 12) and 26.22.0 (protocol 7), both from PyPI.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.im7 import Im7Simulator
from bridge.simulators.server import Server, serve

CLIENT = Path(__file__).with_name("im7_vendor_client.py")
PATIENCE = 60.0
Report = dict[str, Any]
TOLD_BY_ALL = {
    "job_status_update", "job_log_message", "log_message", "live_data_header", "live_data_rows",
    "live_data_finished", "live_data_header_eis", "live_data_row_eis", "live_data_wave",
}  # fmt: skip


@pytest.fixture(params=[12, 7])
def protocol(request: pytest.FixtureRequest) -> int:
    """Each generation of which the client is there."""
    version: int = request.param
    if not os.environ.get(variable_of(version)):
        pytest.skip(f"{variable_of(version)} does not name a Python that has the vendor's client")
    return version


def variable_of(protocol: int) -> str:
    return f"LAB2MQTT_ZAHNER_LINK_{protocol}"


@asynccontextmanager
async def client(
    protocol: int, command: str, server: Server, directory: Path, *login: str
) -> AsyncIterator[Process]:
    """The vendor's client in a process of its own; killed if it hangs."""
    arguments = (str(CLIENT), command, str(server.port), str(directory), *login)
    process = await asyncio.create_subprocess_exec(
        os.environ[variable_of(protocol)], *arguments, stdin=PIPE, stdout=PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def report_of(process: Process) -> Report:
    """What it saw, once it is through."""
    output, _ = await process.communicate()
    lines = [line for line in output.decode().splitlines() if line.startswith("REPORT ")]
    assert lines, f"the client ended with {process.returncode} and no report: {output.decode()}"
    report: Report = json.loads(lines[-1].removeprefix("REPORT "))
    return report


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the client does; the patience is that of its process."""
    while not condition():
        await asyncio.sleep(0.01)


def tracks(simulator: Im7Simulator, job_id: str) -> list[list[float]]:
    """The exact numbers of a result, column by column."""
    result = simulator.instrument.results.of_job(job_id)
    columns: list[list[float]] = result.recording.matrix[:, : result.rows].tolist()
    return columns


@pytest.mark.asyncio
async def test_a_whole_session(protocol: int, tmp_path: Path) -> None:
    simulator = Im7Simulator(protocol=protocol, loss=0.3)
    async with serve(simulator) as server, client(protocol, "session", server, tmp_path) as process:
        await until(lambda: simulator.instrument.starts)
        message = next(fault for fault in simulator.faults() if fault.__name__ == "message")
        for from_job in (False, True):
            message(from_job=from_job)
        report = await report_of(process)
        ocv, limited, stopped = report["ocv"], report["limited"], report["stopped"]

        assert report["generation"] == protocol
        assert report["workstation"] == [protocol, "73000000", "IM7x", "My Zahner Workstation"]
        assert report["status"] == [False, True, "2026-01-12T09:30:00.000000Z"]
        assert report["switch_on"]["detail"] == "RUN_TO_COMPLETION"
        assert report["applied"][0] == 1.0
        assert report["switch_on_again"]["error"] == 8388608
        assert report["integral"] == [0, 1.0]
        assert report["state"] == [0, True]

        assert ocv["error"] == 0
        assert ocv["data"]["dimensions"] == ["time", "voltage", "current", "shunt"]
        assert ocv["data"]["tracks"] == tracks(simulator, ocv["job"]["id"])
        assert len(ocv["data"]["tracks"][0]) == 10
        rows = [list(row) for row in zip(*ocv["data"]["tracks"], strict=True)]
        assert 0 < len(report["ocv_live"]) < 10
        assert all(row in rows for row in report["ocv_live"])
        assert report["ocv_meta"] == {"sample": "A1"}

        assert limited["error"] == limited["job"]["error"] == 65537
        assert limited["job"]["detail"] == "FUNCTIONAL_LIMIT_OCCURRED"
        assert limited["data"]["tracks"] == tracks(simulator, limited["job"]["id"])

        assert report["eis"]["job"]["detail"] == "RUN_TO_COMPLETION"
        if protocol >= 12:
            columns = tracks(simulator, report["eis"]["job"]["id"])
            spectrum = report["eis_data"]
            assert [spectrum["frequencies"], spectrum["periods"], spectrum["times"]] == columns[:3]
            assert list(spectrum["impedance"].values()).count(columns[5]) == 1
            assert spectrum["impedance"]["phase"] == columns[6]
            assert spectrum["voltage"]["amplitude"] == columns[12]
            assert stopped["early"] == 16400

        assert set(stopped["ended"]) == {65539}
        assert stopped["job"]["detail"] == "STOPPED_BY_USER"
        assert 5 <= len(stopped["data"]["tracks"][0]) < 200
        assert stopped["data"]["tracks"] == tracks(simulator, stopped["job"]["id"])
        assert report["jobs"] == sorted(job_id for job_id in simulator.instrument.jobs if job_id in report["jobs"])
        assert len(report["jobs"]) == len(simulator.instrument.jobs) - 1  # switched off later
        assert report["one"] == ocv["job"]["id"]
        assert report["checked"] == [16389, 0]
        assert report["refused"] == 16389

        resource = report["resource"]
        assert [resource["part"], resource["same"]] == [True, True]
        assert [resource["updated"], resource["taken"], resource["deleted"], resource["gone"]] == [0, 0, 0, 16400]
        assert resource["listed"] == ["wave1"]
        assert "system.name" in report["settings"]
        assert report["connections"] == [True, "zahner_link_lib"]
        assert report["id_by_http"] == "73000000"
        assert report["switch_off"]["error"] == 0
        assert set(report["fired"]) == TOLD_BY_ALL | ({"job_done"} if protocol >= 12 else set())
        assert report["statuses"][:3] == ["PENDING", "RUNNING", "FINISHED"]


@pytest.mark.asyncio
async def test_the_client_notices_when_tcp_ends_in_the_middle_of_a_job(protocol: int, tmp_path: Path) -> None:
    simulator = Im7Simulator(protocol=protocol)
    async with serve(simulator) as server, client(protocol, "broken", server, tmp_path) as process:
        await until(lambda: simulator.instrument.running)
        server.faults.drop()
        report = await report_of(process)
        assert report["error"] in {4099, 4100, 4102}  # broken, closed, not read
        assert report["job"]["detail"] in {"CONNECTION_LOSS", "NOT_CONNECTED"}
        assert simulator.instrument.running, "the job goes on"


@pytest.mark.asyncio
async def test_login(protocol: int, tmp_path: Path) -> None:
    async with serve(Im7Simulator(protocol=protocol, user="lab", password="secret")) as server:
        for login, connected in ((("lab", "secret"), 0), (("lab", "wrong"), 4106), ((), 4106)):
            async with client(protocol, "connect", server, tmp_path, *login) as process:
                assert (await report_of(process))["connected"] == connected


@pytest.mark.asyncio
async def test_the_other_generation_is_refused(protocol: int, tmp_path: Path) -> None:
    async with serve(Im7Simulator(protocol=2)) as server, client(protocol, "connect", server, tmp_path) as process:
        assert (await report_of(process))["connected"] == 4108


@pytest.mark.asyncio
async def test_the_client_answers_pings_and_hears_of_jobs_that_others_started(
    protocol: int, tmp_path: Path
) -> None:
    simulator = Im7Simulator(protocol=protocol, speed=100.0)
    async with serve(simulator) as server, client(protocol, "listen", server, tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"LISTENING\n"
        await server.connections[0].ping().wait()
        request = {"do": "/job/start", "job": {"type": "beep", "parameters": {"frequency": 440, "duration": 1}}}
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = json.dumps(request).encode()
        writer.write(b"POST /job/start HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert b'"PENDING"' in await reader.read()
        writer.close()
        await until(lambda: not any(job.is_open for job in simulator.instrument.jobs.values()))
        await server.connections[0].ping().wait()
        process.stdin.write(b"\n")
        report = await report_of(process)
        assert report["statuses"] == ["PENDING", "RUNNING", "FINISHED"]
        assert report["fired"].get("job_done", 0) == (1 if protocol >= 12 else 0)
