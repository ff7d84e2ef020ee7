"""The Evok simulator against recordings of the real program: same commands, same frames, same silences."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.simulators.evok import EvokSimulator
from bridge.simulators.evok.digital import Relay, Watchdog
from bridge.simulators.evok.inventory import units
from bridge.simulators.evok.items import Item
from bridge.simulators.evok.plant import Plant
from bridge.simulators.evok.program import Program
from bridge.simulators.server import Server, serve

DATA = Path(__file__).parents[1] / "data" / "evok"
PATIENCE = 5.0
JsonObject = dict[str, object]
Row = dict[str, str]


def recorded(name: str) -> list[Row]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def objects(text: str | bytes) -> list[JsonObject]:
    """The objects of a frame, whether they stand in a list or bare."""
    frame = json.loads(text)
    return frame if isinstance(frame, list) else [frame]


def exact(text: str | bytes) -> set[str]:
    """A frame for comparison: objects with keys in order and types of values; their own order is free."""
    return {json.dumps(item) for item in objects(text)}


def key(item: JsonObject) -> tuple[object, object]:
    return item["dev"], item["circuit"]


class Client:
    """A client that collects what is pushed, and can tell silence from not yet."""

    def __init__(self, socket: ClientConnection, simulator: EvokSimulator) -> None:
        self.socket, self.simulator = socket, simulator

    async def send(self, message: object) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def receive(self) -> str:
        return str(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    async def fence(self) -> None:
        await asyncio.wait_for(await self.socket.ping(), PATIENCE)

    async def all(self) -> dict[tuple[object, object], JsonObject]:
        """Ask for `all`, skipping events."""
        await self.send({"cmd": "all"})
        while True:
            items = objects(await self.receive())
            if any(item["dev"] == "run" for item in items):
                return {key(item): item for item in items}

    async def settled(self) -> list[str]:
        """What came until Evok had handled everything and scanned every living unit several times."""
        await self.fence()
        living = [unit for unit in self.simulator.program.units.values() if unit.is_reachable]
        goals = [(unit, unit.scans + 5) for unit in living]
        async with asyncio.timeout(PATIENCE):
            while any(unit.scans < goal for unit, goal in goals):
                await self.fence()
        await self.fence()
        frames = []
        while True:
            try:
                frames.append(str(await asyncio.wait_for(self.socket.recv(), 0.001)))
            except TimeoutError:
                return frames

    async def events(self) -> list[JsonObject]:
        return [item for frame in await self.settled() for item in objects(frame)]


@asynccontextmanager
async def evok(
    *, lively: bool = False, rate: float = 400.0, one_wire_interval: float = 60.0, **options: object
) -> AsyncIterator[tuple[EvokSimulator, Server, Client]]:
    """A quick and quiet simulator with one client; analogue blocks at every second scan."""
    simulator = EvokSimulator(
        lively=lively,
        rate=rate,
        slow_every=2,
        one_wire_interval=one_wire_interval,
        back_off=0.01,
        **options,  # type: ignore[arg-type]
    )
    for unit in simulator.program.units.values():
        unit.period = min(unit.period, 0.002)
    async with serve(simulator) as server, connect(server.url + "/ws", max_queue=None) as socket:
        yield simulator, server, Client(socket, simulator)


async def http(server: Server, path: str) -> tuple[int, str]:
    """GET with another client than ours."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), PATIENCE)).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def until(condition: Callable[[], bool], client: Client) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await client.fence()


# --- recordings replayed ---


@pytest.mark.asyncio
async def test_01_silence_then_all() -> None:
    """154 objects with the recorded keys, in the recorded order of keys; values too, except the clock's."""
    [real] = [objects(row["text"]) for row in recorded("01_all") if row["dir"] == "rx"]
    async with evok() as (_, _, client):
        assert await client.settled() == []
        ours = await client.all()
    assert len(ours) == len(real) == 154
    for item in real:
        mine = ours[key(item)]
        assert list(mine) == list(item)
        if item["dev"] == "modbus_slave":
            assert 0 <= float(str(mine["last_comm"])) < 1
            mine = mine | {"last_comm": item["last_comm"]}
            if item["circuit"] in {"1", "2"}:
                mine["scan_interval"] = 0.02
        if item["dev"] != "register":  # which registers show what is only partly known
            assert json.dumps(mine) == json.dumps(item)


