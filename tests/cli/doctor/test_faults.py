"""Prepared faults, one at a time: the doctor names each, says what to do, and finds nothing else.

Those that need a real broker are in tests/system/test_doctor.py.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge import alive
from bridge.cli.doctor.findings import Finding
from bridge.mqtt import ConnectionSettings, Mqtt
from bridge.simulators.evok import EvokSimulator
from bridge.simulators.im7 import Im7Simulator
from bridge.simulators.mqtt_broker import Broker
from bridge.simulators.mqtt_sessions import Limits
from bridge.simulators.ost import OstSimulator
from bridge.simulators.server import serve
from bridge.simulators.zeiss_inspect import ZeissInspectSimulator
from tests.certificates import OPENSSL, Pair, self_signed, signed_by
from tests.cli.doctor.patient import (
    HOST,
    dated,
    diagnosed,
    embedded,
    instruments,
    mute,
    peer,
    saying,
    text,
    troubles,
)

Prepare = Callable[[Path], AbstractAsyncContextManager[str]]
THIS = sys.modules[__name__]
SIDE_BY_SIDE = 12
PAST, SOON, FUTURE = "20200101000000Z", "20200601000000Z", "20990101000000Z"


@dataclass(frozen=True)
class Case:
    """`words` stand in the sentence that says what to do."""

    id: str
    words: str
    prepare: Prepare


CASES: dict[str, Case] = {}


def case(id_: str, words: str) -> Callable[[Callable[[Path], AsyncIterator[str]]], None]:
    def add(prepare: Callable[[Path], AsyncIterator[str]]) -> None:
        CASES[prepare.__name__] = Case(id_, words, asynccontextmanager(prepare))

    return add


# --- the broker ------------------------------------------------------------------------------------------


@case("broker.password", "correct mqtt.username")
async def wrong_password(folder: Path) -> AsyncIterator[str]:
    async with Broker(credentials={"me": "right"}) as broker:
        yield text(broker.port, broker='username = "me"\npassword = "wrong"')


@case("broker.password", "no password is configured")
async def password_forgotten(folder: Path) -> AsyncIterator[str]:
    async with Broker(credentials={"me": "right"}) as broker:
        yield text(broker.port, broker='username = "me"')


@case("network.refused", "correct the port")
async def wrong_port(folder: Path) -> AsyncIterator[str]:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind((HOST, 0))
        yield text(taken.getsockname()[1])


@case("network.name", "cannot be resolved")
async def broker_name_unknown(folder: Path) -> AsyncIterator[str]:
    yield text('host = "no-such-host.invalid"')


@case("network.silent", "a firewall drops")
async def firewall_that_drops(folder: Path) -> AsyncIterator[str]:
    """A queue of connections that is full: further SYNs are dropped by the kernel, as a firewall would."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        await asyncio.sleep(0)
        yield text(listener.getsockname()[1])
        for client in waiting:
            client.close()


@case("broker.silent", "answers nothing")
async def broker_that_never_answers(folder: Path) -> AsyncIterator[str]:
    async with peer(mute) as port:
        yield text(port)


