"""A recording of each simulator, played to a fresh daemon, gives the same on MQTT as the simulator gave.

The recording is made by the relay between the first daemon and the simulator, so that what commands do is in it.
The second daemon is sent the same commands, with the same ids, at the same times.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.system.im7_world import cv
from tests.system.mosquitto import HOST, Mosquitto, free_port
from tests.system.observer import Observer, Seen
from tests.system.processes import (
    DEADLINE,
    Daemon,
    Process,
    Simulator,
    assert_no_faults,
    configuration,
    waited,
)
from tests.system.world import together

pytestmark = pytest.mark.usefixtures("mosquitto_installed")

DEVICE = "dut"
EVERY = "min_interval = 0"  # every change is published: which are, where they are too many, is by chance
# What differs between two runs of the same: clocks, what the daemon itself measures, and files with times in them.
TIMES = {"time", "times", "since", "next_try", "round_trip_ms", "duration", "started", "ended", "file", "bytes"}
MEASURED = f"lab2mqtt/{DEVICE}/state/import/duration"


class Tool(Process):
    """`lab2mqtt WORDS…`, which is asked to end and says how it went."""

    def __init__(self, directory: Path, *words: str) -> None:
        super().__init__(words[0], directory, ["-m", "bridge", *words])

    def told(self, words: str) -> None:
        waited(lambda: words in self.log, f"{words!r} from {self.name}: {self.log}")

    def stop(self) -> str:
        self.terminate()
        assert self.ended() == 0, self.log
        return self.log


class Replay(Tool):
    def __init__(self, directory: Path, file: Path, *words: str) -> None:
        self.port = free_port()
        super().__init__(directory, "replay", str(file), "--port", str(self.port), *words)

    def start(self) -> None:
        super().start()
        self.told("the recorded device is at")

    @property
    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/_state", timeout=5.0) as reply:
            found: dict[str, Any] = json.load(reply)
            return found


# --- what happens -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """So many seconds after the device was ready: a command, or something that the instrument does by itself."""

    at: float
    topic: str = ""
    payload: Mapping[str, object] | None = None
    fault: str = ""
    parameters: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Story:
    driver: str
    path: str
    simulator: tuple[str, ...]
    steps: Sequence[Step]
    over: Callable[[Observer], bool]
    lasts: float  # seconds after the device was ready, at least
    device: str = ""  # further keys


def value(observer: Observer, key: str) -> Any:
    return observer.document(f"{DEVICE}/state/{key}").get("value")


def job_state(observer: Observer, id_: str = "") -> Any:
    states = [one.json.get("state") for one in observer.on(f"{DEVICE}/job/#") if id_ in one.topic]
    return states[-1] if states else None


EVOK = Story(
    "evok",
    "/ws",
    (),  # lively: inputs and measurements move by themselves
    (
        Step(0.5, fault="set_input", parameters={"circuit": "1_01", "value": 1}),
        Step(1.0, "set/do/1_01", {"value": True, "id": "on"}),
        Step(1.5, fault="set_input", parameters={"circuit": "1_01", "value": 0}),
        Step(2.0, "call/pulse", {"args": {"point": "do/1_02", "seconds": 0.5}, "id": "pulse"}),
    ),
    lambda observer: value(observer, "do/1_01") is True and value(observer, "di/1_01") is False,
    4.0,
)
IM7 = Story(
    "im7",
    "/default",
    ("--on", "0.1", "--loss", "0"),
    (Step(0.5, "call/job_start", {"args": {"job": cv(1.5, 400.0)}, "id": "measure"}),),
    lambda observer: bool(observer.on(f"{DEVICE}/data/#")) and job_state(observer) == "finished",
    4.0,
    "poll = 1\nlive_interval = 60\nlive_rows = 50",  # blocks by their rows, not by the daemon's clock
)
INSPECT = Story(
    "zeiss_inspect",
    "/",
    (),
    (
        Step(
            0.5,
            "call/import_image",
            {"args": {"file": "C:/inspect/slow1.jpg", "name": "existing", "focal_length": 50}, "id": "good"},
        ),
        Step(
            2.0,
            "call/import_image",
            {"args": {"file": "C:/inspect/fail.jpg", "name": "existing", "focal_length": 50}, "id": "bad"},
        ),
    ),
    lambda observer: job_state(observer, "bad") not in (None, "queued", "running"),
    3.0,
    "ping_interval = 0.5",
)
OST = Story(
    "ost",
    "/",
    ("--dry", "0"),
    (
        Step(0.5, "set/MyFocuser/parameters/steps", {"value": 1500, "id": "steps"}),
        Step(1.0, "call/MyFocuser/actions/autofocus", {"args": {}, "id": "focus"}),
        Step(2.0, fault="log", parameters={"level": 3, "text": "the roof creaks"}),
        Step(3.0, "call/MyFocuser/actions/abortfocus", {"args": {}, "id": "abort"}),
    ),
    lambda observer: value(observer, "MyFocuser/progress/global") == "Aborted",
    4.0,
)
STORIES = (EVOK, IM7, INSPECT, OST)


# --- the two runs -----------------------------------------------------------------------------------------


def toml(story: Story, broker: int, url: str, state: Path) -> str:
    head = configuration(broker, 1, state=state).partition("[devices")[0]
    return f'{head}\n[devices.{DEVICE}]\ndriver = "{story.driver}"\nurl = "{url}"\n{EVERY}\n{story.device}\n'


def ready(observer: Observer, daemon: Daemon) -> float:
    """Wait until the link is, and the time when it was."""

    def when() -> list[float]:
        return [one.at for one in observer.on(f"{DEVICE}/link") if one.payload and one.json["state"] == "ready"]

    observer.until(when, DEADLINE, lambda: daemon.log[-3000:])
    return when()[0]


def play(story: Story, observer: Observer, begun: float, simulator: Simulator | None) -> None:
    """All that happens; what the instrument does by itself only where there is one."""
    for step in story.steps:
        time.sleep(max(begun + step.at - time.monotonic(), 0.0))
        if step.topic:
            observer.publish(f"{DEVICE}/{step.topic}", dict(step.payload or {}))
        elif simulator is not None:
            simulator.fault(step.fault, **(step.parameters or {}))


def recorded(story: Story, directory: Path) -> tuple[Path, Shown]:
    directory.mkdir()
    file, port = directory / "recording.jsonl", free_port()
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(directory, ["set_tcp_nodelay true"]))
        observer = stack.enter_context(Observer(broker.port))
        simulator = stack.enter_context(Simulator(story.driver, directory, *story.simulator))
        url = f"ws://{HOST}:{simulator.port}{story.path}"
        record = stack.enter_context(Tool(directory, "record", url, "--port", str(port), "-o", str(file)))
        record.told("give this url to the client")
        here = f"ws://{HOST}:{port}{story.path}"
        daemon = stack.enter_context(Daemon(directory, toml(story, broker.port, here, directory / "state")))
        begun = ready(observer, daemon)
        play(story, observer, begun, simulator)
        observer.until(lambda: story.over(observer), what=lambda: daemon.log[-3000:])
        time.sleep(max(begun + story.lasts - time.monotonic(), 0.0))
        simulator.suspend()  # nothing is on its way when the recording ends
        time.sleep(0.3)
        shown = Shown(observer)
        print(record.stop())
        assert_no_faults(daemon)
    return file, shown


def replayed(story: Story, file: Path, directory: Path) -> Shown:
    directory.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(directory, ["set_tcp_nodelay true"]))
        observer = stack.enter_context(Observer(broker.port))
        replay = stack.enter_context(Replay(directory, file))
        here = f"ws://{HOST}:{replay.port}{story.path}"
        daemon = stack.enter_context(Daemon(directory, toml(story, broker.port, here, directory / "state")))
        begun = ready(observer, daemon)
        play(story, observer, begun, None)
        waited(lambda: replay.state["over"][0], f"the recording's end: {replay.state}")
        time.sleep(0.3)
        shown = Shown(observer)
        state = replay.state
        assert (state["missed"], state["strangers"]) == ([], []), state
        said = replay.stop()
        assert "played to 1 clients" in said
        assert "not in the recording" not in said
        assert_no_faults(daemon)
    return shown


class Shown:
    """What a daemon has published of its device: each topic's payloads in order, and what is retained now."""

    def __init__(self, observer: Observer) -> None:
        seen = [one for one in observer.seen if f"/{DEVICE}/" in one.topic and "/set/" not in one.topic]
        seen = [one for one in seen if "/call/" not in one.topic]
        self.sequences: dict[str, list[object]] = {}
        for one in seen:
            self.sequences.setdefault(one.topic, []).append(told(one))
        self.retained = {
            one.topic: told(one) for one in seen if one.retain and observer.retained(one.topic.partition("/")[2])
        }