def steps(rows: list[Row]) -> list[tuple[Row, list[str]]]:
    """Each command of a recording, with the frames that came before the next command or note."""
    marks = [n for n, row in enumerate(rows) if row["dir"] != "rx"] + [len(rows)]
    return [
        (
            rows[start],
            [row["text"] for row in rows[start + 1 : end] if not row["text"].startswith('{"dev": "temp"')],
        )
        for start, end in pairwise(marks)
        if rows[start]["dir"] == "tx"
    ]


@pytest.mark.parametrize("name", ["03_set", "04_timeout_and_pwm", "05_modes", "06_errors", "23_filter_default"])
@pytest.mark.asyncio
async def test_commands_have_the_recorded_effects(name: str) -> None:
    async with evok() as (_, _, client):
        for row, frames in steps(recorded(name)):
            text = row.get("text")
            command = bytes.fromhex(row["hex"]) if text is None else text
            if '"filter"' in str(command):
                continue
            await client.send(command)
            if command == '{"cmd": "all"}':
                assert len(objects(await client.receive())) == 154
                continue
            came = [await client.receive() for _ in frames]
            assert list(map(exact, came)) == list(map(exact, frames)), command
            assert await client.settled() == [], command


@pytest.mark.asyncio
async def test_08_aliases_registers_and_what_is_never_pushed() -> None:
    """Event by event, and then the whole `all`, which shows what was set without a word."""
    async with evok() as (_, _, client):
        for row, frames in steps(recorded("08_alias_register_wd")):
            if row["text"] == '{"cmd": "all"}':
                ours = await client.all()
                [real] = map(objects, frames)
                break
            await client.send(row["text"])
            assert [exact(await client.receive()) for _ in frames] == [exact(frame) for frame in frames]
            assert await client.settled() == [], row["text"]
    unlike = {"1wdevice", "modbus_slave"}  # measurements
    earlier = {("do", "1_02"), ("temp", "2867C6697351FF68")}  # marked by the recordings before
    for item in real:
        if item["dev"] in unlike or key(item) in earlier:
            continue
        if item["dev"] == "register" and item["circuit"] != "1_5":
            continue
        assert json.dumps(ours[key(item)]) == json.dumps(item)
    assert ours["temp", "2867C6697351FF68"]["interval"] == 5


@pytest.mark.asyncio
async def test_02_inputs() -> None:
    """One change, several in one scan, a pulse shorter than a scan, an extension."""
    frames = [exact(row["text"]) for row in recorded("02_di_events") if row["dir"] == "rx"]
    async with evok() as (simulator, _, client):
        circuits = [["1_01"], ["1_01"], ["1_01", "1_02", "1_03"], ["1_01", "1_02", "1_03"]]
        for turn, level in zip(circuits, [1, 0, 1, 0], strict=True):
            for circuit in turn:
                simulator.set_input(circuit, level)
            assert exact(await client.receive()) == frames.pop(0)
        simulator.pulse("1_04")
        assert exact(await client.receive()) == frames.pop(0)
        for level in (1, 0):
            simulator.set_input("xS51_02", level)
            assert exact(await client.receive()) == frames.pop(0)
        assert (frames, await client.settled()) == ([], [])


@pytest.mark.asyncio
async def test_05_nan_floods_and_infinity_does_not() -> None:
    nan, *_ = [row["text"] for row in recorded("05_modes") if row["dir"] == "rx" and "NaN" in row["text"]]
    infinity, back = (row["text"] for row in recorded("05_modes")[-3:-1])
    async with evok() as (simulator, _, client):
        simulator.set_input("2_02", math.nan, "ai")
        assert [await client.receive() for _ in range(20)] == [nan] * 20
        simulator.set_input("2_02", math.inf, "ai")
        assert set(await client.settled()) <= {nan, infinity}
        assert await client.settled() == []
        simulator.set_input("2_02", 1.5, "ai")
        assert await client.receive() == back


@pytest.mark.asyncio
async def test_08_data_points_with_float32_artefacts_and_nan_as_text() -> None:
    frames = [row["text"] for row in recorded("08_alias_register_wd") if '"data_point"' in row["text"][:30]]
    async with evok() as (simulator, _, client):
        for value, frame in zip((23.5, math.nan, 22.4), frames[-3:], strict=True):
            simulator.set_input("IAQ_0", value, "data_point")
            assert await client.receive() == frame
        assert await client.settled() == []