@case("broker.stranger", "correct mqtt.host and mqtt.port")
async def web_server_instead_of_a_broker(folder: Path) -> AsyncIterator[str]:
    async with peer(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        yield text(port)


@case("broker.protocol", 'protocol = "3.1.1"')
async def broker_of_3_1_1_only(folder: Path) -> AsyncIterator[str]:
    async with peer(saying(bytes([0x20, 2, 0, 1]))) as port:  # CONNACK: unacceptable protocol version
        yield text(port)


@case("broker.client_id", "allow client ids")
async def client_id_refused(folder: Path) -> AsyncIterator[str]:
    async with peer(saying(bytes([0x20, 3, 0, 0x85, 0]))) as port:
        yield text(port)


@case("broker.unavailable", "its limits")
async def broker_that_is_busy(folder: Path) -> AsyncIterator[str]:
    async with peer(saying(bytes([0x20, 3, 0, 0x89, 0]))) as port:
        yield text(port)


@case("broker.unauthorised", "lift that there")
async def address_that_is_banned(folder: Path) -> AsyncIterator[str]:
    async with peer(saying(bytes([0x20, 3, 0, 0x8A, 0]))) as port:
        yield text(port)


@case("limits.packet", "allow at least")
async def small_packets_only(folder: Path) -> AsyncIterator[str]:
    async with Broker(limits=Limits(packet_size=8192)) as broker:
        yield text(broker.port)


# --- TLS -------------------------------------------------------------------------------------------------


def _broker(folder: Path, pair: Pair) -> AbstractAsyncContextManager[int]:
    """Speaks TLS, and what comes after does not matter."""
    return _secure(pair.server_context())


@asynccontextmanager
async def _secure(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await mute(reader, writer)

    def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(talk(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    tasks: set[asyncio.Future[None]] = set()
    server = await asyncio.start_server(ended, HOST, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()


def _trusting(port: int, authority: Path, host: str = HOST) -> str:
    return text(f'host = "{host}"\nport = {port}', broker=f'[mqtt.tls]\nca = "{authority}"')


@case("tls.expired", "renew it")
async def expired_certificate(folder: Path) -> AsyncIterator[str]:
    authority = self_signed(folder, "authority")
    async with _broker(folder, dated(authority, folder, "localhost", PAST, SOON)) as port:
        yield _trusting(port, authority.certificate)


@case("tls.not_yet", "clock")
async def certificate_of_tomorrow(folder: Path) -> AsyncIterator[str]:
    authority = self_signed(folder, "authority")
    pair = dated(authority, folder, "localhost", "20980101000000Z", FUTURE)
    async with _broker(folder, pair) as port:
        yield _trusting(port, authority.certificate)


@case("tls.name", "connect by the name")
async def wrong_host_name(folder: Path) -> AsyncIterator[str]:
    pair = self_signed(folder, "elsewhere")
    async with _broker(folder, pair) as port:
        yield _trusting(port, pair.certificate)


@case("tls.authority", "tls.ca")
async def wrong_authority(folder: Path) -> AsyncIterator[str]:
    pair, other = self_signed(folder, "localhost"), self_signed(folder, "other")
    async with _broker(folder, pair) as port:
        yield _trusting(port, other.certificate)


@case("tls.plain", "the port that speaks TLS")
async def tls_to_a_plain_port(folder: Path) -> AsyncIterator[str]:
    authority = self_signed(folder, "authority")
    async with embedded() as port:
        yield _trusting(port, authority.certificate)


@case("tls.needed", "configure mqtt.tls")
async def plain_to_a_tls_port(folder: Path) -> AsyncIterator[str]:
    async with _broker(folder, self_signed(folder, "localhost")) as port:
        yield text(port)


@case("tls.files", "mqtt.tls")
async def authority_without_a_file(folder: Path) -> AsyncIterator[str]:
    yield _trusting(1, folder / "nowhere.pem")


@asynccontextmanager
async def _secure_evok(pair: Pair, tls: str) -> AsyncIterator[str]:
    async with embedded() as port, serve(EvokSimulator(), tls=pair.server_context()) as server:
        yield text(port, {"evok": f"{server.url}/ws"}, device=f"[devices.evok.tls]\n{tls}")


@case("tls.ends_soon", "renew it")
async def certificate_of_a_device_that_ends_soon(folder: Path) -> AsyncIterator[str]:
    authority = self_signed(folder, "authority")
    pair = signed_by(authority, folder, "localhost")  # for two days
    async with _secure_evok(pair, f'ca = "{authority.certificate}"') as configuration:
        yield configuration


@case("tls.fingerprint", "configure the new fingerprint")
async def fingerprint_of_another(folder: Path) -> AsyncIterator[str]:
    async with _secure_evok(self_signed(folder, "localhost"), f'fingerprint = "{"00" * 32}"') as configuration:
        yield configuration


@case("tls.refused", "tls.certificate and tls.key")
async def broker_that_wants_our_certificate(folder: Path) -> AsyncIterator[str]:
    authority = self_signed(folder, "authority")
    pair = dated(authority, folder, "localhost", PAST, FUTURE)
    async with _secure(pair.server_context(client_ca=authority.certificate)) as port:
        yield _trusting(port, authority.certificate)


@case("tls.refused", "tls.certificate and tls.key")
async def device_that_wants_our_certificate(folder: Path) -> AsyncIterator[str]:
    authority = self_signed(folder, "authority")
    context = dated(authority, folder, "localhost", PAST, FUTURE).server_context(client_ca=authority.certificate)
    async with embedded() as port, serve(EvokSimulator(), tls=context) as server:
        url = f"wss://{HOST}:{server.port}/ws"
        yield text(port, {"evok": url}, device=f'[devices.evok.tls]\nca = "{authority.certificate}"')


@case("tls.needed", "wss://")
async def device_that_wants_tls(folder: Path) -> AsyncIterator[str]:
    context = self_signed(folder, "localhost").server_context()
    async with embedded() as port, serve(EvokSimulator(), tls=context) as server:
        yield text(port, {"evok": f"ws://{HOST}:{server.port}/ws"})


# --- what the broker keeps ---------------------------------------------------------------------------------


@asynccontextmanager
async def _keeping(*messages: tuple[str, bytes]) -> AsyncIterator[int]:
    async with embedded() as port:
        mqtt = Mqtt(ConnectionSettings(HOST, "somebody", port))
        await mqtt.connect()
        for topic, payload in messages:
            mqtt.publish(f"lab2mqtt/{topic}", payload, 1, retain=True)
        await mqtt.disconnect()
        yield port


@case("kept.command", "mosquitto_pub -r -n -t lab2mqtt/evok/set/do/1_01")
async def retained_command(folder: Path) -> AsyncIterator[str]:
    async with _keeping(("evok/set/do/1_01", b"ON")) as port, instruments("evok") as urls:
        yield text(port, urls)


@case("bridge.claimed", "stop the other bridge")
async def another_bridge_has_the_device(folder: Path) -> AsyncIterator[str]:
    link = json.dumps({"bridge": "other", "state": "ready"}).encode()
    async with (
        _keeping(("evok/link", link), ("_bridge/other/status", b"online")) as port,
        instruments("evok") as urls,
    ):
        yield text(port, urls)


@case("bridge.duplicate", "another bridge.id")
async def second_bridge_of_the_same_id(folder: Path) -> AsyncIterator[str]:
    """One is online, and nobody uses the journal that is configured here."""
    (folder / "journal.db").write_bytes(b"")
    async with _keeping(("_bridge/gw/status", b"online")) as port:
        yield text(port, bridge=f'state_dir = "{folder}"')


@case("bridge.duplicate", "the one that runs here")
async def second_bridge_beside_a_running_one(folder: Path) -> AsyncIterator[str]:
    """Ours runs and says that it has no connection, and one of our name is online."""
    async with _locked(folder) as pid, _keeping(("_bridge/gw/status", b"online")) as port:
        beat = alive.Alive(pid, time.time(), time.monotonic(), 60.0, True, "0 of 0", False, 0, 0)
        alive.write(folder / alive.NAME, beat)
        yield text(port, bridge=f'state_dir = "{folder}"')


@case("bridge.duplicate", "to and fro")
async def two_clients_of_one_id(folder: Path) -> AsyncIterator[str]:
    async with embedded() as port:
        quarrel = asyncio.create_task(_quarrel(port))
        yield text(port)
        quarrel.cancel()
        await asyncio.gather(quarrel, return_exceptions=True)


async def _quarrel(port: int) -> None:
    """What the status does when each of two daemons ends the other's connection."""
    mqtt = Mqtt(ConnectionSettings(HOST, "quarrel", port))
    await mqtt.connect()
    while True:
        for word in (b"offline", b"online"):
            mqtt.publish("lab2mqtt/_bridge/gw/status", word, 1, retain=True)
            await asyncio.wait([mqtt.closed], timeout=0.2)


@case("clock.differs", "synchronised")
async def clock_of_the_daemon(folder: Path) -> AsyncIterator[str]:
    health = json.dumps({"time": "2999-01-01T00:00:00.000Z"}).encode()
    async with _keeping(("_bridge/gw/status", b"online"), ("_bridge/gw/health", health)) as port:
        yield text(port)


@case("bridge.trouble", "refuses subscriptions")
async def daemon_in_trouble(folder: Path) -> AsyncIterator[str]:
    health = json.dumps({"trouble": ["the broker refuses subscriptions: x"]}).encode()
    async with _keeping(("_bridge/gw/status", b"online"), ("_bridge/gw/health", health)) as port:
        yield text(port)


# --- the state directory -----------------------------------------------------------------------------------


@case("state.unwritable", "bridge's user")
async def state_directory_not_writable(folder: Path) -> AsyncIterator[str]:
    async with embedded() as port:
        yield text(port, bridge='state_dir = "/proc/self"')  # not even for root


@case("state.missing", "make it")
async def state_directory_cannot_be_made(folder: Path) -> AsyncIterator[str]:
    (folder / "file").write_text("")
    async with embedded() as port:
        yield text(port, bridge=f'state_dir = "{folder}/file/state"')


@case("state.damaged", "look at the disk")
async def journal_damaged(folder: Path) -> AsyncIterator[str]:
    (folder / "journal.db").write_bytes(b"no database " * 100)
    async with embedded() as port:
        yield text(port, bridge=f'state_dir = "{folder}"')


@case("state.locked", "a bridge.state_dir of its own")
async def journal_of_another_process(folder: Path) -> AsyncIterator[str]:
    async with _locked(folder), embedded() as port:
        yield text(port, bridge=f'state_dir = "{folder}"')


_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA user_version = 1")
connection.execute("BEGIN EXCLUSIVE")
print(flush=True)
input()
"""


@asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[int]:
    """Another process holds the journal; its id."""
    pipe = asyncio.subprocess.PIPE
    journal = str(folder / "journal.db")
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", _HOLDER, journal, stdin=pipe, stdout=pipe)
    assert holder.stdout is not None
    try:
        await holder.stdout.readline()
        yield holder.pid
    finally:
        await holder.communicate(b"\n")


# --- devices -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _device(driver: str, url: str, device: str = "") -> AsyncIterator[str]:
    async with embedded() as port:
        yield text(port, {driver: url}, device=device)


@case("network.refused", "start its program")
async def device_switched_off(folder: Path) -> AsyncIterator[str]:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        async with _device("im7", f"ws://{HOST}:{taken.getsockname()[1]}/default") as configuration:
            yield configuration


@case("device.stranger", "correct the port")
async def device_is_an_ssh_server(folder: Path) -> AsyncIterator[str]:
    async with (
        peer(saying(b"SSH-2.0-OpenSSH_9.2p1\r\n")) as port,
        _device("evok", f"ws://{HOST}:{port}/ws") as configuration,
    ):
        yield configuration


@case("device.stranger", "correct the port")
async def device_is_the_broker(folder: Path) -> AsyncIterator[str]:
    async with embedded() as port:
        yield text(port, {"evok": f"ws://{HOST}:{port}/ws"})


@case("device.handshake", "busy or hangs")
async def device_without_a_handshake(folder: Path) -> AsyncIterator[str]:
    async with peer(mute) as port, _device("evok", f"ws://{HOST}:{port}/ws") as configuration:
        yield configuration


@case("device.path", "Evok: /ws")
async def wrong_path(folder: Path) -> AsyncIterator[str]:
    async with serve(EvokSimulator()) as server, _device("evok", f"{server.url}/socket") as configuration:
        yield configuration


@case("device.login", "devices__im7__password")
async def device_wants_a_login(folder: Path) -> AsyncIterator[str]:
    async with (
        serve(Im7Simulator(user="u", password="p")) as server,
        _device("im7", f"{server.url}/default") as configuration,
    ):
        yield configuration


@case("device.version", "remove protocol_version")
async def another_protocol_version(folder: Path) -> AsyncIterator[str]:
    async with (
        serve(Im7Simulator()) as server,
        _device("im7", f"{server.url}/default", "protocol_version = 3") as configuration,
    ):
        yield configuration


@case("device.busy", "wait")
async def device_overloaded(folder: Path) -> AsyncIterator[str]:
    async with serve(EvokSimulator()) as server, _device("evok", f"{server.url}/ws") as configuration:
        server.faults.refuse(None, 503)
        yield configuration


@case("device.other", 'set driver = "ost"')
async def evok_is_an_ost_server(folder: Path) -> AsyncIterator[str]:
    async with serve(OstSimulator()) as server, _device("evok", server.url) as configuration:
        yield configuration


@case("device.other", "correct the url")
async def evok_is_some_other_program(folder: Path) -> AsyncIterator[str]:
    async with serve(ZeissInspectSimulator(basics=True)) as server, _device("evok", server.url) as configuration:
        yield configuration


@case("device.other", 'set driver = "evok"')
async def im7_is_an_evok(folder: Path) -> AsyncIterator[str]:
    async with serve(EvokSimulator()) as server, _device("im7", f"{server.url}/ws") as configuration:
        yield configuration


@case("device.other", 'set driver = "im7"')
async def ost_is_an_im7(folder: Path) -> AsyncIterator[str]:
    async with serve(Im7Simulator()) as server, _device("ost", f"{server.url}/default") as configuration:
        yield configuration


@case("device.other", 'set driver = "ost"')
async def inspect_is_an_ost_server(folder: Path) -> AsyncIterator[str]:
    async with serve(OstSimulator(updates=20.0)) as server, _device("zeiss_inspect", server.url) as configuration:
        yield configuration


@case("device.filtered", "all_filtered: false")
async def evok_that_filters(folder: Path) -> AsyncIterator[str]:
    async with (
        serve(EvokSimulator(all_filtered=True)) as server,
        _device("evok", f"{server.url}/ws") as configuration,
    ):
        yield configuration


@case("device.filtered", "all_filtered: false")
async def evok_that_tells_nothing(folder: Path) -> AsyncIterator[str]:
    async with serve(EvokSimulator()) as server, _device("evok", f"{server.url}/ws") as configuration:
        server.faults.silence()
        yield configuration


@case("device.login", "give login_user and login_password")
async def ost_wants_a_login(folder: Path) -> AsyncIterator[str]:
    async with serve(OstSimulator(grant="2")) as server, _device("ost", server.url) as configuration:
        yield configuration


@case("device.login", "correct login_user")
async def ost_refuses_the_login(folder: Path) -> AsyncIterator[str]:
    login = 'login_user = "ADMIN"\nlogin_password = "wrong"'
    async with serve(OstSimulator(grant="2")) as server, _device("ost", server.url, login) as configuration:
        yield configuration


@case("device.condition", "give login_user and login_password")
async def ost_lets_us_only_read(folder: Path) -> AsyncIterator[str]:
    async with serve(OstSimulator(grant="1")) as server, _device("ost", server.url) as configuration:
        yield configuration


@case("device.condition", "no route")
async def device_that_the_daemon_cannot_use(folder: Path) -> AsyncIterator[str]:
    link = json.dumps({"bridge": "gw", "state": "busy_elsewhere", "reason": "no route"}).encode()
    async with _keeping(("_bridge/gw/status", b"online"), ("evok/link", link)) as port:
        yield text(port, {"evok": "ws://127.0.0.1:1/ws"})


@case("device.greeting", "restart it")
async def device_that_never_greets(folder: Path) -> AsyncIterator[str]:
    async with serve(OstSimulator()) as server, _device("ost", server.url) as configuration:
        server.faults.silence()
        yield configuration


# --- all of them together: they wait more than they work ---------------------------------------------------


@pytest.fixture(scope="module")
def diagnoses(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Finding]]:
    """What was found in each of the cases that were asked for."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function) and item.module is THIS]
    names = [test.callspec.params["name"] for test in tests]
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(name: str) -> list[Finding]:
        folder = tmp_path_factory.mktemp(name)
        async with room, CASES[name].prepare(folder) as configuration:
            return await diagnosed(folder, configuration)

    async def all_of_them() -> dict[str, list[Finding]]:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(one(name)) for name in names if name in CASES and possible(name)}
        return {name: task.result() for name, task in tasks.items()}

    return asyncio.run(all_of_them())


def possible(name: str) -> bool:
    return OPENSSL is not None or not CASES[name].id.startswith("tls.")


@pytest.mark.parametrize("name", CASES)
def test_fault(name: str, diagnoses: dict[str, list[Finding]]) -> None:
    if not possible(name):
        pytest.skip("openssl is not installed")
    found = troubles(diagnoses[name])
    assert list(found) == [CASES[name].id]
    assert CASES[name].words in found[CASES[name].id]
