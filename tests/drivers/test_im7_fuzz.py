"""Whatever the IM7 says and in whatever order things happen: no surprise, one final reply, and no start twice."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.driver import Close, Compute, Hold, ProtocolError, Remember, Send
from bridge.model import Block, Command, Declared, Happened, Job, Reply, Result, Update
from tests.drivers.im7_talk import DC, NO_ERROR, OCV, STOPPED, Object, Talk, event

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, "\ud800"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)
JOB_IDS = st.sampled_from(["j1", "j2", "j3", "", "a/b"])
NAMES = st.sampled_from(
    ["c0", "c1", "c2", "c3", "c4", "c5", "old", "older", "lab2mqtt/1", "lab2mqtt/2", "lab2mqtt/4"]
)
TYPES = st.sampled_from(["ocv", "beep", "switch_off", "eis_table", "new"])


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """These fields, mostly as they should be; now and then one is missing or nonsense."""
    whole = st.fixed_dictionaries(dict(fields))
    broken = st.fixed_dictionaries({}, optional={name: good | ANY_JSON for name, good in fields.items()})
    return st.one_of(whole, whole, whole, broken)


ERRORS = st.sampled_from(
    [NO_ERROR] * 6 + [STOPPED, {"number": 65537}, {"number": 8194}, {"number": 16400}, {"number": 262146}]
)
INFOS = objects(
    job_id=JOB_IDS,
    status=st.sampled_from(["PENDING", "RUNNING", "FINISHED", "FAILED", "DELETED", "NEW"]),
    status_detail=st.sampled_from(
        ["NOT_FINISHED", "RUN_TO_COMPLETION", "STOPPED_BY_USER", "CANCELLED_BEFORE_RUN"]
    ),
    job_meta=st.builds(lambda name: {"mqtt_id": name}, NAMES),
    type=TYPES,
    error=ERRORS,
    parameters=st.just(OCV["parameters"]),
    created=st.just("2026"),
)
HEADERS = st.one_of(st.just(DC), st.just(DC), st.just({"meta": {"dimensions": ["frequency"]}}), ANY_JSON)
EVENTS = objects(
    type=st.sampled_from(
        [
            "JOB_STATUS_UPDATE",
            "JOB_DONE",
            "LIVE_DATA_HEADER",
            "LIVE_DATA_HEADER_EIS",
            "LIVE_DATA_ROWS",
            "LIVE_DATA_ROW_EIS",
            "LIVE_DATA_FINISHED",
            "LIVE_DATA_WAVES",
            "MESSAGE_FROM_JOB",
        ]
    ),
    job_info=INFOS,
    header=HEADERS,
    data=st.just([[1.0, 2.0, 3.0, 4.0]]) | st.just("AAAAAAAA8D8="),
    meta=st.just([1.0]),
    message=st.just({"severity": "WARNING", "message": "x", "job_id": "j1"}),
).map(lambda found: {"type": "EVENT", "event": found})
RESOURCES = objects(
    resource_id=st.just("r1"),
    job_id=JOB_IDS,
    size=st.just(96),
    header=st.builds(lambda header, info: {"job_data_header": header, "job_info": info}, HEADERS, INFOS),
)
DATA = st.lists(EVENTS, max_size=3).map(lambda events: [event("LIVE_DATA_HEADER", header=DC), *events])
PAYLOADS = objects(
    status=st.sampled_from(["SUCCESS"] * 5 + ["FAILURE"]),
    error=ERRORS,
    job_info=INFOS,
    jobs=st.lists(INFOS, max_size=3),
    workstation=st.just({"protocol_version": 7}),
    workstation_status=st.just({"busy": True, "uptime": 1, "last_dc_calibration": "x"}),
    resources=st.lists(RESOURCES, max_size=2),
    data=DATA,
    result=ANY_JSON,
)
MESSAGES = st.builds(
    lambda kind, name, payload: {"type": kind, "request_id": name, **payload},
    st.sampled_from(["REPLY", "JOB_DONE", "EVENT"]),
    NAMES | st.none(),
    PAYLOADS,
)
FRAMES = st.one_of(
    EVENTS.map(json.dumps),
    MESSAGES.map(json.dumps),
    ANY_JSON.map(json.dumps),
    st.just(bytes(96)),
    st.binary(max_size=100),
    st.text(max_size=20),
)
JOBS = st.builds(lambda kind: {"type": kind, "parameters": OCV["parameters"]}, TYPES) | ANY_JSON
COMMANDS: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("job_start"), st.fixed_dictionaries({"job": st.just(OCV) | JOBS})),
    st.tuples(st.just("job_check"), st.fixed_dictionaries({"job": JOBS})),
    st.tuples(st.just("job_stop"), objects(job_id=JOB_IDS).filter(lambda a: isinstance(a.get("job_id", ""), str))),
    st.tuples(st.sampled_from(["job_data", "job_info"]), st.fixed_dictionaries({"job_id": JOB_IDS | ANY_JSON})),
    st.tuples(st.sampled_from(["switch_off", "switch_all_off", "job_list", "nosuch"]), st.just({})),
)
STEPS = st.one_of(
    st.tuples(st.just("receive"), FRAMES),
    st.tuples(st.just("receive"), EVENTS.map(json.dumps)),
    st.tuples(st.just("answer"), st.tuples(st.integers(0, 3), PAYLOADS)),
    st.tuples(st.just("answer"), st.tuples(st.integers(0, 3), PAYLOADS)),
    st.tuples(st.just("submit"), COMMANDS),
    st.tuples(st.just("play"), st.sampled_from(["start", "run", "measure", "end", "list", "download", "data"])),
    st.tuples(st.just("play"), st.sampled_from(["start", "run", "measure", "end", "list", "download", "data"])),
    st.tuples(st.just("play"), st.sampled_from(["start", "run", "measure", "end", "list", "download", "data"])),
    st.tuples(st.just("computed"), st.none() | st.just(MemoryError("x"))),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 1.5, 11.0, 40.0])),
)
MEMORY: Object = {
    "start:old": {"before": ["j3"], "fetch": True},
    "job:j2": {"command": "older", "own": True, "fetch": True, "tries": 1},
    "live": {"voltage": "V"},
    "header:j2": DC,
    "header:j9": 5,
}


@given(st.lists(FRAMES, max_size=6))
@settings(max_examples=250, deadline=None)
def test_only_protocol_errors_escape_from_frames(frames: list[str | bytes]) -> None:
    for talk in (Talk(), Talk(jobs=None, fetch="all")):
        for frame in frames:
            try:
                talk.raw(frame)
            except ProtocolError:
                break
        check(talk)


@given(
    st.lists(STEPS, max_size=25), st.sampled_from([7, 12]), st.sampled_from(["own", "all", "none"]), st.booleans()
)
@settings(max_examples=300, deadline=None)
def test_any_order_of_things(steps: list[tuple[str, Any]], version: int, fetch: str, greeted: bool) -> None:
    carried = [Command("old", "job_start"), Command("older", "job_start"), Command("lost", "job_start")]
    talk = Talk(
        memory=MEMORY, carried=carried, jobs=[] if greeted else None, version=version, fetch=fetch, poll=200
    )
    for number, (step, content) in enumerate(steps):
        try:
            take(talk, number, step, content)
        except ProtocolError:
            break
    talk.wait(1000)  # nobody hears of the instrument again: whatever waits for an answer must end
    check(talk)
    finals = Counter(reply.id for reply in talk.of(Reply) if reply.outcome.final)
    assert max(finals.values(), default=0) <= 1
    held = {hold.id for hold in talk.of(Hold)} | {"old", "older"}
    submitted = {f"c{number}" for number, (step, _) in enumerate(steps) if step == "submit"}
    answered = {reply.id for reply in talk.of(Reply)}
    assert answered <= submitted | held | {"lost"}
    begun = {request["request_id"] for request in talk.sent} & submitted
    accepted = {reply.id for reply in talk.of(Reply) if not reply.outcome.final}
    assert begun - accepted <= finals.keys() or talk.of(Close)


def take(talk: Talk, number: int, step: str, content: Any) -> None:
    match step:
        case "receive":
            talk.raw(content)
        case "answer":
            turn, payload = content
            request = talk.sent[-1 - turn % len(talk.sent)]
            talk.raw(
                json.dumps({"type": "REPLY", "request_id": request["request_id"], "status": "SUCCESS", **payload})
            )
        case "play":
            play(talk, number, content)
        case "submit":
            key, args = content
            timeout = None if key == "job_start" else 8.0
            talk.take(talk.driver.submit(Command(f"c{number}", key, args=args, timeout=timeout), talk.now))
        case "computed":
            tokens = [compute.token for compute in talk.of(Compute)]
            talk.take(talk.driver.computed(tokens[-1] if tokens else "x", content, talk.now))
        case "wait":
            talk.wait(content)


def play(talk: Talk, number: int, scene: str) -> None:
    """What usually comes next: of the command that was last started, and of what was last asked for."""
    if scene == "start":
        talk.call("job_start", f"c{number}", job=OCV)
        return
    starts = [request["request_id"] for request in talk.asked("/job/start")] or ["old"]
    job = Talk.described("j1" if len(starts) % 2 else "j2", starts[-1], OCV, "RUNNING")
    match scene:
        case "run":
            answer(talk, "/job/start", job_info=job)
        case "measure":
            talk.hear(
                event("LIVE_DATA_HEADER", header=DC, job_info=job), event("LIVE_DATA_ROWS", data=[[1, 2, 3, 4]])
            )
        case "end":
            talk.done({**job, "status": "FINISHED", "status_detail": "RUN_TO_COMPLETION"}, starts[-1])
        case "list":
            header = {"job_data_header": DC, "job_info": job}
            resources = [
                {"resource_id": "r", "job_id": name, "size": 96, "header": header} for name in ("j1", "j2")
            ]
            answer(talk, "/JOB_RESULT/list", resources=resources)
        case "download":
            answer(talk, "/JOB_RESULT/download")
            talk.raw(bytes(96))
        case "data":
            rows = event("LIVE_DATA_ROWS", data="A" * 128)
            answer(talk, "/job/data", data=[event("LIVE_DATA_HEADER", header=DC, job_info=job), rows])


def answer(talk: Talk, do: str, **payload: Any) -> None:
    """Answer the newest request of this kind, if there is one, even if it was answered before."""
    for request in talk.asked(do)[-1:]:
        talk.hear({"type": "REPLY", "status": "SUCCESS", "request_id": request["request_id"], **payload})


def check(talk: Talk) -> None:
    declared: set[str] = set()
    ends: set[str] = set()
    started: Counter[str] = Counter()
    for effect in talk.events:
        match effect:
            case Declared(points):
                declared = {point.key for point in points}
                assert len(declared) == len(points)
            case Update(key, value):
                assert key in declared
                assert value is None or isinstance(value, str) or math.isfinite(value)
            case Send(frame, id_):
                request = json.loads(frame)
                if request["do"] == "/job/start":
                    assert id_ is not None
                    started[id_] += 1
            case Job(id_, data, final):
                assert json.dumps(data, allow_nan=False).encode()
                assert str(data).encode()  # no lone surrogates
                assert final or id_ not in ends
                ends |= {id_} if final else set()
            case Happened(_, data, key):
                assert json.dumps(data, allow_nan=False)
                assert str(data).encode()
                assert key is None or key in declared
            case Block(_, offset, columns, units, rows):
                assert offset >= 0
                assert rows.shape == (len(rows), len(columns))
                assert len(units) == len(columns)
            case Result(_, _, columns, units, rows, meta):
                assert rows.shape == (len(rows), len(columns))
                assert len(units) == len(columns)
                assert json.dumps(meta, allow_nan=False)
            case Reply(_, _, detail, data):
                assert detail.encode() is not None
                assert json.dumps(data, allow_nan=False)
            case Remember(_, value):
                assert json.dumps(value, allow_nan=False)
    assert max(started.values(), default=0) <= 1