def changed(simulator: EvokSimulator, level: int) -> None:
    """What the recorded test changed after every filter command."""
    simulator.set_input("1_01", level)
    for item in simulator.program.items.values():
        if isinstance(item, Relay | Watchdog) and key(item.shape()) in {("ro", "2_01"), ("wd", "1_01")}:
            item.level = level


@pytest.mark.asyncio
async def test_07_filters_pass_what_they_passed() -> None:
    rows = recorded("07_filter")
    marks = [n for n, row in enumerate(rows) if '"filter"' in row.get("text", "")] + [len(rows)]
    async with evok() as (simulator, _, client):
        for start, end in pairwise(marks[:-3]):
            await client.send(rows[start]["text"])
            await client.fence()
            passed = []
            for level in (1, 0):
                changed(simulator, level)
                passed += [item["dev"] for item in await client.events()]
            real = [item["dev"] for row in rows[start:end] if row["dir"] == "rx" for item in objects(row["text"])]
            assert sorted(map(str, passed)) == sorted(map(str, real)), rows[start]["text"]
        assert len(await client.all()) == 154  # whatever the filter


@pytest.mark.parametrize(
    ("filters", "passed"),
    [
        ([["ao"], ["default"]], []),
        ([["ao"], ["default", "di"]], ["di", "ro", "wd"]),
        ([["di", "default"]], ["di"]),
        ([["di"], ["all"], "ro", None], ["di"]),
    ],
)
@pytest.mark.asyncio
async def test_23_the_way_back_to_default(filters: list[object], passed: list[str]) -> None:
    async with evok() as (simulator, _, client):
        for devices in filters:
            await client.send({"cmd": "filter", "devices": devices})
        await client.fence()
        changed(simulator, 1)
        assert sorted(str(item["dev"]) for item in await client.events()) == passed


@pytest.mark.asyncio
async def test_17_all_filtered() -> None:
    real, empty = (objects(row["text"]) for row in recorded("17_all_filtered") if row["dir"] == "rx")
    async with evok(all_filtered=True) as (_, _, client):
        await client.send({"cmd": "all"})
        ours = objects(await client.receive())
        assert [item["dev"] for item in ours] == [item["dev"] for item in real]
        assert {key(item) for item in ours} == {key(item) for item in real}
        await client.send({"cmd": "filter", "devices": ["di"]})
        await client.send({"cmd": "all"})
        assert objects(await client.receive()) == empty == []


@pytest.mark.asyncio
async def test_20_one_wire_events_stand_bare_under_the_default_filter() -> None:
    rows = [row["text"] for row in recorded("20_onewire") if row["dir"] == "rx"]
    async with evok(one_wire_interval=0.05) as (simulator, _, client):
        frames = [json.loads(await client.receive()) for _ in range(3)]
        assert all(list(frame) == list(json.loads(rows[0])) for frame in frames)
        seen = (await client.all())["temp", "2867C6697351FF68"]
        assert frames[0]["time"] == 0  # an event has the time of the read before, `all` that of the last one
        assert frames[1]["time"] < frames[2]["time"] < float(str(seen["time"]))
        assert (await client.all())["1wdevice", "264AEC29CDBAABEA"]["humidity"] is not None  # never pushed
        await client.send({"cmd": "filter", "devices": ["temp"]})
        await client.fence()
        await client.settled()
        assert isinstance(json.loads(await client.receive()), list)
        simulator.owserver(dead=True)
        await client.settled()
        frozen = (await client.all())["temp", "2867C6697351FF68"]
        assert frozen["lost"] is False
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.socket.recv(), 0.2)
        assert (await client.all())["temp", "2867C6697351FF68"] == frozen


# --- order, cache, transport ---


@pytest.mark.asyncio
async def test_22_a_pong_comes_after_the_set_and_all_after_it_shows_the_old_value() -> None:
    async with evok() as (simulator, _, client):
        output, unit = simulator.program.items["do", "1_01"], simulator.program.units["1"]
        for turn in range(20):
            scans, level = unit.scans, (turn + 1) % 2
            await client.send({"cmd": "set", "dev": "do", "circuit": "1_01", "value": level})
            await client.fence()
            assert output.live() == level
            await client.send({"cmd": "all"})
            shown = None
            while shown is None:
                items = objects(await client.receive())
                shown = next((i for i in items if key(i) == ("do", "1_01") and len(items) > 5), None)
            if unit.scans == scans:
                assert shown["value"] == 1 - level
            await client.settled()


