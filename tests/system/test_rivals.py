"""Two of the same: clients with one id, bridges with one device; and brokers that do not let us do everything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.system.mosquitto import HOST
from tests.system.processes import Daemon, assert_no_faults, configuration, waited
from tests.system.world import World, side_by_side

SOON = 8.0  # seconds for everything to be back
STUBBORN = 31.0  # seconds that the bridge keeps away from a broker where another client has its id

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


# --- one client id ----------------------------------------------------------------------------------------


@contextmanager
def intruder(port: int, client_id: str) -> Iterator[None]:
    """A client that takes this id again whenever it loses it."""
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    client.reconnect_delay_set(1, 1)
    client.connect(HOST, port)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def second_client_with_our_id_is_noticed_and_not_fought(protocol: str, directory: Path) -> None:
    with World(directory, mqtt=f'protocol = "{protocol}"') as world:
        since = time.monotonic()
        with intruder(world.broker.port, "lab2mqtt-gate"):
            world.logged("another client seems to use the client id")
            taken = time.monotonic() - since
            count = world.broker.log.count("already connected")
            time.sleep(3.0)
            assert world.broker.log.count("already connected") <= count + 1
        world.begun = time.time()
        world.until_right(STUBBORN)
        world.observer.until(lambda: world.observer.on("_bridge/gate/event/takeover", since))
        assert taken < 20.0
        assert world.observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"


def broker_that_dies_again_and_again_is_no_rival(directory: Path) -> None:
    with World(directory) as world:
        for _ in range(4):
            world.broker.kill()
            time.sleep(1.0)
            world.start("broker")
            world.until_right(5.0)
        assert "another client" not in world.daemon.log


# --- one device -------------------------------------------------------------------------------------------


def second(world: World, **options: Any) -> Daemon:
    text = configuration(world.broker.port, world.evok.port, bridge="spare", **options)
    return Daemon(world.directory, text, "spare")


def conflicts(world: World, bridge: str) -> object:
    return world.observer.document(f"_bridge/{bridge}/health").get("conflicts")


def second_bridge_waits_for_the_first_to_go(directory: Path) -> None:
    with World(directory, direct=True) as world, second(world) as spare:
        world.observer.until(lambda: conflicts(world, "spare") == {"io": "gate"})
        assert world.evok.state["connections"] == 1
        answers = world.observer.command("io/set/ro/2_01", {"value": True})
        assert answers["outcome"] == "done"
        id_ = world.observer.send("io/set/ro/2_02", {"value": True})
        world.observer.answer(id_)
        time.sleep(1.0)
        assert [answer["outcome"] for answer in world.observer.answers(id_)] == ["done"]
        assert world.observer.document("io/link")["bridge"] == "gate"

        world.daemon.kill()  # its will tells that it is gone
        world.observer.until(lambda: world.observer.document("io/link").get("bridge") == "spare", 10.0)
        world.observer.until(lambda: world.observer.document("io/link").get("state") == "ready")
        assert conflicts(world, "spare") in ({}, None)

        world.daemon.start()  # and now it is the one who waits
        world.observer.until(lambda: conflicts(world, "gate") == {"io": "spare"})
        assert world.observer.command("io/set/ro/2_03", {"value": True})["outcome"] == "done"
        assert world.observer.document("io/link")["bridge"] == "spare"

        spare.terminate()
        assert spare.ended() == 0
        world.until_right(SOON)
        assert world.evok.state["connections"] == 1
        assert_no_faults(spare)


def bridge_that_was_cut_off_finds_its_device_taken(directory: Path) -> None:
    with World(directory) as world, second(world) as spare:
        world.observer.until(lambda: conflicts(world, "spare") == {"io": "gate"})
        world.uplink.refuse()
        world.uplink.cut()
        world.observer.until(lambda: world.observer.document("io/link").get("bridge") == "spare", 10.0)
        world.observer.until_retained("io/status", b"online")
        world.uplink.accept()
        world.observer.until(lambda: conflicts(world, "gate") == {"io": "spare"})
        time.sleep(2.0)
        assert world.evok.state["connections"] == 1
        assert world.observer.retained("io/status") == b"online"
        assert world.observer.document("io/link")["bridge"] == "spare"
        id_ = world.observer.send("io/set/ro/2_02", {"value": True})
        assert world.observer.answer(id_)["outcome"] == "done"
        assert not conflicts(world, "spare")
        assert_no_faults(spare)


def of_two_bridges_that_start_at_once_one_has_the_device(directory: Path) -> None:
    with World(directory, direct=True) as world:
        for _ in range(2):
            world.daemon.kill()
            world.observer.until_retained("_bridge/gate/status", b"offline")
            world.observer.publish("io/link", b"", retain=True)
            with second(world):
                world.daemon.start()
                both = ("gate", "spare")
                for bridge in both:
                    world.observer.until_retained(f"_bridge/{bridge}/status", b"online")
                waited(lambda: world.evok.state["connections"] == 1, "one connection")
                time.sleep(2.0)
                assert world.evok.state["connections"] == 1
                found = [conflicts(world, bridge) for bridge in both]
                assert sorted(map(bool, found)) == [False, True], found
                owner = world.observer.document("io/link")["bridge"]
                assert world.observer.document("io/link")["state"] == "ready"
                assert not conflicts(world, owner)


# --- what the broker allows -------------------------------------------------------------------------------


def passwords(directory: Path, acl: str) -> list[str]:
    rules = directory / "acl"
    rules.write_text(acl)
    rules.chmod(0o600)
    return [f"acl_file {rules}"]


ALL_BUT_CANARY = """
topic readwrite lab2mqtt/io/#
topic write lab2mqtt/_bridge/gate/#
topic read lab2mqtt/_bridge/gate/call/#
topic read lab2mqtt/_bridge/gate/s
topic read lab2mqtt/_bridge/gate/info
topic read lab2mqtt/_bridge/gate/health
topic read lab2mqtt/_bridge/gate/status
topic read lab2mqtt/_bridge/gate/event/#
"""


def broker_that_does_not_let_us_read_is_told_of_and_lived_with(directory: Path) -> None:
    with World(directory, passwords(directory, ALL_BUT_CANARY), direct=True) as world:
        since = time.monotonic()
        trouble = world.observer.document("_bridge/gate/health")["trouble"]
        assert "canary" in trouble[0]
        world.logged("check the broker's access rules")
        time.sleep(12.0)  # longer than a broker may be silent
        assert world.daemon.log.count("connected to the broker") == 1
        world.evok.fault("set_input", circuit="2_01", value=1)
        world.until_right(SOON)
        assert world.observer.on("_bridge/gate/status", since) == []
        sent = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        answer = world.observer.command("io/set/ro/2_01", {"value": True, "sent": sent})
        assert answer["outcome"] == "done"


def refused_password_is_said(directory: Path) -> None:
    with World(directory) as world:
        world.broker.stop()
        world.broker.anonymous = False
        (directory / "passwords").write_text("")
        world.broker.config.append(f"password_file {directory / 'passwords'}")
        world.start("broker")
        waited(lambda: "Not authorized" in world.daemon.log or "0x87" in world.daemon.log, "the broker's no")


def older_protocol_does_it_too(directory: Path) -> None:
    with World(directory, mqtt='protocol = "3.1.1"') as world:
        assert world.observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"
        world.observer.publish("io/set/ro/2_02", b"ON", retain=True)
        for _ in range(2):
            world.uplink.cut()
            world.begun = time.time()
            world.until_right(SOON)
        world.daemon.kill()
        world.start("daemon")
        world.until_right(SOON)
        assert len(world.evok.executed("ro/2_02")) <= 1  # when it came the flag was not to be seen


def second_client_under_5(directory: Path) -> None:
    second_client_with_our_id_is_noticed_and_not_fought("5", directory)


def second_client_under_3_1_1(directory: Path) -> None:
    second_client_with_our_id_is_noticed_and_not_fought("3.1.1", directory)


def test_two_of_one_name_and_brokers_that_seem_to_have_two(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        second_client_under_5,
        second_client_under_3_1_1,
        broker_that_dies_again_and_again_is_no_rival,
        broker_that_does_not_let_us_read_is_told_of_and_lived_with,
    )


def test_one_device_has_one_bridge(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        second_bridge_waits_for_the_first_to_go,
        bridge_that_was_cut_off_finds_its_device_taken,
        of_two_bridges_that_start_at_once_one_has_the_device,
    )


def test_other_brokers(tmp_path: Path) -> None:
    side_by_side(tmp_path, refused_password_is_said, older_protocol_does_it_too)
