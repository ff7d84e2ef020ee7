"""CONTRACT "Reload": a new configuration is judged first, and then applied device by device."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge import calls, housekeeping
from tests.contract.bench import BRIDGE, World
from tests.contract.conftest import Alone
from tests.toy import driver

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES: dict[str, dict[str, Any]] = {"toy": {"driver": "toy"}, "io": {"driver": "evok"}}
CALL = f"_bridge/{BRIDGE}/call/reload"
SECRET = "planted-s3cret"


async def reload(world: World, devices: dict[str, dict[str, Any]], **bridge: Any) -> dict[str, Any]:
    """Change the configuration and have it read; the answer."""
    world.devices, world.bridge = devices, {**world.bridge, **bridge}
    return await world.client.ask(CALL)


def attempts(world: World, name: str) -> int:
    assert world.daemon is not None
    return world.daemon.fleet.runners[name].connections


async def online(world: World, name: str, since: int) -> None:
    def there() -> bool:
        statuses = world.client.on(f"{name}/status", since)
        return bool(statuses) and statuses[-1].payload == b"online"

    await world.client.until(there, f"{name} online")


async def test_nothing_changed_and_nothing_is_touched(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    since = world.client.mark
    answer = await reload(world, DEVICES)
    assert (answer["outcome"], answer["detail"]) == ("done", "nothing changed")
    assert answer["data"]["unchanged"] == ["toy", "io"]
    await world.client.until(lambda: world.client.on(f"_bridge/{BRIDGE}/event/reload", since))
    (event,) = world.client.on(f"_bridge/{BRIDGE}/event/reload", since)
    told = json.loads(event.payload)
    assert (told["event_type"], told["outcome"], told["unchanged"]) == ("reload", "done", ["toy", "io"])
    assert not event.retain
    assert not world.client.on("toy/status", since)
    assert attempts(world, "toy") == attempts(world, "io") == 1


async def test_a_changed_device_is_made_afresh_and_the_others_go_on(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    since = world.client.mark
    overlay = {"points": {"gain": {"scale": 10.0, "name": "Verstärkung"}}}
    answer = await reload(world, {"toy": {"driver": "toy", **overlay}, "io": {"driver": "evok"}})
    assert (answer["data"]["changed"], answer["data"]["unchanged"]) == (["toy"], ["io"])
    await online(world, "toy", since)
    assert [m.payload for m in world.client.on("toy/status", since)] == [b"offline", b"online"]
    assert world.client.last("toy/points")["points"]["gain"]["name"] == "Verstärkung"
    assert not world.client.on("io/status", since)
    assert attempts(world, "io") == 1
    assert (await world.client.ask("toy/set/gain", 50))["outcome"] == "done"
    assert [r["value"] for r in world.heard("write")] == [5.0]


@pytest.mark.parametrize(
    "bridge", [{"read_only": True}, {"min_interval": 3.0}, {"deadband": 1.0}, {"backlog": 3}, {"keep_live": True}]
)
async def test_what_devices_inherit_changes_them(alone: Alone, bridge: dict[str, Any]) -> None:
    world = await alone(DEVICES)
    await world.start()
    since = world.client.mark
    answer = await reload(world, DEVICES, **bridge)
    assert answer["data"]["changed"] == ["toy", "io"]
    assert answer["data"]["applied"] == [f"bridge.{key}" for key in bridge]
    await online(world, "toy", since)
    if "read_only" in bridge:
        assert (await world.client.ask("toy/set/gain", 5))["outcome"] == "rejected"


async def test_a_new_secret_changes_a_device_and_is_told_nobody(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    since = world.client.mark
    secret = {"username": "me", "password": SECRET}
    answer = await reload(world, {"toy": {"driver": "toy", **secret}, "io": {"driver": "evok"}})
    assert answer["data"]["changed"] == ["toy"]
    await online(world, "toy", since)
    assert not [m.topic for m in world.client.messages if SECRET.encode() in m.payload]


async def test_new_devices_begin_and_removed_ones_end(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}, "old": {"driver": "toy"}})
    await world.start()
    since = world.client.mark
    answer = await reload(world, {"io": {"driver": "evok"}, "new": {"driver": "toy"}})
    assert (answer["data"]["added"], answer["data"]["removed"]) == (["new"], ["old"])
    await online(world, "new", since)
    assert (await world.client.ask("new/set/gain", 5))["outcome"] == "done"
    assert world.client.last("old/status") == "offline"
    assert "removed" in world.client.last("old/link")["reason"]
    assert list(world.client.last(f"_bridge/{BRIDGE}/info")["devices"]) == ["io", "new"]
    assert list(world.client.last(f"_bridge/{BRIDGE}/health")["links"]) == ["io", "new"]
    assert not [r for r in world.client.on("old/status", since) if r.payload == b"online"]


async def test_a_removed_device_can_come_back(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    await reload(world, {"io": {"driver": "evok"}})
    since = world.client.mark
    await reload(world, DEVICES)
    await online(world, "toy", since)
    assert (await world.client.ask(f"_bridge/{BRIDGE}/call/refresh"))["outcome"] == "done"
    await world.client.in_order("toy")
    assert world.client.last("toy/link")["state"] == "ready"
    assert world.client.last("toy/status") == "online"


async def test_what_is_shown_no_longer_is_cleared(alone: Alone) -> None:
    """Points that a changed device has no more, and all of a removed one; by housekeeping, in its time."""
    world = await alone({"io": {"driver": "evok"}, "toy": {"driver": "toy"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(housekeeping, "PACE", housekeeping.Pace(between=0.15, settled=0.05, patience=0.2))
        await world.start()
    client = world.client
    await client.until(lambda: client.last("io/state/ao/1_01") and client.last("toy/state/gain"))
    await reload(world, {"io": {"driver": "evok", "devices": ["di", "do"]}})

    def left() -> list[str]:
        last = {m.topic: m.payload for m in client.messages}
        retained = [topic for topic, payload in last.items() if payload]
        kinds = ("status", "link", "points", "state")
        gone = [f"lab2mqtt/toy/{kind}" for kind in kinds] + ["lab2mqtt/io/state/ao/"]
        return [topic for topic in retained if topic.startswith(tuple(gone))]

    await client.until(lambda: not left(), "cleared")
    assert not left()
    assert client.last("io/state/di/1_01") is not None


async def test_a_bad_configuration_changes_nothing(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    since = world.client.mark
    answer = await reload(world, {"toy": {"driver": "toy", "url": "http://x"}, "io": {"driver": "evok"}})
    assert answer["outcome"] == "rejected"
    assert "expected ws://" in answer["detail"]
    await world.client.until(lambda: world.client.on(f"_bridge/{BRIDGE}/event/reload", since))
    (event,) = world.client.on(f"_bridge/{BRIDGE}/event/reload", since)
    assert json.loads(event.payload)["outcome"] == "rejected"
    assert "cannot be used" in world.client.last(f"_bridge/{BRIDGE}/health")["trouble"][0]
    assert not world.client.on("toy/status", since)
    await reload(world, DEVICES)
    assert not world.client.last(f"_bridge/{BRIDGE}/health").get("trouble")


async def test_a_missing_certificate_is_noticed_before_anything_ends(alone: Alone, tmp_path: Path) -> None:
    world = await alone(DEVICES)
    await world.start()
    since = world.client.mark
    secure = {"driver": "toy", "url": "wss://127.0.0.1:1/", "tls": {"ca": tmp_path / "none.pem"}}
    answer = await reload(world, {"toy": {"driver": "toy", "rate": 5.0}, "new": secure})
    assert answer["outcome"] == "rejected"
    assert answer["detail"].startswith("devices.new: TLS: CA file")
    assert not world.client.on("toy/status", since)
    assert not world.client.on("io/status", since)


async def test_what_needs_a_restart_is_said_and_not_applied(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    port, since = world.line.port, world.client.mark
    world.mqtt = {"port": 1, "password": SECRET, "username": "me"}
    answer = await reload(world, DEVICES, root="elsewhere", response_prefix="answers/")
    needs = ["bridge.root", "bridge.response_prefix", "mqtt.port", "mqtt.username", "mqtt.password"]
    assert sorted(answer["data"]["needs_restart"]) == sorted(needs)
    assert "needs a restart" in answer["detail"]
    assert sorted(world.client.last(f"_bridge/{BRIDGE}/info")["needs_restart"]) == sorted(needs)
    assert "mqtt.port" in world.client.last(f"_bridge/{BRIDGE}/health")["trouble"][0]
    assert not world.client.on("toy/status", since)
    world.mqtt = {"port": port}
    assert (await reload(world, DEVICES, root="lab2mqtt", response_prefix="response/"))["data"][
        "needs_restart"
    ] == []
    assert "needs_restart" not in world.client.last(f"_bridge/{BRIDGE}/info")


async def test_expires_is_applied_at_once(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    answer = await reload(world, DEVICES, expires=0.2)
    assert (answer["data"]["applied"], answer["data"]["changed"]) == (["bridge.expires"], [])
    world.toy.slow = True
    world.client.publish("toy/set/gain", {"value": 1, "id": "first", "timeout": 2})
    world.client.publish("toy/set/lamp", {"value": 1, "id": "second"})
    await world.client.until(lambda: world.client.answers("second"))
    assert world.client.answers("second")[0]["outcome"] == "expired"
    world.toy.let_go()


async def test_commands_under_way_get_one_final_answer_each(alone: Alone) -> None:
    world = await alone(DEVICES, durable=True)
    await world.start()
    client, since = world.client, world.client.mark
    world.toy.slow = True
    client.publish("toy/set/gain", {"value": 50, "id": "sent"})
    await client.until(lambda: world.heard("write"))
    client.publish("toy/set/lamp", {"value": 1, "id": "waits"})
    await client.in_order("toy")
    world.devices = {"toy": {"driver": "toy", "rate": 5.0}, "io": {"driver": "evok"}}
    begun = asyncio.get_running_loop().time()
    client.publish(CALL, {"id": "reload"})
    await client.until(lambda: client.answers("waits"))
    client.publish("toy/set/mode", {"value": "fast", "id": "late"})
    assert world.daemon is not None
    fleet, runner = world.daemon.fleet, world.daemon.fleet.runners["toy"]
    turns: list[float] = []  # who ends is not stuck

    def replaced() -> bool:
        turns.extend(at for _, at in fleet.turns())
        return fleet.runners["toy"] is not runner

    await client.until(replaced)
    assert min(turns) > begun - 1.0
    await client.until(lambda: client.answers("sent"))
    assert asyncio.get_running_loop().time() - begun < 2.0
    world.toy.slow = False
    await client.until(lambda: client.answers("reload"))
    await online(world, "toy", since)
    client.publish("toy/set/lamp", {"value": 1, "id": "waits"})  # a repetition gets the stored answer
    await client.in_order("toy")
    await client.until(lambda: client.answers("late"))
    outcomes = {id_: [a["outcome"] for a in client.answers(id_)] for id_ in ("sent", "waits", "late", "reload")}
    assert outcomes == {
        "sent": ["unknown"],
        "waits": ["unavailable", "unavailable"],
        "late": ["unavailable"],
        "reload": ["done"],
    }
    assert len(world.heard("write")) == 1


async def test_what_is_done_within_the_grace_is_answered_as_done(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    client = world.client
    world.toy.slow = True
    client.publish("toy/set/gain", {"value": 50, "id": "sent"})
    await client.until(lambda: world.heard("write"))
    client.publish("toy/set/lamp", {"value": 1, "id": "waits"})
    await client.in_order("toy")
    world.devices = {"io": {"driver": "evok"}}
    client.publish(CALL)
    await client.until(lambda: client.answers("waits"))
    world.toy.let_go()
    await client.until(lambda: client.answers("sent"))
    assert [a["outcome"] for a in client.answers("sent")] == ["done"]


async def test_jobs_and_memory_go_over_to_the_new_device(alone: Alone) -> None:
    world = await alone(DEVICES, durable=True)
    await world.start()
    client, since = world.client, world.client.mark
    client.publish("toy/call/job_start", {"args": {"points": 4}, "id": "run"})
    await client.until(lambda: client.last("toy/job/run"))
    await reload(world, {"toy": {"driver": "toy", "rate": 5.0}, "io": {"driver": "evok"}})
    await online(world, "toy", since)
    await client.until(lambda: client.answers("run") and client.answers("run")[-1]["final"])
    world.toy.measure("run", 4)
    world.toy.finish("run")
    await client.until(lambda: client.last("toy/job/run").get("state") == "done", "the job's end")
    assert [a["outcome"] for a in client.answers("run") if a["final"]] == ["unknown"]


async def test_many_at_once_are_answered_one_after_the_other(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    client = world.client
    world.devices = {"toy": {"driver": "toy", "rate": 5.0}, "io": {"driver": "evok"}}
    for number in range(20):
        client.publish(CALL, {"id": f"r{number}"})
        if number == 10:
            world.devices = {"toy": {"driver": "toy", "rate": 6.0}, "io": {"driver": "evok"}}
    await client.until(lambda: all(client.answers(f"r{number}") for number in range(20)))
    assert all([a["outcome"] for a in client.answers(f"r{number}")] == ["done"] for number in range(20))
    assert world.daemon is not None
    assert world.daemon.fleet.devices["toy"].profile.rules.rate == 6.0


async def test_a_stream_of_commands_over_many_reloads(alone: Alone) -> None:
    """Each gets one final answer, and none is carried out twice; the untouched device does all of its own."""
    world = await alone(DEVICES, durable=True)
    await world.start()
    client, ids = world.client, []
    for number in range(12):
        world.devices = {"toy": {"driver": "toy", "backlog": 20 + number}, "io": {"driver": "evok"}}
        client.publish(CALL, {"id": f"reload {number}"})
        for step in range(8):
            ids += [f"toy {number} {step}", f"io {number} {step}"]
            client.publish("toy/call/move", {"args": {"point": "gain", "value": step}, "id": ids[-2]})
            client.publish("io/set/ao/1_01", {"value": step, "id": ids[-1]})
            await client.until(lambda: client._mqtt.room)
        await client.until(lambda: client.answers(f"reload {number}"))  # noqa: B023  (awaited here)
    await client.until(lambda: all(client.answers(id_) for id_ in ids))
    await client.in_order("toy")
    finals = {id_: [a["outcome"] for a in client.answers(id_) if a["final"]] for id_ in ids}
    assert all(len(outcomes) == 1 for outcomes in finals.values())
    toy = [outcomes[0] for id_, outcomes in finals.items() if id_.startswith("toy")]
    assert set(toy) <= {"done", "unavailable", "unknown"}
    assert len(world.heard("write")) == toy.count("done") + toy.count("unknown")
    others = {outcomes[0] for id_, outcomes in finals.items() if id_.startswith("io")}
    assert others <= {"done", "superseded", "unknown"}  # unknown: the next value came before this one showed
    assert attempts(world, "io") == 1


async def test_one_under_way_at_the_end_is_answered(alone: Alone) -> None:
    world = await alone(DEVICES)
    await world.start()
    client = world.client
    world.toy.slow = True
    client.publish("toy/set/gain", {"value": 50, "id": "sent"})
    await client.until(lambda: world.heard("write"))
    client.publish("toy/set/lamp", {"value": 1, "id": "waits"})
    await client.in_order("toy")
    world.devices = {"io": {"driver": "evok"}}
    client.publish(CALL, {"id": "reload"})
    await client.until(lambda: client.answers("waits"))  # the old device is being left
    client.publish(CALL, {"id": "next"})
    await client.in_order("io")
    await world.stop()
    await client.until(lambda: client.answers("reload") and client.answers("next") and client.answers("sent"))
    assert [a["outcome"] for a in client.answers("reload")] == ["unavailable"]
    assert [a["outcome"] for a in client.answers("next")] == ["unavailable"]
    assert [a["outcome"] for a in client.answers("sent")] == ["unknown"]
    assert client.last("toy/status") == client.last(f"_bridge/{BRIDGE}/status") == "offline"


async def test_a_new_device_that_another_bridge_has_is_not_started(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}})
    client = world.client
    client.publish("toy/link", {"bridge": "there", "state": "ready"}, retain=True)
    client.publish("_bridge/there/status", "online", retain=True)
    await world.start()
    since = client.mark
    answer = await reload(world, DEVICES)
    assert answer["data"]["added"] == ["toy"]
    await client.until(lambda: client.last(f"_bridge/{BRIDGE}/health").get("conflicts") == {"toy": "there"})
    assert not client.on("toy/status", since)
    assert "toy" in client.last(f"_bridge/{BRIDGE}/health")["conflicts"]
    await reload(world, {"io": {"driver": "evok"}})  # and leaving it again says nothing of it
    assert not client.on("toy/status", since)
    assert client.last("toy/link")["bridge"] == "there"
    since = client.mark
    await reload(world, DEVICES)
    client.publish("_bridge/there/status", "offline", retain=True)
    await online(world, "toy", since)


async def test_a_device_that_is_away_can_be_changed(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}, "toy": {"driver": "toy", "url": "ws://127.0.0.1:9/"}})
    await world.start()
    since = world.client.mark
    assert (await reload(world, DEVICES))["data"]["changed"] == ["toy"]
    await online(world, "toy", since)


async def test_without_a_broker_a_reload_is_applied_all_the_same(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}})
    await world.start()
    assert world.daemon is not None
    daemon, since = world.daemon, world.client.mark
    world.line.cut()
    await world.client.until(lambda: not daemon.uplink.announced)
    world.devices = DEVICES
    daemon.reload()
    await world.client.until(lambda: "toy" in daemon.fleet.devices and daemon.fleet.devices["toy"].ready)
    world.line.mend()
    await online(world, "toy", since)
    assert (await world.client.ask("toy/set/gain", 5))["outcome"] == "done"


async def test_a_retained_call_is_not_carried_out(alone: Alone) -> None:
    world = await alone(DEVICES)
    world.client.publish(CALL, b"{}", retain=True)
    await world.start()
    await world.client.in_order("toy")
    assert not world.client.on(f"_bridge/{BRIDGE}/event/reload")


async def test_calls_do_not_pile_up_while_one_hangs(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST", 3)
    world, let_go = await alone(DEVICES), threading.Event()
    reread = world.reread
    monkeypatch.setattr(world, "reread", lambda: let_go.wait(10) and reread())
    await world.start()
    ids = [f"q{number}" for number in range(6)]
    await world.client.publish_all((CALL, {"id": id_}) for id_ in ids)
    await world.client.until(lambda: world.client.answers("q5"))
    let_go.set()
    for id_ in ids:
        await world.client.until(partial(world.client.answers, id_), id_)
    outcomes = [world.client.answers(id_)[0]["outcome"] for id_ in ids]
    assert outcomes.count("rejected") in (2, 3)  # the first may have been taken up before the second came
    assert set(outcomes) == {"done", "rejected"}


async def test_a_driver_that_fails_with_its_options_changes_nothing(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(options: object) -> dict[str, str]:
        raise TypeError(SECRET)

    world = await alone(DEVICES)
    await world.start()
    since = world.client.mark
    monkeypatch.setattr(driver, "plugin", replace(driver.plugin, headers=fails))
    answer = await reload(world, {"toy": {"driver": "toy", "name": "Other"}, "io": {"driver": "evok"}})
    assert (answer["outcome"], SECRET in answer["detail"]) == ("rejected", False)
    assert "devices.toy: the driver fails" in answer["detail"]
    assert not world.client.on("toy/status", since)
    assert (await world.client.ask("toy/set/gain", 2))["outcome"] == "done"