@pytest.mark.asyncio
async def test_on_and_off_within_a_scan_is_silence_but_both_are_executed() -> None:
    async with evok() as (simulator, _, client):
        simulator.program.units["1"].period = 0.1
        await client.fence()
        await client.send({"cmd": "set", "dev": "do", "circuit": "1_01", "value": 1})
        await client.send({"cmd": "set", "dev": "do", "circuit": "1_01", "value": 0})
        await client.fence()
        assert await client.events() == []
        executed = simulator.program.executed[simulator.program.items["do", "1_01"]]
        assert [entry["wish"] for entry in executed.recent] == [{"value": 1}, {"value": 0}]
        assert json.loads(json.dumps(simulator.state()))["executed"]["do/1_01"]["count"] == 2


@pytest.mark.asyncio
async def test_paths_headers_and_limits() -> None:
    async with evok() as (_, server, client):
        response = client.socket.response
        assert response is not None
        assert response.headers["Server"] == "TornadoServer/6.3.3"
        assert "Sec-WebSocket-Extensions" not in response.headers
        for path in ("/ws/", "/ws?x=1"):
            async with connect(server.url + path, origin="http://evil.example"):  # type: ignore[arg-type]
                pass
        with pytest.raises(InvalidStatus) as caught:
            await connect(server.url + "/websocket")
        assert caught.value.response.status_code == 404
        await client.send(" " * (9 * 2**20))
        await client.fence()
        greedy = await connect(server.url + "/ws")
        await greedy.send(" " * (11 * 2**20))
        await asyncio.wait_for(greedy.wait_closed(), PATIENCE)
        assert greedy.close_code == 1009


@pytest.mark.asyncio
async def test_everybody_gets_events_and_one_message_per_unit_and_scan() -> None:
    async with (
        evok(busy=True, rate=50) as (_, server, client),
        connect(server.url + "/ws", max_queue=None) as other,
    ):
        sizes: dict[str, list[int]] = {"1": [], "2": []}
        for _ in range(40):
            items = objects(await client.receive())
            names = {str(item["circuit"])[0] for item in items}
            assert len(names) == 1
            sizes[names.pop()].append(len(items))
        assert set(sizes["1"]) <= {12, 13}  # 4 do, 4 di, 4 led, now and then an ai
        assert set(sizes["2"]) <= {9, 13}
        assert len(objects(await other.recv())) >= 9


@pytest.mark.asyncio
async def test_http_beside_the_socket_for_reading_and_for_faults() -> None:
    async with evok() as (_, server, client):
        assert await http(server, "/version") == (200, "v2.5.8")
        status, body = await http(server, "/rest/all")
        assert (status, len(json.loads(body))) == (200, 152)  # without run and nv_save
        assert await http(server, "/ws") == (400, 'Can "Upgrade" only to "WebSocket".')
        assert (await http(server, "/"))[0] == 404
        assert (await http(server, "/_fault/set_input?dev=ai&circuit=2_02&value=nan"))[0] == 200
        assert '"value": NaN' in await client.receive()
        assert (await http(server, "/_fault/release_input?dev=ai&circuit=2_02"))[0] == 200
        assert await http(server, "/_fault/board_dead?unit=7") == (
            400,
            "board_dead: no unit 7; there are 1, 2, xS51, xS11, IAQ\n",
        )
        state = json.loads((await http(server, "/_state"))[1])
        assert state["connections"] == 1
        assert state["units"]["xS51"]["failure"] is None
        assert state["values"]["do/1_01"] == 0


# --- failures ---


@pytest.mark.asyncio
async def test_lost_sensors_are_pushed_one_by_one() -> None:
    async with evok() as (simulator, _, client):
        simulator.sensor_lost()
        lost = [json.loads(await client.receive()) for _ in range(2)]
        assert [(item["dev"], item["lost"]) for item in lost] == [("temp", True), ("1wdevice", True)]


