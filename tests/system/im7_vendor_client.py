"""A session of the vendor's own client against an IM7: run by a Python that has `zahner_link`, not by ours.

    python im7_vendor_client.py session|broken|listen PORT DIRECTORY [USER PASSWORD]

prints one JSON object of what it saw, in a line that begins with `REPORT`; it judges nothing. DIRECTORY takes the
files that it uploads and downloads. Callbacks only count: what they raise is swallowed by the client.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import zahner_link as zl  # type: ignore[import-not-found, unused-ignore]

WAVE_BYTES = 1_000_000
GENERATION = zl.ZahnerLink.get_supported_protocol_version()
fired: Counter[str] = Counter()
live_rows: list[list[float]] = []
statuses: list[str] = []
handlers: list[object] = []  # the client does not keep them alive


def number(answer: object) -> int:
    """The number of an error object; 0 for none, and for anything else that was returned."""
    code = getattr(answer, "get_error_code_enum", None)
    return int(code().value) if code is not None else 0


def listen(link: zl.ZahnerLink) -> None:
    """One handler for each kind of event that this generation knows."""

    def counting(name: str) -> Callable[..., None]:
        def count(*told: Any) -> None:
            fired[name] += 1
            if name == "live_data_rows":
                live_rows.extend(list(row) for row in told[0])
            elif name == "job_status_update":
                statuses.append(told[0].name)

        return count

    make = zl.ZahnerLinkEventHandler
    for factory in [name for name in dir(make) if name.startswith("make_")]:
        name = factory.removeprefix("make_").removesuffix("_event_handler")
        handler = getattr(make, factory)(counting(name))
        handlers.append(handler)
        link.set_event_handler(handler)


def info(job: Any) -> dict[str, object]:
    """How a job ended."""
    told = job.get_last_job_info()
    return {
        "id": told.get_job_id(),
        "status": told.get_status().name,
        "detail": told.get_status_detail().name,
        "error": number(told.get_error()),
    }


def dc(link: zl.ZahnerLink, job: object) -> dict[str, object]:
    data = link.get_job_result_data(job)
    if number(data):
        return {"error": number(data)}
    return {"dimensions": list(data.get_dc_dimensions()), "tracks": [list(track) for track in data.get_tracks()]}


def ac(link: zl.ZahnerLink, job: object) -> dict[str, object]:
    data = link.get_job_result_data(job)
    if number(data):
        return {"error": number(data)}
    impedance = data.get_impedance_data()
    return {
        "frequencies": list(data.get_frequencies()),
        "periods": list(data.get_periods()),
        "times": list(data.get_times()),
        "impedance": {name: list(track) for name, track in impedance.get_tracks().items()},
        "voltage": {name: list(track) for name, track in data.get_path_data("voltage").get_tracks().items()},
    }


def stopped(link: zl.ZahnerLink) -> dict[str, object]:
    """A polarisation of 20 s, stopped from another thread."""
    job = zl.meas.PogaJob(1.0, 20.0, 10.0, False, 0.1)
    ended: list[int] = []
    worker = threading.Thread(target=lambda: ended.append(number(link.do_job(job))))
    before = len(live_rows)
    worker.start()
    deadline = time.monotonic() + 20
    while len(live_rows) < before + 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    early = None
    if GENERATION >= 12:
        link.cancel_pending_operations()
        worker.join(10)
        early = dc(link, job).get("error")  # it runs: no result yet
    link.send_stop(next(mode for mode in zl.QueueStopModeEnum if "FLUSH" in mode.name))
    if GENERATION >= 12:
        ended.append(number(link.wait_for_job_to_finish(job)))
    worker.join(10)
    return {"ended": ended, "early": early, "job": info(job), "data": dc(link, job)}


def moved(link: zl.ZahnerLink, directory: Path) -> dict[str, object]:
    """Upload a file, look at it, download it, delete it."""
    content = bytes(index * 7 % 251 for index in range(WAVE_BYTES))
    (directory / "up.bin").write_bytes(content)
    resource = link.create_resource_from_file(zl.ResourceTypeEnum.WAVE, directory / "up.bin", "wave1")
    if number(resource):
        return {"error": number(resource)}
    size = resource.get_size()
    updated = number(link.get_updated_resource_info(resource))
    listed = [each.get_name() for each in link.get_available_resources(zl.ResourceTypeEnum.WAVE)]
    part = link.retrieve_resource(resource, 100, 5)
    taken = number(link.download_resource_to_file(resource, directory / "down.bin"))
    same = (directory / "down.bin").read_bytes() == content
    return {
        "size": size,
        "updated": updated,
        "listed": listed,
        "part": bytes(part) == content[5:105],
        "taken": taken,
        "same": same,
        "sha256": hashlib.sha256(content).hexdigest(),
        "deleted": number(link.delete_resource(resource)),
        "gone": number(link.delete_resource(resource)),
    }


def session(link: zl.ZahnerLink, directory: Path) -> dict[str, object]:
    """Everything, in order."""
    pot, potentiostatic = "MAIN:1:POT", zl.PotentiostatCoupling.POTENTIOSTATIC
    report: dict[str, object] = {"generation": GENERATION}
    who, how = link.get_workstation_info(), link.get_workstation_status()
    report["workstation"] = [who.protocol_version, who.serial_number, who.model_name, who.system_name]
    report["status"] = [how.busy, how.uptime >= 0, how.last_dc_calibration]

    switch_on = zl.control.SwitchOnJob(pot, potentiostatic, 1.0)
    report["switch_on"] = {"error": number(link.do_job(switch_on)), **info(switch_on)}
    applied = switch_on.get_job_result()
    report["applied"] = [applied.applied_bias, applied.voltage, applied.current]
    again = zl.control.SwitchOnJob(pot, potentiostatic, 1.0)
    report["switch_on_again"] = {"error": number(link.do_job(again)), **info(again)}
    integral = zl.control.MeasureIntegralJob("MAIN:1:POT:U", 0.3)
    report["integral"] = [number(link.do_job(integral)), integral.get_job_result()]
    state = zl.control.GetPotentiostatStateJob(pot)
    report["state"] = [number(link.do_job(state)), state.get_job_result().switched_on]

    ocv = zl.meas.OcvJob(1.0, 10.0, {"sample": "A1"})
    before = len(live_rows)
    report["ocv"] = {"error": number(link.do_job(ocv)), "job": info(ocv), "data": dc(link, ocv)}
    report["ocv_live"] = live_rows[before:]
    report["ocv_meta"] = ocv.get_last_job_info().get_user_metadata()

    limit = zl.meas.stop.MaxLimitStopCondition("time", 0.5)
    limited = zl.meas.OcvJob(2.0, 10.0, {}, [limit])
    report["limited"] = {"error": number(link.do_job(limited)), "job": info(limited), "data": dc(link, limited)}

    eis = zl.meas.EisGenerateJob(1.0, 10.0, 1e5, 1e4, 4, 3, 0.0, 1, 0.05, 3, 0.01)
    report["eis"] = {"error": number(link.do_job(eis)), "job": info(eis)}
    if GENERATION >= 12:
        report["eis_data"] = ac(link, eis)

    report["stopped"] = stopped(link)
    jobs = link.get_job_info_list(False)
    report["jobs"] = sorted(job.get_job_id() for job in jobs)
    report["one"] = link.get_job_info(ocv).get_job_id()
    bad = zl.meas.PogaJob(1.0, -1.0, 10.0, False, 0.1)
    report["checked"] = [number(link.check_job_parameters(bad)), number(link.check_job_parameters(ocv))]
    report["refused"] = number(link.do_job(bad))
    report["resource"] = moved(link, directory)
    settings = link.get_settings()
    report["settings"] = number(settings) or sorted(settings.keys())
    own = link.get_own_connection_info()
    everybody = link.get_ecw_connection_list()
    report["connections"] = [own.connection_id in {each.connection_id for each in everybody}, own.user_agent]
    by_http = link.id()
    report["id_by_http"] = by_http.serial_number if not number(by_http) else number(by_http)
    switch_off = zl.control.SwitchOffJob(pot)
    report["switch_off"] = {"error": number(link.do_job(switch_off)), **info(switch_off)}
    return report


def main() -> None:
    command, port, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    user, password = (*sys.argv[4:6], "", "")[:2]
    link = zl.ZahnerLink("127.0.0.1", port, zl.ZahnerLinkConnectionFlags.NONE, user, password)
    link.set_request_timeout(timedelta(seconds=10))
    report: dict[str, object] = {"connected": number(link.connect())}
    if not report["connected"]:
        listen(link)
        if command == "session":
            report |= session(link, directory)
        elif command == "broken":  # somebody ends TCP in the middle of this job
            job = zl.meas.OcvJob(600.0, 10.0)
            report |= {"error": number(link.do_job(job)), "job": info(job)}
        elif command == "listen":
            print("LISTENING", flush=True)
            sys.stdin.readline()
    link.disconnect()
    print("REPORT", json.dumps({**report, "fired": dict(fired), "statuses": statuses}), flush=True)


if __name__ == "__main__":
    main()
