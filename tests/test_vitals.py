"""What probes and Prometheus are told, of a bridge only made and of one that runs; and that the table is true."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import pytest

import bridge
from bridge.app import Daemon
from bridge.http import Page
from bridge.metrics import CONTENT_TYPE, render
from bridge.settings import Settings
from bridge.settings_models import HttpSettings
from bridge.simulators.mqtt_broker import Broker
from bridge.vitals import Vitals
from tests.contract.bench import Client, running_evok
from tests.exposition import Family, read
from tests.system.mosquitto import free_port

TOP = Path(bridge.__file__).parent.parent
RULES = TOP / "config" / "prometheus" / "lab2mqtt.rules.yml"
METRIC = re.compile(r"\b(?:lab2mqtt_|process_)[a-z_]+\b")


def settings(**sections: object) -> Settings:
    devices = {"io": {"driver": "evok", "url": "ws://127.0.0.1:1/ws"}}
    return Settings.model_validate({"bridge": {"id": "here"}, "devices": devices, **sections})


@asynccontextmanager
async def made() -> AsyncIterator[Daemon]:
    daemon = Daemon(settings())
    try:
        yield daemon
    finally:
        daemon.shipping.close()


def vitals(daemon: Daemon, *stuck: str) -> Vitals:
    return Vitals(settings, daemon.herald, daemon.shipping, lambda: stuck)


def ask(daemon: Daemon, path: str, *stuck: str) -> Page:
    path, _, query = path.partition("?")
    return vitals(daemon, *stuck).pages[path](query)


def families(daemon: Daemon) -> dict[str, Family]:
    page = ask(daemon, "/metrics")
    assert page.type == CONTENT_TYPE
    return read(page.body.decode())


# --- a bridge that was made and does not run -------------------------------------------------------------


@pytest.mark.asyncio
async def test_livez_goes_by_progress_alone() -> None:
    async with made() as daemon:
        assert (ask(daemon, "/livez").status, ask(daemon, "/livez").body) == (200, b"alive\n")
        page = ask(daemon, "/livez", "clock", "device io")
        assert (page.status, page.body) == (503, b"stuck: clock, device io\n")
        assert read(render(vitals(daemon, "clock").families()).decode())["lab2mqtt_alive"].value() == 0
        assert families(daemon)["lab2mqtt_alive"].value() == 1


@pytest.mark.asyncio
async def test_readyz_waits_for_the_devices_to_be_started() -> None:
    async with made() as daemon:
        page = ask(daemon, "/readyz")
        assert page.status == 503
        assert json.loads(page.body) == {
            "ready": False,
            "broker": {"state": "offline", "reason": "not yet connected"},
            "devices": {"io": {"state": "offline", "reason": "not started"}},
        }
        assert families(daemon)["lab2mqtt_ready"].value() == 0


@pytest.mark.asyncio
async def test_every_number_comes_from_where_it_is_counted() -> None:
    async with made() as daemon:
        daemon.herald.refused("retained", "", "")
        daemon.herald.gap(17)
        daemon.herald.reload_refused(["no"])
        daemon.outbox.dropped.update({"a": 2, "b": 3})
        daemon.publisher.refused["a"] = 4
        daemon.fleet.lags.observe(0.3)
        daemon.fleet.conflicts["io"] = "there"
        daemon.fleet.devices["io"].heard = 1234.5
        found = families(daemon)
        assert found["lab2mqtt_turned_down_total"].value(kind="retained") == 1
        assert found["lab2mqtt_gaps_total"].value() == 1
        assert found["lab2mqtt_reloads_total"].value(outcome="rejected") == 1
        assert found["lab2mqtt_configuration_last_reload_successful"].value() == 0
        assert found["lab2mqtt_occurrences_dropped_total"].value() == 5
        assert found["lab2mqtt_messages_refused_total"].value() == 4
        assert found["lab2mqtt_messages_waiting"].value(lane="occurrences") == daemon.outbox.occurrences > 0
        assert found["lab2mqtt_loop_lag_seconds"].value(le="0.25") == 0
        assert found["lab2mqtt_loop_lag_seconds"].value(le="0.5") == 1
        assert found["lab2mqtt_device_conflict"].value(device="io") == 1
        assert found["lab2mqtt_device_last_event_timestamp_seconds"].value(device="io") == 1234.5
        assert found["process_resident_memory_bytes"].value() > 1_000_000
        assert time() - found["process_start_time_seconds"].value() < 60
        assert json.loads(ask(daemon, "/readyz").body)["devices"]["io"]["state"] == "conflict"


@pytest.mark.asyncio
async def test_asking_changes_nothing() -> None:
    async with made() as daemon:
        daemon.fleet.lag = 0.5
        first = families(daemon)
        assert families(daemon)["lab2mqtt_loop_lag_seconds"] == first["lab2mqtt_loop_lag_seconds"]
        assert daemon.fleet.lag == 0.5
        assert not daemon.outbox


# --- the table, the rules and the code -------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_table_names_every_metric_with_its_type_and_labels() -> None:
    text = (TOP / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `((?:lab2mqtt|process)_\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    async with made() as daemon:
        daemon.herald.refused("retained", "", "")
        daemon.uplink.proof.round_trip = daemon.fleet.devices["io"].link.round_trip = 0.1
        daemon.fleet.devices["io"].heard = 1.0
        found = families(daemon)
    shown = {
        name: (family.type, {key for _, labels in family.series for key, _ in labels} - {"le"})
        for name, family in found.items()
    }
    assert [name for name, _, _ in rows] == list(found)
    for name, type_, labels in rows:
        values = {text for _, series in found[name].series for key, text in series if key != "device"}
        assert shown[name] == (type_, set(re.findall("`(\\w+)`", labels)) - values - {"_bridge"}), name
    assert names(text) <= found.keys()


@pytest.mark.asyncio
async def test_the_rules_name_metrics_that_are_there_and_each_is_tested() -> None:
    rules = RULES.read_text()
    tests = (RULES.parent / "tests" / "lab2mqtt.test.yml").read_text()
    async with made() as daemon:
        found = families(daemon)
    asked = names("\n".join(re.findall("expr: (.*)", rules)))
    assert asked <= found.keys()
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) == len(set(alerts)) > 15
    assert set(alerts) == set(re.findall(r'alertname="(\w+)"', tests))
    assert asked <= names(tests)


def names(text: str) -> set[str]:
    return {name.removesuffix("_bucket") for name in METRIC.findall(text)}


# --- a bridge that runs ----------------------------------------------------------------------------------


async def get(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def running(port: int, *, enabled: bool = True) -> AsyncIterator[tuple[Daemon, Client]]:
    """A bridge with a broker, an instrument that is there, and one that is not."""
    async with Broker() as broker, running_evok() as (_, server):
        client = Client(broker.port)
        await client.open()
        daemon = Daemon(
            settings(
                mqtt={"host": "127.0.0.1", "port": broker.port},
                http={"enabled": enabled, "port": port},
                devices={
                    "io": {"driver": "evok", "url": server.url + "/ws"},
                    "gone": {"driver": "evok", "url": f"ws://127.0.0.1:{free_port()}/ws"},
                },
            )
        )
        task = asyncio.create_task(daemon.run())
        try:
            await client.until(lambda: client.on("io/status")[-1:] and client.last("io/status") == "online")
            yield daemon, client
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()
        assert task.cancelled()


@pytest.mark.asyncio
async def test_a_bridge_that_runs() -> None:
    port = free_port()
    async with running(port) as (daemon, client):
        assert await get(port, "/livez") == (200, b"alive\n")
        status, body = await get(port, "/readyz")
        told = json.loads(body)
        assert (status, told["ready"], told["broker"]["state"]) == (200, True, "online")
        assert told["devices"]["io"] == {"state": "ready", "reason": ""}
        assert told["devices"]["gone"]["state"] in ("offline", "connecting")
        status, body = await get(port, "/readyz?strict")
        assert (status, json.loads(body)["ready"]) == (503, False)
        assert (await client.ask("io/set/ro/2_01", "1"))["outcome"] == "done"
        assert (await client.ask("gone/set/ro/2_01", "1"))["outcome"] == "unavailable"
        status, body = await get(port, "/metrics")
        found = read(body.decode())
        answers = found["lab2mqtt_command_answers_total"]
        assert status == 200
        assert answers.value(device="io", outcome="done") == 1
        assert answers.value(device="gone", outcome="unavailable") == 1
        assert answers.value(device="_bridge", outcome="done") == 0
        assert found["lab2mqtt_command_duration_seconds"].value(device="io", le="+Inf") == 1
        states = {"offline": 0, "connecting": 0, "greeting": 0, "ready": 1}
        for state, value in states.items():
            assert found["lab2mqtt_device_link_state"].value(device="io", state=state) == value
        assert found["lab2mqtt_device_up"].value(device="gone") == 0
        assert found["lab2mqtt_device_connections_total"].value(device="io") == 1
        assert found["lab2mqtt_device_connections_total"].value(device="gone") == 0
        assert found["lab2mqtt_device_updates_total"].value(device="io") > 10
        assert time() - found["lab2mqtt_device_last_event_timestamp_seconds"].value(device="io") < 60
        assert found["lab2mqtt_broker_up"].value() == found["lab2mqtt_broker_connections_total"].value() == 1
        assert found["lab2mqtt_broker_round_trip_seconds"].value() < 5
        assert daemon.fleet.opened
    assert not listens(port)
    assert not daemon.fleet.opened


@pytest.mark.asyncio
async def test_nothing_listens_unless_asked_to_and_then_on_the_loopback() -> None:
    assert settings().http == HttpSettings(enabled=False, host="127.0.0.1", port=9464)
    port = free_port()
    async with running(port, enabled=False):
        assert not listens(port)
    async with running(port):
        assert listens(port)


@pytest.mark.asyncio
async def test_a_taken_port_is_told_in_the_health_and_stops_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        async with running(port) as (_, client):
            await client.until(lambda: (client.last("_bridge/here/health") or {}).get("trouble"))
            (trouble,) = client.last("_bridge/here/health")["trouble"]
            assert trouble.startswith(f"no HTTP on 127.0.0.1 port {port}: ")
            assert (await client.ask("io/set/ro/2_01", "1"))["outcome"] == "done"