@pytest.mark.parametrize("how", ["refused", "hanging", "exception"])
@pytest.mark.asyncio
async def test_10_a_dead_unit_blocks_its_connection_and_nothing_else(how: str) -> None:
    async with evok() as (simulator, _, client):
        blocking = 0.0 if how == "exception" else 0.3
        simulator.board_dead("xS51", how, blocking)  # type: ignore[arg-type]
        simulator.set_input("xS51_02", 1)
        clock = asyncio.get_running_loop().time
        start = clock()
        await client.send({"cmd": "set", "dev": "ro", "circuit": "xS51_01", "value": 1})
        await client.send({"cmd": "set", "dev": "do", "circuit": "1_01", "value": 1})
        if blocking:
            simulator.set_input("1_04", 1)
            assert [key(item) for item in objects(await client.receive())] == [("di", "1_04")]
            assert clock() - start < blocking  # events go on
        await client.fence()
        assert clock() - start >= blocking
        assert [key(item) for item in await client.events()] == [("do", "1_01")]
        everything = await client.all()
        last = {circuit: item["last_comm"] for (dev, circuit), item in everything.items() if dev == "modbus_slave"}
        assert float(str(last["xS51"])) >= blocking > float(str(last["1"])) or how == "exception"
        assert everything["di", "xS51_02"]["value"] == 0  # frozen
        assert (float(str(last["xS11"])) >= 0.3) == (how != "exception")  # the bus shares it
        simulator.board_back("xS51", at_once=True)
        [event] = objects(await client.receive())
        assert (key(event), event["value"]) == (("di", "xS51_02"), 1)  # only what changed; the set is lost
        assert simulator.program.items["ro", "xS51_01"].live() == 0


@pytest.mark.asyncio
async def test_a_unit_returns_late() -> None:
    """The pause between attempts doubles, so a short outage is noticed late."""
    async with evok() as (simulator, _, client):
        simulator.board_dead("xS51", "exception")
        unit, clock = simulator.program.units["xS51"], asyncio.get_running_loop().time
        start, scans = clock(), unit.scans
        await until(lambda: clock() - start > 0.2, client)
        simulator.board_back()
        await until(lambda: unit.scans > scans, client)
        assert clock() - start > 0.01 + 0.02 + 0.04 + 0.08 + 0.16


@pytest.mark.asyncio
async def test_a_lost_serial_line_executes_old_commands_in_a_burst() -> None:
    async with evok() as (simulator, _, client):
        simulator.board_dead("xS51", "serial")
        for level in (1, 0, 1):
            await client.send({"cmd": "set", "dev": "ro", "circuit": "xS51_01", "value": level})
        pong = await client.socket.ping()
        done, _ = await asyncio.wait([asyncio.ensure_future(pong)], timeout=0.2)
        assert not done
        simulator.board_back()
        await client.fence()
        assert simulator.program.executed[simulator.program.items["ro", "xS51_01"]].count == 3


@pytest.mark.asyncio
async def test_18_units_away_at_the_start_do_not_exist() -> None:
    async with evok(absent="xS51,xS11") as (simulator, _, client):
        everything = await client.all()
        assert len(everything) == 80
        assert float(str(everything["modbus_slave", "xS51"]["last_comm"])) > 1.7e9
        assert ("device_info", "xS51") in everything
        await client.send({"cmd": "set", "dev": "ro", "circuit": "xS51_01", "value": 1})
        await client.fence()
        assert simulator.program.items["ro", "xS51_01"].live() == 0


@pytest.mark.asyncio
async def test_18_19_the_start_up_second() -> None:
    """Refused; then 11 objects, 153 of which 59 have no value, 154; who listens gets everything in few frames."""
    async with evok() as (simulator, server, client):
        simulator.restart(down=0.1, step=0.3)
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert client.socket.close_code == 1006
        with pytest.raises(ConnectionRefusedError):
            await connect(server.url + "/ws")
        async with asyncio.timeout(PATIENCE):
            while True:  # until it listens again
                try:
                    socket = await connect(server.url + "/ws")
                    break
                except ConnectionRefusedError:
                    continue
        early = Client(socket, simulator)
        await early.send({"cmd": "all"})
        first = objects(await early.receive())
        assert sorted({str(item["dev"]) for item in first}) == ["device_info", "modbus_slave", "owbus", "run"]
        assert len(first) == 11
        assert all(float(str(i["last_comm"])) > 1.7e9 for i in first if i["dev"] == "modbus_slave")
        pushed = [key(item) for _ in range(4) for item in objects(await early.receive())]
        assert len(pushed) == len(set(pushed)) == 23 + 4 + 24 + 9 + 9 + 7 + 4
        second = await early.all()
        assert len(second) == 153
        assert sum("value" in item and item["value"] is None for item in second.values()) == 59
        assert {item["dev"] for item in objects(await early.receive())} == {"data_point"}
        assert len(await early.all()) == 154
        await socket.close()