def told(one: Seen) -> object:
    """A payload without its times."""
    try:
        return round(one.json["value"]) if one.topic == MEASURED else timeless(one.json)
    except ValueError:
        return one.payload


def timeless(value: object) -> object:
    match value:
        case dict():
            return {key: timeless(item) for key, item in value.items() if key not in TIMES}
        case list():
            return [timeless(item) for item in value]
        case str():
            return re.sub(r"127\.0\.0\.1:\d+|\d{8}T\d{6}Z|\d+\.\d+ s\b", "…", value)
    return value


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.driver)
def test_a_recording_replays_to_the_same(story: Story, tmp_path: Path) -> None:
    file, before = recorded(story, tmp_path / "recorded")
    after = replayed(story, file, tmp_path / "replayed")
    assert len(before.retained) > 4
    assert after.sequences.keys() == before.sequences.keys()
    for topic, payloads in before.sequences.items():
        assert after.sequences[topic] == payloads, topic
    assert after.retained == before.retained


# --- without commands: the driver itself listens -------------------------------------------------------------


def listened(story: Story, directory: Path) -> None:
    """What it heard makes a daemon ready, and shows what the instrument held."""
    directory.mkdir()
    file, nobody = directory / "recording.jsonl", free_port()
    calm = ("--no-lively",) if story is EVOK else story.simulator
    with Simulator(story.driver, directory, *calm) as simulator:
        url = f"ws://{HOST}:{simulator.port}{story.path}"
        configured = directory / "record.toml"
        configured.write_text(toml(story, nobody, url, directory / "nowhere"))
        with Tool(directory, "record", "-c", str(configured), DEVICE, "--for", "3", "-o", str(file)) as record:
            assert record.ended() == 0, record.log
        held = simulator.state.get("values", {})
        assert held or story is not EVOK
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(directory))
        observer = stack.enter_context(Observer(broker.port))
        replay = stack.enter_context(Replay(directory, file))
        here = f"ws://{HOST}:{replay.port}{story.path}"
        daemon = stack.enter_context(Daemon(directory, toml(story, broker.port, here, directory / "state")))
        ready(observer, daemon)
        waited(lambda: replay.state["over"][0], f"the recording's end: {replay.state}")
        assert (replay.state["missed"], replay.state["strangers"]) == ([], [])
        assert observer.document(f"{DEVICE}/link")["state"] == "ready"
        for key in (key for key in held if key.startswith(("di/", "do/", "ro/"))):
            assert value(observer, key) == held[key], key
        assert_no_faults(daemon)


def test_what_a_driver_heard_by_itself_can_be_replayed(tmp_path: Path) -> None:
    together({story.driver: partial(listened, story, tmp_path / story.driver) for story in STORIES})
