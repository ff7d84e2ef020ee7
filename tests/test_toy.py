"""The toy driver and its instrument, over a real socket: every feature of the boundary works for a device."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import monotonic, time
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given

from bridge.access import Rules
from bridge.device import Profile
from bridge.driver import Effects, Frame, ProtocolError, Verdict
from bridge.ends import judge
from bridge.heartbeat import Pings
from bridge.journal import Journal
from bridge.memory import Memory
from bridge.model import Command, Json, Outcome
from bridge.overlay import Preset
from bridge.session import SLICE
from bridge.transcript import Redaction
from tests.toy import driver
from tests.toy.bench import NAME, Bench
from tests.toy.driver import Toy, ToyOptions
from tests.toy.instrument import Instrument

JOB: dict[str, Json] = {"points": 10}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["hello", "c1", ""]) | JSON,
        "push": st.sampled_from(["value", "job", "rows", "module", "alarm", "local", "bye"]) | JSON,
        "tag": st.just("c1") | JSON,
        **dict.fromkeys(("ok", "error", "rows", "state", "value", "name", "title", "on", "type"), JSON),
    },
)


@pytest_asyncio.fixture
async def instrument() -> AsyncIterator[Instrument]:
    async with Instrument().running() as running:
        yield running


def profile(rules: Rules | None = None, presets: Mapping[str, Preset] | None = None, backlog: int = 32) -> Profile:
    return Profile(
        NAME, "test", rules or Rules(), presets=presets or {}, backlog=backlog, touches=driver.plugin.touches
    )


def outcomes(bench: Bench, id_: str) -> list[Outcome]:
    return [reply.outcome for reply in bench.answers(id_)]


# --- points, values, groups ----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_device_shows_itself_in_points_states_and_its_link(instrument: Instrument) -> None:
    async with Bench(instrument, options={"key": "s3cret"}).connected() as bench:
        assert bench.shows("status") == "online"
        assert bench.shows("link")["device"] == {"serial": "T-1000"}
        kinds = {entry["kind"] for entry in bench.shows("points")["points"].values()}
        assert kinds == {"switch", "number", "choice", "text", "sensor", "binary", "image", "event", "action"}
        assert bench.shows("points/arm")["name"] == "Arm"
        assert bench.shows("status/arm") == bench.shows("status/head") == "online"
        assert bench.value("arm/load") == 0.25
        assert bench.shows("state/gain")["unit"] == "V"
        assert bench.value("picture") == "http://127.0.0.1/last.png"
        assert instrument.headers["X-Toy-Key"] == "s3cret"


@pytest.mark.asyncio
async def test_a_change_is_published_and_a_small_one_is_not(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.change("head/temperature", 21.55)
        instrument.change("door", True)
        await bench.until(lambda: bench.value("door") is True)
        assert bench.value("head/temperature") == 21.5
        instrument.change("head/temperature", 21.7)
        await bench.until(lambda: bench.value("head/temperature") == 21.7)


@pytest.mark.asyncio
async def test_a_module_goes_offline_comes_back_and_goes_for_good(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.module("arm", "unplugged")
        await bench.until(lambda: bench.shows("status/arm") == "offline")
        assert bench.value("arm/load") == 0.25, "the last values stay"
        refused = await bench.answer(bench.set("arm/angle", 5))
        assert (refused.outcome, refused.detail) == (Outcome.UNAVAILABLE, "the arm is unplugged")
        assert "write" not in instrument.ops()

        instrument.module("arm", "plugged")
        await bench.until(lambda: bench.shows("status/arm") == "online")
        assert (await bench.answer(bench.set("arm/angle", 5))).outcome is Outcome.DONE

        instrument.module("arm", "removed")
        await bench.until(lambda: bench.shows("points/arm") is None)
        assert bench.shows("status/arm") is bench.shows("state/arm/load") is None
        assert bench.retained[bench.topics.state("arm/load")] == b"", "cleared, not left behind"
        assert (await bench.answer(bench.set("arm/angle", 5))).outcome is Outcome.REJECTED
        assert bench.value("head/temperature") == 21.5
        assert [event["state"] for event in bench.all("event/group")] == ["offline", "online", "gone"]


@pytest.mark.asyncio
async def test_a_module_missing_on_a_new_connection_is_offline_until_it_is_declared_again(
    instrument: Instrument,
) -> None:
    async with Bench(instrument).connected() as bench:
        del instrument.modules["arm"]
        instrument.hang_up()
        await bench.ended()
        await bench.connect()
        assert bench.shows("status/arm") == "offline"
        instrument.modules["arm"] = "Arm"
        instrument.hang_up()
        await bench.ended()
        await bench.connect()
        assert bench.shows("status/arm") == "online"


@pytest.mark.asyncio
async def test_an_event_a_condition_and_the_unexpected_are_told(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.push("alarm", type="overheat", name="head")
        instrument.push("dance")
        instrument.push("dance")
        instrument.push("local", on=True)
        await bench.until(lambda: bench.shows("link")["state"] == "read_only")
        (alarm,) = bench.all("event/alarm")
        assert (alarm["event_type"], alarm["name"]) == ("overheat", "head")
        assert [event["what"] for event in bench.all("event/unexpected")] == ["dance"]
        assert bench.shows("link")["reason"] == "switched to local"
        instrument.push("local", on=False)
        await bench.until(lambda: bench.shows("link")["state"] == "ready")


# --- commands ------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_done_comes_after_the_state_that_proves_it(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        done = await bench.answer(bench.set("gain", "7.5"))
        assert (done.outcome, done.data) == (Outcome.DONE, 7.5)
        assert bench.value("gain") == 7.5
        assert bench.position("state/gain") < bench.position("reply/gain")
        failed = await bench.answer(bench.set("gain", 13))
        assert (failed.outcome, failed.detail) == (Outcome.FAILED, "the amplifier does not like 13")
        assert bench.all("state/gain")[-1]["value"] == 7.5, "told again, for eyes that were optimistic"


@pytest.mark.asyncio
async def test_an_action_is_checked_as_a_command_to_the_point_it_names(instrument: Instrument) -> None:
    async with Bench(instrument, profile=profile(Rules(deny=("lamp",)))).connected() as bench:
        moved = await bench.answer(bench.call("move", {"point": "arm/angle", "value": 30}))
        assert moved.outcome is Outcome.DONE
        assert bench.position("state/arm/angle") < bench.position("reply/move")
        for point, why in (("lamp", "denied"), ("door", "read-only"), ("nose", "no point")):
            refused = await bench.answer(bench.call("move", {"point": point, "value": 1}))
            assert refused.outcome is Outcome.REJECTED
            assert why in refused.detail


@pytest.mark.asyncio
async def test_dangerous_actions_and_dangerous_arguments_need_to_be_allowed(instrument: Instrument) -> None:
    burn: dict[str, Json] = {"points": 1, "kind": "burn"}
    async with Bench(instrument).connected() as bench:
        for id_ in (bench.call("self_test"), bench.call("job_start", burn)):
            assert "needs an explicit `allow`" in (await bench.answer(id_)).detail
        await bench.leave()
    async with Bench(
        instrument, profile=profile(Rules(allow=("self_test", "job_start", "job/burn")))
    ).connected() as bench:
        passed = await bench.answer(bench.call("self_test"))
        assert (passed.outcome, passed.data) == (Outcome.DONE, {"passed": True})
        started = bench.call("job_start", burn)
        await bench.until(lambda: outcomes(bench, started) == [Outcome.ACCEPTED])


@pytest.mark.asyncio
async def test_a_preset_is_an_action_without_its_fixed_arguments(instrument: Instrument) -> None:
    presets = {"short_scan": Preset("job_start", {"points": 3, "kind": "scan"})}
    async with Bench(instrument, profile=profile(presets=presets)).connected() as bench:
        entry = bench.shows("points")["points"]["preset/short_scan"]
        assert (entry["name"], entry["access"]) == ("Short scan", "call")
        assert not any(argument.get("required") for argument in entry["arguments"])
        id_ = bench.call("preset/short_scan")
        await bench.until(lambda: outcomes(bench, id_) == [Outcome.ACCEPTED])
        assert instrument.jobs[id_].points == 3
        longer = bench.call("preset/short_scan", {"points": 4})
        await bench.until(lambda: outcomes(bench, longer) == [Outcome.ACCEPTED])
        assert instrument.jobs[longer].points == 4
        assert bench.all("reply/preset/short_scan")[0]["outcome"] == "accepted"


@pytest.mark.asyncio
async def test_a_fence_settles_what_the_instrument_never_answers(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        first = bench.set("label", "one")
        second = bench.set("label", "two")
        assert (await bench.answer(first)).outcome is Outcome.DONE
        done = await bench.answer(second)
        assert (done.outcome, done.data) == (Outcome.DONE, "two")
        assert bench.position("state/label") < bench.position("reply/label")
        instrument.stubborn_label = True
        assert (await bench.answer(bench.set("label", "three"))).outcome is Outcome.UNKNOWN
        assert bench.value("label") == "two"


@pytest.mark.asyncio
async def test_a_fence_that_the_instrument_never_passes_ends_with_the_timeout(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.deaf = True
        unknown = await bench.answer(bench.set("label", "one", timeout=0.02))
        assert (unknown.outcome, unknown.detail) == (Outcome.UNKNOWN, "the device did not answer in time")


@pytest.mark.asyncio
async def test_an_urgent_action_overtakes_a_busy_driver_and_what_waits_for_it(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.slow = True
        first, waiting = bench.set("gain", 1), bench.set("lamp", True)
        older = bench.set("mode", "fast")
        newer = bench.set("mode", "slow")
        assert outcomes(bench, older) == [Outcome.SUPERSEDED]
        assert (await bench.answer(bench.call("stop"))).outcome is Outcome.DONE
        assert outcomes(bench, first) == outcomes(bench, waiting) == []
        instrument.let_go()
        for id_ in (first, waiting, newer):
            assert (await bench.answer(id_)).outcome is Outcome.DONE
        assert instrument.ops() == ["hello", "write", "halt", "write", "write"]


@pytest.mark.asyncio
async def test_a_lost_line_tells_what_was_sent_from_what_was_not(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.slow = True
        sent, waiting = bench.set("gain", 1), bench.set("lamp", True)
        await bench.until(lambda: "write" in instrument.ops())
        instrument.hang_up()
        assert judge(await bench.ended()) is Verdict.PASSING
        assert outcomes(bench, sent) == [Outcome.UNKNOWN]
        assert outcomes(bench, waiting) == [Outcome.UNAVAILABLE]
        assert bench.shows("status") == "offline"
        assert outcomes(bench, bench.set("lamp", True)) == [Outcome.UNAVAILABLE]


# --- jobs, memory, results -----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_job_from_its_acceptance_to_its_stored_result(instrument: Instrument, tmp_path: Path) -> None:
    async with Bench(instrument, results=tmp_path).connected() as bench:
        id_ = bench.call("job_start", JOB)
        await bench.until(lambda: outcomes(bench, id_) == [Outcome.ACCEPTED])
        assert (await bench.answer(bench.set("lamp", True))).outcome is Outcome.DONE, "a job keeps nobody waiting"
        instrument.measure(id_, 4)
        instrument.measure(id_, 6)
        instrument.finish(id_)
        done = await bench.answer(id_)
        assert (done.outcome, done.data) == (Outcome.DONE, {"rows": 10})
        first, second = bench.all(f"data/{id_}/live")
        assert (first["offset"], second["offset"]) == (0, 4)
        assert first["columns"] == {"time": [0, 1, 2, 3], "voltage": pytest.approx([0, 1, 2**0.5, 3**0.5])}
        assert second["units"] == {"time": "s", "voltage": "V"}
        states = [job["state"] for job in bench.all(f"job/{id_}")]
        assert states == ["accepted", "running", "running", "fetching", "done"]
        await bench.until(lambda: bench.shipping.stored == 1)
        await bench.until(lambda: not bench.journal.memory(NAME))


@pytest.mark.asyncio
async def test_a_result_of_20_mb_is_decoded_aside_and_published_from_its_file(
    instrument: Instrument, tmp_path: Path
) -> None:
    rows = 1_250_000
    async with Bench(instrument, results=tmp_path).connected() as bench:
        shipping = asyncio.create_task(bench.shipping.run())
        id_ = bench.call("job_start", {"points": rows})
        await bench.until(lambda: id_ in instrument.jobs)
        instrument.finish(id_)
        assert (await bench.answer(id_)).data == {"rows": rows}
        await bench.until(lambda: "manifest" in bench.shows(f"job/{id_}"))
        shipping.cancel()
        await asyncio.gather(shipping, return_exceptions=True)
        (manifest,) = bench.all(f"data/{id_}/manifest")
        topics = [bench.topics.part(id_, number) for number in range(manifest["parts"])]
        parts = [item.payload for topic in topics for item in bench.published if item.topic == topic]
        whole = np.concatenate([np.load(io.BytesIO(part)) for part in parts])
        assert len(parts) > 50
        assert whole.tobytes() == instrument.jobs[id_].rows(0, rows).tobytes()
        assert (manifest["rows"], manifest["columns"]) == (rows, ["time", "voltage"])
        assert bench.shows(f"job/{id_}")["state"] == "done", "the manifest is added to what the driver said"


@pytest.mark.asyncio
async def test_an_unreadable_result_fails_its_job(instrument: Instrument, tmp_path: Path) -> None:
    async with Bench(instrument, results=tmp_path).connected() as bench:
        id_ = bench.call("job_start", JOB)
        await bench.until(lambda: id_ in instrument.jobs)
        instrument.raw(id_.encode() + b"\nthese are no numbers")
        failed = await bench.answer(id_)
        assert failed.outcome is Outcome.FAILED
        assert "unreadable result" in failed.detail


@pytest.mark.asyncio
async def test_a_job_goes_on_over_a_lost_connection(instrument: Instrument, tmp_path: Path) -> None:
    async with Bench(instrument, results=tmp_path).connected() as bench:
        id_ = bench.call("job_start", JOB)
        await bench.until(lambda: outcomes(bench, id_) == [Outcome.ACCEPTED])
        instrument.hang_up()
        await bench.ended()
        instrument.measure(id_, 10)  # nobody listens
        instrument.finish(id_)
        assert outcomes(bench, id_) == [Outcome.ACCEPTED]
        await bench.connect()
        done = await bench.answer(id_)
        assert (done.outcome, done.data) == (Outcome.DONE, {"rows": 10})
        assert outcomes(bench, id_) == [Outcome.ACCEPTED, Outcome.DONE]
        await bench.until(lambda: bench.shipping.stored == 1)


@pytest.mark.asyncio
async def test_a_job_that_never_reached_the_instrument_is_known_not_to_run(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.lost_runs = True
        id_ = bench.call("job_start", JOB)
        await bench.ended()
        assert outcomes(bench, id_) == [], "held, for the next connection can tell"
        await bench.connect()
        settled = await bench.answer(id_)
        assert (settled.outcome, settled.detail) == (Outcome.UNAVAILABLE, "it never reached the instrument")


@pytest.mark.asyncio
async def test_the_end_of_the_bridge_settles_even_what_is_held(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        id_ = bench.call("job_start", JOB)
        await bench.until(lambda: outcomes(bench, id_) == [Outcome.ACCEPTED])
        await bench.leave()
        assert outcomes(bench, id_) == [Outcome.ACCEPTED]
        bench.device.lose("this bridge is stopping", for_good=True)
        assert outcomes(bench, id_) == [Outcome.ACCEPTED, Outcome.UNKNOWN]


@pytest.mark.asyncio
async def test_after_a_restart_a_job_that_ended_meanwhile_is_fetched(
    instrument: Instrument, tmp_path: Path
) -> None:
    file = tmp_path / "journal.db"
    async with Bench(instrument, journal=Journal.open(file, time())).connected() as bench:
        id_ = bench.call("job_start", JOB)
        await bench.until(lambda: outcomes(bench, id_) == [Outcome.ACCEPTED])
    instrument.finish(id_)

    journal = Journal.open(file, time())
    async with Bench(instrument, journal=journal, results=tmp_path).connected() as bench:
        await bench.until(lambda: bench.shows(f"job/{id_}") and bench.shows(f"job/{id_}")["state"] == "done")
        await bench.until(lambda: bench.shipping.stored == 1)
        await bench.until(lambda: not bench.journal.memory(NAME))
        assert bench.replies == [], "nobody waits any more"

    assert Journal.open(file, time()).memory(NAME) == {}, "it would be fetched again"


@pytest.mark.asyncio
async def test_nothing_is_sent_before_it_is_remembered_on_disk_but_what_is_urgent(instrument: Instrument) -> None:
    disk: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    store = Memory(Journal.open(None, time()), lambda: disk)
    async with Bench(instrument, store=store).connected() as bench:
        started = bench.call("job_start", JOB)
        stopped = bench.call("stop")
        await bench.answer(stopped)
        assert instrument.ops() == ["hello", "halt"]
        assert store.memory(NAME)[f"job/{started}"] is True
        disk.set_result(True)
        await bench.until(lambda: outcomes(bench, started) == [Outcome.ACCEPTED])
        assert instrument.ops() == ["hello", "halt", "run"]


@pytest.mark.asyncio
async def test_a_line_lost_before_the_disk_is_done_has_sent_nothing(instrument: Instrument) -> None:
    disk: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    async with Bench(instrument, store=Memory(Journal.open(None, time()), lambda: disk)).connected() as bench:
        id_ = bench.call("job_start", JOB)
        instrument.hang_up()
        await bench.ended()
        disk.set_result(True)
        await bench.connect()
        settled = await bench.answer(id_)
        assert (settled.outcome, settled.detail) == (Outcome.UNAVAILABLE, "it never reached the instrument")
        assert "run" not in instrument.ops()


# --- the driver alone, without a socket ---------------------------------------------------------------


@given(frames=st.lists(MESSAGES.map(json.dumps) | st.text() | st.binary(), max_size=8))
def test_the_driver_survives_whatever_it_is_told(frames: list[str | bytes]) -> None:
    toy = Toy(ToyOptions(), {"job/c1": True}, ())
    list(toy.start(0.0))
    list(toy.submit(Command("c2", "job_start", args=JOB), 0.0))
    for now, sent in enumerate(frames):
        with contextlib.suppress(ProtocolError):
            list(toy.receive(sent, float(now)))
        list(toy.computed("c1", ValueError("unreadable"), float(now)))
        list(toy.tick(float(now)))


# --- how connections end -------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_the_instrument_says_of_the_end_is_the_verdict(instrument: Instrument) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.push("bye", reason="restarting")
        error = await bench.ended()
        assert (str(error), judge(error)) == ("restarting", Verdict.AGAIN)
        assert bench.shows("link")["reason"] == "restarting"
    async with Bench(instrument, options={"version": 0}).closing() as bench:
        await bench.connect()
        assert judge(await bench.ended()) is Verdict.STUBBORN


@pytest.mark.parametrize("garbage", ["{", "[1, 2]", '{"push": 3}', '{"push": "job"}x', "\0", b"no line feed"])
@pytest.mark.asyncio
async def test_garbage_ends_the_connection_and_not_the_bridge(
    instrument: Instrument, garbage: str | bytes
) -> None:
    async with Bench(instrument).connected() as bench:
        instrument.raw(garbage)
        error = await bench.ended()
        assert isinstance(error, ProtocolError)
        assert judge(error) is Verdict.PASSING
        await bench.connect()
        assert bench.device.ready


@pytest.mark.asyncio
async def test_a_bug_in_a_driver_is_told_with_the_last_frames(instrument: Instrument) -> None:
    class Faulty(Toy):
        def receive(self, frame: Frame, now: float) -> Effects:
            if '"alarm"' in str(frame):
                raise ZeroDivisionError("a mistake of ours")
            return super().receive(frame, now)

    def faulty(options: ToyOptions, memory: Mapping[str, Json], carried: Sequence[Command]) -> Faulty:
        return Faulty(options, memory, carried)

    plugin: Any = replace(driver.plugin, driver=faulty)
    async with Bench(instrument, plugin=plugin).connected() as bench:
        instrument.slow = True
        sent = bench.set("lamp", True)
        await bench.until(lambda: "write" in instrument.ops())
        instrument.push("alarm", type="leak")
        error = await bench.ended()
        assert judge(error) is Verdict.BUG
        assert error.__traceback__ is not None
        assert outcomes(bench, sent) == [Outcome.UNKNOWN]
        assert bench.session is not None
        frames = "\n".join(bench.session.recent.lines(Redaction()))
        assert "leak" in frames
        assert "hello" in frames


@pytest.mark.parametrize("step", ["driver", "start", "submit", "fenced", "computed", "tick"])
@pytest.mark.asyncio
async def test_a_bug_in_any_step_ends_only_the_session(instrument: Instrument, step: str, tmp_path: Path) -> None:
    def broken(*args: object) -> Effects:
        raise ZeroDivisionError(step)

    def made(options: ToyOptions, memory: Mapping[str, Json], carried: Sequence[Command]) -> Toy:
        if step == "driver":
            raise ZeroDivisionError
        toy = Toy(options, memory, carried)
        setattr(toy, step, broken)
        return toy

    plugin: Any = replace(driver.plugin, driver=made)
    async with Bench(instrument, plugin=plugin, results=tmp_path).closing() as bench:
        await bench.connect()
        instrument.slow = True
        ids: list[str] = []
        match step:
            case "submit":
                ids = [bench.set("lamp", True)]
            case "tick":
                ids = [bench.set("lamp", True, timeout=0.01)]
            case "fenced":
                ids = [bench.set("label", "x")]
            case "computed":
                instrument.raw(b"tag\n")
        assert judge(await bench.ended()) is Verdict.BUG
        assert all(len(outcomes(bench, id_)) == 1 for id_ in ids)
        assert bench.shows("link")["state"] == "offline"


@pytest.mark.asyncio
async def test_a_silent_instrument_is_given_up(instrument: Instrument) -> None:
    instrument.mute = True
    plugin: Any = replace(driver.plugin, greeting=0.05)
    async with Bench(instrument, plugin=plugin).closing() as bench:
        await bench.connect()
        error = await bench.ended()
        assert "not greeted within 0.05 s" in str(error)
        assert judge(error) is Verdict.PASSING
        assert bench.shows("status") is None, "it never was online"
        assert bench.shows("link")["state"] == "offline"


@pytest.mark.asyncio
async def test_pings_measure_the_line(instrument: Instrument) -> None:
    async with Bench(instrument, pings=Pings(0.01, None)).connected() as bench:
        await bench.until(lambda: bench.device.link.round_trip)


@pytest.mark.asyncio
async def test_a_line_without_pongs_is_given_up(instrument: Instrument) -> None:
    instrument.deaf = True
    async with Bench(instrument, pings=Pings(0.01, 0.03)).closing() as bench:
        await bench.connect()
        error = await bench.ended()
        assert "no answer to a ping" in str(error)
        assert judge(error) is Verdict.PASSING


@pytest.mark.asyncio
async def test_an_instrument_that_takes_nothing_any_more_is_given_up(instrument: Instrument) -> None:
    async with Bench(instrument, send_limit=1000).connected() as bench:
        id_ = bench.set("label", "x" * 2000)
        error = await bench.ended()
        assert "takes nothing any more" in str(error)
        assert judge(error) is Verdict.PASSING
        assert outcomes(bench, id_) == [Outcome.UNAVAILABLE], "not a byte of it went out"


@pytest.mark.asyncio
async def test_others_get_their_turns_while_a_dump_of_5000_points_is_taken_in(instrument: Instrument) -> None:
    names = [f"bulk/{number}" for number in range(5000)]
    big = Instrument(modules={"bulk": "Bulk"}, values=dict.fromkeys(names, 1.0))
    async with big.running(), Bench(big).closing() as dumped, Bench(instrument).connected() as other:
        turns: list[tuple[float, int]] = []  # of the loop: when, and how much was published by then

        def look() -> None:
            turns.append((monotonic(), len(dumped.published)))
            if not dumped.device.ready:
                asyncio.get_running_loop().call_soon(look)

        look()
        asked = asyncio.create_task(other.answer(other.set("lamp", True)))
        await dumped.connect()
        steps = [(later[0] - at, later[1] - count) for (at, count), later in pairwise(turns)]
        assert max(count for _, count in steps) <= 2 * SLICE
        assert max(seconds for seconds, _ in steps) < 1.0
        assert (await asked).outcome is Outcome.DONE
        assert dumped.value("bulk/4999") == 1.0