# --- any input, Evok 2, and the world ---


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Toggle", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
QUIET = Program(units(50, 10, is_old=False), 60, all_filtered=False, is_old=False)


@given(item=st.sampled_from(list(QUIET.items.values())), data=st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_is_set_evok_lives(item: Item, data: st.DataObject) -> None:
    names = st.sampled_from([*item.keywords, "alias"])
    fields = data.draw(st.dictionaries(names, ANYTHING, max_size=3))

    async def go() -> None:
        await QUIET.set(item.dev, item.circuit, fields)
        await QUIET.set(item.dev, item.circuit, {"value": fields})

    asyncio.run(go())
    item.read()
    json.dumps(QUIET.shape(item))


@pytest.mark.asyncio
async def test_evok_2_names_and_shapes() -> None:
    async with evok(version=2) as (simulator, _, client):
        await client.send({"cmd": "all"})
        everything = {key(item): item for item in objects(await client.receive())}
        devs = {dev for dev, _ in everything}
        assert {"input", "relay", "unit_register", "neuron"} <= devs
        assert not devs & {"di", "do", "ro", "data_point", "modbus_slave"}
        assert all("glob_dev_id" in item for item in everything.values())
        assert everything["relay", "1_01"]["relay_type"] == "digital"
        assert everything["relay", "UART_1_1_05"]["relay_type"] == "physical"
        assert everything["ai", "2_01"]["modes"] == [
            "Disabled", "Voltage10", "Voltage2V5", "Current20m", "Resistance3W", "Resistance2W",
        ]  # fmt: skip
        assert everything["ai", "2_01"]["range"] == "10.0"
        pulse = {"cmd": "set", "dev": "relay", "circuit": "2_01", "value": {"value": 1, "timeout": "0.05"}}
        await client.send(pulse)
        values = [objects(await client.receive())[0]["value"] for _ in range(2)]
        assert values == [1, 0]
        await client.send({"cmd": "full", "dev": "input", "circuit": "1_01"})
        assert json.loads(await client.receive())["dev"] == "input"
        await client.send({"cmd": "filter", "devices": ["input"]})
        await client.fence()
        changed(simulator, 1)
        assert [item["dev"] for item in await client.events()] == ["input"]


def world() -> tuple[Program, Plant]:
    program = Program(units(50, 10, is_old=False), 60, all_filtered=False, is_old=False)
    return program, Plant(program.items, day=3600, seed=7, now=0.0)


def test_the_world_moves_and_answers() -> None:
    program, plant = world()
    door, meter, lag = (program.items[name] for name in [("di", "1_01"), ("di", "1_02"), ("ai", "2_01")])
    program.items["ao", "2_01"].write({"value": 8})
    seen = []
    for tenth in range(0, 600):
        plant.advance(tenth / 10)
        seen.append(lag.live())
    assert float(str(door.fields()["counter"])) == 0  # nobody has scanned yet
    for item in (door, meter):
        item.read()
    assert int(str(door.fields()["counter"])) >= 1
    assert 15 <= int(str(meter.fields()["counter"])) <= 25
    assert abs(float(str(seen[20])) - 8 * (1 - math.exp(-1))) < 0.3  # one time constant
    assert abs(float(str(seen[-1])) - 8) < 0.05


def test_relays_are_seen_by_inputs_and_heat_the_room() -> None:
    program, plant = world()
    cold, warm = world()[1], plant
    for circuit in ("2_02", "2_03"):
        program.items["ro", circuit].write({"value": 1})
    for second in range(0, 120):
        cold.advance(float(second))
        warm.advance(float(second))
    assert program.items["di", "2_01"].live() == 1
    assert warm.celsius() > cold.celsius() + 2


@pytest.mark.asyncio
async def test_a_lively_simulator_has_something_to_say() -> None:
    async with evok(lively=True) as (_, _, client):
        heard: set[tuple[object, object]] = set()
        async with asyncio.timeout(PATIENCE):
            while not heard >= {("ai", "1_01"), ("ai", "2_04"), ("di", "1_02"), ("data_point", "IAQ_84")}:
                heard |= {key(item) for item in objects(await client.receive())}
