"""The OST simulator against recordings of the real server: same frames, order and silences; and its life."""

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from bridge.cli.main import main
from bridge.simulators.ost import OstSimulator
from bridge.simulators.ost.declare import number, whole
from bridge.simulators.ost.grants import Grants
from bridge.simulators.ost.pictures import BLOCKS, jpeg
from bridge.simulators.ost.requests import ADDRESSED, FREE, SERVER, Misunderstood, parsed
from bridge.simulators.ost.stage import Script, Stage
from bridge.simulators.ost.values import NotTaken, coerced
from bridge.simulators.server import Server, serve

DATA = Path(__file__).parents[1] / "data" / "ost"
PATIENCE = 10.0
FENCE = '{"xx":{}}'
Tree: TypeAlias = dict[str, Any]  # JSON, walked through freely


def still(**options: object) -> OstSimulator:
    """An observatory in which nothing happens by itself, and a run hardly advances."""
    return OstSimulator(alive=False, pace=1e-6, **options)  # type: ignore[arg-type]


def sv(module: str, prop: str, element: str, value: object, command: str = "SV") -> str:
    return json.dumps({command: {"m": {module: {"p": {prop: {"e": {element: value}}}}}}})


class Client:
    """A client that can tell silence from not yet: everything direct comes before the answer to an XX."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def receive(self) -> str:
        return str(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    async def ask(self, *messages: str | bytes) -> list[str]:
        """What came until all of these were handled."""
        for message in messages:
            await self.socket.send(message)
        await self.socket.send('{"XX":{}}')
        owed = 1 + sum(isinstance(m, str) and "".join(m.split()) == '{"XX":{}}' for m in messages)
        frames: list[str] = []
        while owed:
            frames.append(await self.receive())
            owed -= frames[-1] == FENCE
        return frames[:-1]

    async def dump(self) -> Tree:
        frames = await self.ask('{"DU":{}}')
        dump: Tree = next(json.loads(frame)["d"] for frame in frames if frame.startswith('{"d"'))
        return dump

    async def until(self, wanted: Callable[[str], bool]) -> str:
        async with asyncio.timeout(PATIENCE):
            while not wanted(frame := await self.receive()):
                pass
        return frame


@asynccontextmanager
async def connected(url: str, address: str = "127.0.0.1") -> AsyncIterator[Client]:
    async with connect(url, max_size=None, max_queue=None, local_addr=(address, 0)) as socket:
        await (await socket.ping())  # it is known to the simulator now
        yield Client(socket)


@asynccontextmanager
async def one(simulator: OstSimulator) -> AsyncIterator[tuple[Client, Server]]:
    async with serve(simulator) as server, connected(server.url) as client:
        yield client, server


def ost(server: Server) -> OstSimulator:
    assert isinstance(server.simulator, OstSimulator)
    return server.simulator


# --- recordings --------------------------------------------------------------------------------------------------


def recorded(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def batches(rows: list[dict[str, str]]) -> Iterator[tuple[str, list[str | bytes], dict[str, list[str]]]]:
    """Connection, its event or requests in a row, and what each connection then received."""
    sent: list[str | bytes] = []
    received: dict[str, list[str]] = {}
    asker = ""
    for row in rows:
        if row["dir"] == "<":
            received.setdefault(row["conn"], []).append(row["raw"])
            continue
        if sent and (received or row["dir"] == "!" or row["conn"] != asker):
            yield asker, sent, received
            sent, received = [], {}
        asker = row["conn"]
        if row["dir"] == "!":
            received = {}
            yield asker, [row["raw"]], {}
        else:
            sent.append(bytes.fromhex(row["hex"]) if "hex" in row else row["raw"])
    if sent:
        yield asker, sent, received


def shape(frame: object) -> object:
    """Keys in their order and kinds of values; of a log entry also who says it, and its level."""
    match frame:
        case {"d": dict()}:
            return "d"
        case {"aa-dump all data": dict()}:
            return "aa"
        case {"l": {"c": origin, "l": level, **rest}}:
            return ["l", origin, level, sorted(rest)]
        case dict():
            return [[key, shape(value)] for key, value in frame.items()]
        case list():
            return "list"
        case bool() | None:
            return frame
        case int() | float():
            return "number"
    return type(frame).__name__


async def replayed(name: str, simulator: OstSimulator) -> None:
    """Say what the recorded clients said; compare with what they were answered."""
    clients: dict[str, Client] = {}
    async with serve(simulator) as server, AsyncExitStack() as stack:
        for conn, sent, received in batches(recorded(name)):
            if sent == ["connected"]:
                clients[conn] = await stack.enter_async_context(connected(server.url))
            elif sent == ["closed"]:
                await clients.pop(conn).socket.close()
                while clients and len(simulator.wire.clients) > len(clients):
                    for other in clients.values():
                        await (await other.socket.ping())
            else:
                got = {conn: await clients[conn].ask(*sent)}
                got |= {key: await client.ask() for key, client in clients.items() if key != conn}
                for key, frames in got.items():
                    expected = [shape(json.loads(raw)) for raw in received.get(key, [])]
                    assert [shape(json.loads(raw)) for raw in frames] == expected, (key, sent)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "grant"),
    [
        ("errors", "0"),
        ("values", "0"),
        ("grids", "0"),
        ("same_address", "0"),
        ("grant1", "1"),
        ("grant2", "2"),
        ("no_grant", "none"),
        ("barrier", "0"),
        ("focus_start", "0"),
        ("focus_abort", "0"),
    ],
)
async def test_it_answers_what_the_real_server_answered(name: str, grant: str) -> None:
    await replayed(name, still(grant=grant))


def skeleton(value: object) -> object:
    """All keys, in order, at all levels where keys are names of the protocol; kinds of the rest."""
    match value:
        case dict():
            return {key: skeleton(inner) for key, inner in value.items()}
        case list():
            return [skeleton(value[0])] if value and isinstance(value[0], dict) else "list"
    return shape(value) if not isinstance(value, bool) else "bool"


@pytest.mark.asyncio
async def test_the_dump_has_the_structure_of_a_real_one() -> None:
    real = json.loads((DATA / "dump.json").read_text())["d"]
    async with one(still()) as (client, _):
        made = await client.dump()
        (frame,) = [frame for frame in await client.ask('{"DU":{}}') if frame.startswith('{"d"')]
    compact = json.dumps(json.loads(frame), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert len(compact) == len(frame)
    assert list(made) == list(real)
    for part in ("controllerdata", "files"):
        assert list(made[part]) == list(real[part])
    assert skeleton(made["logs"][:1]) == skeleton(real["logs"])
    assert set(real["lovs"]) == set(made["lovs"])
    for key, module in real["m"].items():
        assert list(made["m"][key]) == list(module)
        for prop, held in module["p"].items():
            alike = made["m"][key]["p"][prop]
            assert list(alike) == list(held), (key, prop)
            for element in held["e"].keys() & alike["e"].keys():
                real_element, made_element = held["e"][element], alike["e"][element]
                assert made_element["type"] == real_element["type"]
                icons = {"preicon", "posticon"}  # only some have them
                assert set(made_element) - icons == set(real_element) - icons, (key, prop, element)
                assert made_element["autoupdate"] == real_element["autoupdate"], (key, prop, element)
    assert set(real["m"]["MyFocuser"]["infos"]) == set(made["m"]["MyFocuser"]["infos"])


# --- text, values, grants ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['say "hi"', "{abc", "abc}"])
def test_three_characters_break_a_frame_unless_they_are_escaped(text: str) -> None:
    frame = json.dumps(json.loads(sv("MyDummy", "extextRW", "extext1", text)))
    with pytest.raises(Misunderstood) as refused:
        parsed(frame)
    assert refused.value.origin == "WS"
    inside = "".join(f"\\u{ord(c):04x}" if c in '"{}' else c for c in text)
    _, body = parsed(sv("MyDummy", "extextRW", "extext1", "TEXT").replace("TEXT", inside))
    assert body["m"]["MyDummy"]["p"]["extextRW"]["e"]["extext1"] == text  # type: ignore[index]


def test_a_text_that_is_json_becomes_json() -> None:
    _, body = parsed(sv("MyDummy", "extextRW", "extext1", '{"k":"v"}'))
    assert body["m"]["MyDummy"]["p"]["extextRW"]["e"]["extext1"] == {"k": "v"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("int", "abc", 0),
        ("int", "1600", 1600),
        ("int", 12.7, 13),
        ("int", True, 1),
        ("float", "1.5", 1.5),
        ("bool", "off", True),
        ("bool", "false", False),
        ("bool", 1, True),
        ("string", 5, "5"),
        ("date", {"year": 2026, "month": 2, "day": 30}, {"day": 0, "month": 0, "year": 0}),
        ("date", "2026-02-28", {"day": 0, "month": 0, "year": 0}),
        ("date", {"year": 2026, "month": 2, "day": 28}, {"day": 28, "month": 2, "year": 2026}),
        ("time", {"hh": 1, "mm": 2, "ss": 3}, {"hh": 1, "mm": 2, "ss": 3}),
    ],
)
def test_values_are_coerced(kind: str, value: object, stored: object) -> None:
    assert coerced(kind, value) == stored


@pytest.mark.parametrize("value", [None, {"value": 3}, [3]])
def test_only_these_are_refused_for_numbers(value: object) -> None:
    for kind in ("int", "float"):
        with pytest.raises(NotTaken) as refused:
            coerced(kind, value)
        assert refused.value.level == 3


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_limits_are_enforced_except_that_two_zeros_are_none(value: float) -> None:
    assert number("free").taken(value) == value
    limited = whole("limited", 1, 1, 64)
    if 0.5 <= value < 64.5:
        assert 1 <= int(str(limited.taken(value))) <= 64
    else:
        with pytest.raises(NotTaken):
            limited.taken(value)


class Quiet:
    """A client without a socket."""

    remote = "::1"

    def __init__(self) -> None:
        self.frames: list[str] = []

    def send(self, message: str) -> None:
        message.encode()
        self.frames.append(message)


KEYS = st.sampled_from([*sorted(FREE | ADDRESSED | SERVER), "ZZ"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMED = {"name": ANYTHING, "lib": ANYTHING, "folder": ANYTHING, "driver": ANYTHING}
PLACES = [
    (module, prop, element)
    for module, held in still(modules="Focuser,Sequencer,Dummy").observatory.modules.items()
    for prop, values in held.properties.items()
    for element in (*values.elements, "nope")
]


@st.composite
def addressed(draw: st.DrawFn) -> Tree:
    """A command for an element that there is (mostly), with any value; grids get their whole line."""
    module, prop, element = draw(st.sampled_from(PLACES))
    elements = {element: draw(ANYTHING)}
    if draw(st.booleans()):
        elements |= {name: draw(ANYTHING) for of, at, name in PLACES if (of, at) == (module, prop)}
    return {draw(KEYS): {"m": {module: {"p": {prop: {"e": elements, "i": draw(st.integers(-1, 2) | ANYTHING)}}}}}}


COMMANDS = addressed() | st.dictionaries(
    KEYS, st.fixed_dictionaries({}, optional={**NAMED, "m": ANYTHING}) | ANYTHING, min_size=1, max_size=1
)


@given(st.lists(COMMANDS, max_size=8), st.text(max_size=10))
@settings(max_examples=60, deadline=None)
def test_nothing_that_a_client_says_is_a_mistake_of_the_simulator(messages: list[Tree], text: str) -> None:
    simulator = still(modules="Focuser,Sequencer,Dummy")
    client = Quiet()
    simulator.clients.joined(client)
    for message in [*map(json.dumps, messages), text]:
        simulator.clients.obey(simulator.observatory, client, message)
        simulator.clients.obey(simulator.observatory, client, '{"XX":{}}')
        assert client.frames[-1] == FENCE
    for frame in client.frames:
        json.loads(frame)


@given(st.lists(st.sampled_from(["connect", "leave", "admin", "guest", "wrong"]), max_size=12))
def test_an_address_has_one_grant_whatever_its_connections_do(steps: list[str]) -> None:
    grants, expected = Grants("1"), ""
    for step in steps:
        match step:
            case "connect":
                grants.connected("::1")
                expected = "0"
            case "leave":
                grants.left("::1")
                expected = ""
            case "admin" | "guest":
                assert grants.logged_in("::1", step.upper(), step)
                expected = "1" if step == "admin" else "0"
            case "wrong":
                assert not grants.logged_in("::1", "admin", "admin")
                expected = "-1"
        assert grants.of("::1") == expected


@pytest.mark.asyncio
async def test_another_address_keeps_its_grant() -> None:
    async with one(still()) as (client, server):
        async with connected(server.url, "127.0.0.2"):
            pass
        assert '"ea"' in (await client.ask(sv("MyFocuser", "parameters", "steps", 5)))[0]
        ost(server).lose_grant("127.0.0.1")
        (refusal,) = await client.ask(sv("MyFocuser", "parameters", "steps", 6))
        assert json.loads(refusal)["l"]["c"] == "WS"


@pytest.mark.asyncio
async def test_who_is_not_logged_in_hears_the_others() -> None:
    async with one(still(grant="2")) as (client, server), connected(server.url, "127.0.0.2") as stranger:
        await client.ask('{"LO":{"user":"ADMIN","pw":"admin"}}', sv("MyFocuser", "parameters", "steps", 5))
        assert [frame[:5] for frame in await stranger.ask()] == ['{"ea"', '{"fc-']
        assert await stranger.dump() == {"grant-client": "-1", "grant-server": "2"}


# --- sets and their record ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_only_executed_sets_are_counted() -> None:
    simulator = still()
    async with one(simulator) as (client, _):
        await client.ask(
            sv("MyFocuser", "parameters", "steps", 5),
            sv("MyFocuser", "parameters", "zoning", 1000),
            sv("MyPlanner", "planning", "object", "X"),
            sv("MyFocuser", "actions", "autofocus", True),
            sv("MyFocuser", "parameters", "steps", 7),  # disabled now
        )
    state = json.loads(json.dumps(simulator.state()))
    assert state["executions"] == {"MyFocuser/parameters/steps": 1, "MyFocuser/actions/autofocus": 1}
    first = state["executed"][0]
    assert (first["module"], first["property"], first["element"], first["value"]) == (
        "MyFocuser",
        "parameters",
        "steps",
        5,
    )


@pytest.mark.asyncio
async def test_all_is_not_atomic_and_autoupdate_does_not_matter_to_it() -> None:
    async with one(still()) as (client, server):
        ost(server).load_module()
        await client.ask()
        values = {"n1": 500, "n2": 3, "n3": 0.2, "n4": 1, "n5": 1.1, "extra": 1}
        frames = await client.ask(json.dumps({"SA": {"m": {"MyDummy": {"p": {"numbersRW": {"e": values}}}}}}))
        assert [json.loads(frame).get("l", {}).get("l") for frame in frames] == [2, None]
        assert json.loads(frames[1])["ea"]["MyDummy"]["p"]["numbersRW"]["e"]["n2"] == 3


@pytest.mark.asyncio
async def test_a_module_comes_and_goes() -> None:
    async with one(still()) as (client, _):
        (came,) = await client.ask('{"ML":{"lib":"dummy","label":"My Dummy","profile":"default"}}')
        properties = list(json.loads(came)["aa-dump all data"]["MyDummy"]["p"])
        gone = [json.loads(frame) for frame in await client.ask('{"MK":{"name":"MyDummy"}}')]
        assert gone[:-1] == [{"dp-delete/remove property": {"MyDummy": {"p": {key: ""}}}} for key in properties]
        assert gone[-1] == {"dm-delete/remove module": {"MyDummy": {}}}


@pytest.mark.asyncio
async def test_a_profile_is_loaded_element_by_element() -> None:
    async with one(still()) as (client, _):
        await client.ask('{"ML":{"lib":"dummy","label":"My Dummy","profile":"default"}}')
        saved = await client.ask('{"PS":{"m":{"MyDummy":{"profile":"test1"}}}}')
        assert '{"lc-lov create":{"MyDummy":{"l":{"":' in saved[0]
        assert saved[-2].startswith('{"fs-profile saved"')
        await client.ask(sv("MyDummy", "mixedRW", "n1", 77))
        loaded = await client.ask('{"PL":{"m":{"MyDummy":{"profile":"test1"}}}}')
        roots = [min(json.loads(frame)) for frame in loaded]
        assert roots[-2:] == ["fl-profile loaded", "l"]
        assert {"ea", "gr-grid reset", "gc-grid new line "} <= set(roots)
        numbers = [frame for frame in loaded if "mixedRW" in frame]
        assert len(numbers) == 8
        assert '"n1":10' in numbers[-1]


@pytest.mark.asyncio
async def test_a_full_grid_loses_its_first_line() -> None:
    simulator = still()
    async with one(simulator) as (client, _):
        datastore = simulator.observatory.modules["GlobalDatastore"]
        datastore.grid("servers").limit = 1
        line = {"host": "h", "name": "n", "port": 1}
        command = json.dumps({"GC": {"m": {"GlobalDatastore": {"p": {"servers": {"e": line}}}}}})
        roots = [min(json.loads(frame)) for frame in await client.ask(command)]
    assert roots.index("gd-grid delete line") + 1 == roots.index("gc-grid new line ")
    assert datastore.grid("servers").rows == [["h", "n", 1]]


@pytest.mark.asyncio
async def test_only_the_dump_is_translated_for_its_client() -> None:
    async with one(still()) as (client, server), connected(server.url, "127.0.0.2") as other:
        await client.ask('{"IL":{"language":"fr"}}')
        french, english = await client.dump(), await other.dump()
        assert french["m"]["MyFocuser"]["p"]["parameters"]["label"] == "Paramètres de mise au point"
        assert english["m"]["MyFocuser"]["p"]["parameters"]["label"] == "Focus parameters"


@pytest.mark.asyncio
async def test_a_stopped_driver_rebuilds_every_list_and_deletes_its_properties() -> None:
    async with one(OstSimulator(pace=20, modules="Focuser")) as (client, _):
        await client.ask('{"ML":{"lib":"indipanel","label":"My Panel","profile":"default"}}')
        await client.until(lambda frame: "Weather Simulator" in frame and frame.startswith('{"ap-'))
        frames = await client.ask('{"YS":{"driver":"indi_simulator_ccd"}}')
        assert any("CCD SimulatorCCD_COOLER" in frame and frame.startswith('{"dp-') for frame in frames)
        assert sum(frame.startswith('{"lc-') for frame in frames) > 20


@pytest.mark.asyncio
async def test_a_badge_comes_as_a_module_with_one_property_and_no_lists() -> None:
    async with one(still()) as (client, server):
        ost(server).badge("MyFocuser", "values")
        (frame,) = await client.ask()
        module = json.loads(frame)["aa-dump all data"]["MyFocuser"]
        assert list(module) == ["p"]
        assert [(key, prop["badge"]) for key, prop in module["p"].items()] == [("values", True)]


@pytest.mark.asyncio
async def test_rescanned_devices_are_listed_anew() -> None:
    async with one(still()) as (client, _):
        frames = [json.loads(frame) for frame in await client.ask(sv("MyFocuser", "devices", "camera", {}, "J2"))]
        lists = [frame["lc-lov create"]["MyFocuser"]["l"] for frame in frames]
        cameras = [
            one["DRIVER_INTERFACE-CCD_INTERFACE"] for one in lists if "DRIVER_INTERFACE-CCD_INTERFACE" in one
        ]
        assert [len(camera.get("values", {})) for camera in cameras] == [0, 1, 2]


@pytest.mark.asyncio
async def test_the_folder_is_shared_and_its_frames_have_two_keys() -> None:
    async with one(still()) as (client, _):
        frames = [json.loads(frame) for frame in await client.ask('{"FS":{"folder":"/../x"}}')]
        assert list(frames[0]) == ["evt", "fileevent"]
        assert (await client.dump())["files"]["selectedfolder"] == "/../x"


# --- its own life ------------------------------------------------------------------------------------------------


def test_scripts_keep_time_and_are_not_resumed_once_closed() -> None:
    stage, ticks = Stage(pace=2), []

    def script(name: str) -> Script:
        for _ in range(3):
            yield 1.0
            ticks.append(name)

    stage.start(script("a"))
    other = stage.start(script("b"))
    stage.advance(0.49)
    assert ticks == []
    stage.advance(0.5)
    other.close()
    stage.advance(1.0)
    stage.advance(9.0)
    assert ticks == ["a", "b", "a", "a"]


@pytest.mark.asyncio
async def test_an_autofocus_runs_to_its_end() -> None:
    async with one(OstSimulator(pace=100, modules="Focuser")) as (client, server):
        frames = await client.ask(sv("MyFocuser", "actions", "autofocus", True))
        assert any('"event":"startfocus"' in frame for frame in frames)
        image = json.loads(await client.until(lambda frame: "urljpeg" in frame))
        name = image["ea"]["MyFocuser"]["p"]["image"]["e"]["image"]["urljpeg"]
        await client.until(lambda frame: '"event":"focusdone"' in frame)
        await client.until(
            lambda f: f == '{"ps-only property state":{"MyFocuser":{"p":{"actions":{"enabled":true,"status":1}}}}}'
        )
        dump = await client.dump()
        held = dump["m"]["MyFocuser"]["p"]
        assert len(held["values"]["grid"]) == 5
        assert held["actions"]["e"]["autofocus"]["value"] is True  # a button, no state
        assert held["parameters"]["enabled"] is True
        body, kind = await asyncio.to_thread(fetched, server, f"/ostmedia/{name.replace(' ', '%20')}")
        assert (body[:2], body[-2:], kind) == (b"\xff\xd8", b"\xff\xd9", "image/jpeg")


@pytest.mark.asyncio
async def test_without_stars_the_property_stays_busy_until_somebody_aborts() -> None:
    async with one(OstSimulator(pace=100, modules="Focuser")) as (client, server):
        ost(server).no_stars()
        await client.ask(sv("MyFocuser", "actions", "autofocus", True))
        await client.until(lambda frame: '"event":"nostars"' in frame)
        assert (await client.dump())["m"]["MyFocuser"]["p"]["actions"]["status"] == 2
        frames = await client.ask(sv("MyFocuser", "actions", "abortfocus", True))
        assert any('"status":1' in frame for frame in frames)
        assert (await client.dump())["m"]["MyFocuser"]["p"]["parameters"]["enabled"] is True


@pytest.mark.asyncio
async def test_a_sequence_focuses_exposes_and_can_be_aborted() -> None:
    async with one(OstSimulator(pace=200, modules="Sequencer,Focuser,Guider")) as (client, _):
        await client.ask(sv("MySequencer", "actions", "startsequence", True))
        await client.until(lambda frame: "folderadd" in frame)
        await client.until(lambda frame: '"MyFocuser":{"p":{"signals"' in frame and '"focusdone"' in frame)
        await client.until(lambda frame: '"sequencedone"' in frame)
        await client.ask(sv("MySequencer", "actions", "startsequence", True))
        frames = await client.ask(sv("MySequencer", "actions", "abortsequence", True))
        assert any('"abortguider":true' in frame for frame in frames)
        assert [min(json.loads(frame)) for frame in frames[-2:]] == ["l", "ps-only property state"]


@pytest.mark.asyncio
async def test_rain_closes_the_roof() -> None:
    async with one(OstSimulator(pace=50, dry=0)) as (client, server):
        await client.ask(sv("MyParkmanager", "actions", "open", True))
        await client.until(lambda frame: '"shutterclosed":false' in frame)
        ost(server).rain()
        await client.until(lambda frame: '"weatherstate":{"e":{"global":3}}' in frame)
        await client.until(lambda frame: '"shutterclosed":true' in frame)


@pytest.mark.asyncio
async def test_guiding_tells_rms_and_ends_when_the_star_is_lost() -> None:
    async with one(OstSimulator(pace=400, modules="Guider")) as (client, server):
        await client.ask(sv("MyGuider", "actions", "guide", True))
        await client.until(lambda frame: '"rmsTotal":0.' in frame or '"rmsTotal":1.' in frame)
        await client.until(lambda frame: frame.startswith('{"gd-grid'))  # the graph is full
        ost(server).guide_loss()
        await client.until(lambda frame: '"status":3' in frame and '"actions"' in frame)


@pytest.mark.asyncio
async def test_the_mount_tells_its_position_again_and_again_and_goes_to_a_target() -> None:
    async with one(OstSimulator(pace=20, modules="Navigator")) as (client, _):
        await client.ask(sv("MyNavigator", "target", "targetra", 3.5), sv("MyNavigator", "target", "targetde", 40))
        await client.ask(sv("MyNavigator", "actions", "gototarget", True))
        await client.until(lambda frame: '"mountposition":{"e":{"DEC":40,"RA":3.5}}' in frame)
        await client.until(lambda frame: '"event":"navigatordone"' in frame)


@pytest.mark.asyncio
async def test_a_grid_that_is_no_autoupdate_takes_no_notice_except_of_the_planner() -> None:
    """Seen with the real server: all-sky's archives stay as they are, and nothing is said."""
    line = {"m": {"MyAllsky": {"p": {"archives": {"e": {"date": "x"}}}}}}
    row = {"dec": 1, "object": "M1", "profile": "default", "ra": 2}
    async with one(still()) as (client, server):
        assert await client.ask(json.dumps({"GC": line}), json.dumps({"GR": line})) == []
        assert ost(server).state()["executed"] == []
        told = await client.ask(json.dumps({"GC": {"m": {"MyPlanner": {"p": {"planning": {"e": row}}}}}}))
        assert any(frame.startswith('{"gc-grid') for frame in told)


@pytest.mark.asyncio
async def test_a_changed_line_changes_the_elements_without_a_word() -> None:
    place = {"i": 0, "e": {"host": "localhost", "name": "local", "port": 7625}}
    async with one(still()) as (client, _):
        told = await client.ask(json.dumps({"GU": {"m": {"GlobalDatastore": {"p": {"servers": place}}}}}))
        assert [frame for frame in told if frame.startswith(('{"ea"', '{"gu'))] == [
            '{"gu-grid update line":{"GlobalDatastore":{"p":{"servers":{"i":0,"values":'
            '{"host":"localhost","name":"local","port":7625}}}}}}'
        ]
        held = (await client.dump())["m"]["GlobalDatastore"]["p"]["servers"]
        assert held["e"]["port"]["value"] == 7625


@pytest.mark.asyncio
async def test_the_roof_stays_closed_when_it_rains() -> None:
    async with one(OstSimulator(pace=50, dry=0)) as (client, server):
        ost(server).rain()
        told = await client.ask(sv("MyParkmanager", "actions", "open", True))
        assert '"l":2,"t":"Weather is not OK, open sequence aborted"' in "".join(told)
        assert '"idle":true' in told[-1]
        await client.ask(sv("MyParkmanager", "actions", "abort", True))
        await client.until(lambda frame: '"abort":true' in frame and '"idle":true' in frame)
        roof = (await client.dump())["m"]["MyParkmanager"]["p"]["domestate"]["e"]["shutterclosed"]
        assert roof["value"] is True


@pytest.mark.asyncio
async def test_the_planner_refuses_what_it_cannot_do_and_ends_what_it_did() -> None:
    start, stop = (sv("MyPlanner", "actions", key, True) for key in ("start", "stop"))
    state = '{"ps-only property state":{"MyPlanner":{"p":{"actions":{"enabled":true,"status":%d}}}}}'
    async with one(still()) as (client, _):
        assert (await client.ask(stop))[-1].startswith('{"ea"')  # nothing runs
        assert any("Starting planner" in frame for frame in await client.ask(start))
        assert any('"l":2,"t":"Operation already running"' in frame for frame in await client.ask(start))
        assert state % 1 in await client.ask(stop)
        await client.ask(json.dumps({"GR": {"m": {"MyPlanner": {"p": {"planning": {}}}}}}))
        refused = await client.ask(start)
        assert any('"l":3,"t":"Planning grid is empty"' in frame for frame in refused)
        assert state % 3 in refused


@pytest.mark.asyncio
async def test_nothing_can_be_started_without_indi() -> None:
    async with one(still()) as (client, server):
        ost(server).observatory.indi_hangs = 0.1  # that it hangs is shown elsewhere
        planner = await client.ask(sv("MyPlanner", "actions", "start", True))
        assert any('"l":3,"t":"INDI server not connected"' in frame for frame in planner)
        sequencer = await client.ask(sv("MySequencer", "actions", "startsequence", True))
        assert any('"event":"deviceerror"' in frame and '"state":3' in frame for frame in sequencer)
        tried = await client.ask(sv("MyGuider", "serveractions", "conserv", True))
        states = [json.loads(frame)["ps-only property state"] for frame in tried if frame.startswith('{"ps')]
        assert [state["MyGuider"]["p"]["serveractions"]["status"] for state in states] == [2, 3]


# --- size, rate and faults ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_dump_can_be_of_any_size() -> None:
    async with one(OstSimulator(elements=2000, modules="Focuser", updates=500)) as (client, _):
        dump = await client.dump()
        count = sum(len(p["e"]) for key, m in dump["m"].items() if key.startswith("Load") for p in m["p"].values())
        assert count == 2000
        assert len(json.dumps(dump)) > 1_000_000
        await client.until(lambda frame: frame.startswith('{"ea":{"Load'))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alive": False, "elements": 5}, "--no-alive goes with neither --elements nor --updates"),
        ({"alive": False, "updates": 5.0}, "--no-alive goes with neither --elements nor --updates"),
        ({"updates": 5.0, "modules": "Focuser"}, "--updates has nothing to change"),
        ({"updates": -1.0}, "cannot be negative"),
        ({"elements": -1}, "cannot be negative"),
        ({"dry": -1.0}, "cannot be negative"),
        ({"pace": 0.0}, "must be above 0"),
        ({"pace": float("nan")}, "must be above 0"),
        ({"modules": "Focuser,Nothing"}, "no module Nothing; there are Allsky"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(options: Tree, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        OstSimulator(**options)


def test_refused_options_are_wrong_use_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "ost", "--no-alive", "--elements", "5"])
    assert ended.value.code == 64
    assert "--no-alive goes with neither --elements nor --updates" in capsys.readouterr().err


@pytest.mark.asyncio
async def test_indi_that_does_not_answer_blocks_the_whole_server() -> None:
    async with one(OstSimulator(modules="Focuser")) as (client, server):
        ost(server).indi_lost(0.3)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.ask()
        assert loop.time() - began > 0.25
        refused = await client.until(lambda frame: "connectIndi" in frame)
        assert json.loads(refused)["l"]["l"] == 3
        ost(server).indi_back()


@pytest.mark.asyncio
async def test_a_restart_drops_everybody_and_may_bring_other_modules() -> None:
    simulator = OstSimulator(modules="Focuser,Allsky")
    async with one(simulator) as (client, server):
        before = await client.dump()
        simulator.restart(down=0.05, modules="Focuser,Planner")
        with pytest.raises(ConnectionClosedError):
            await client.until(lambda _: False)
        await listening(server)
        async with connected(server.url) as again:
            after = await again.dump()
    assert set(after["m"]) == {"GlobalDatastore", "MyFocuser", "MyPlanner"}
    started = [dump["m"]["MyFocuser"]["infos"]["startdatetime"] for dump in (before, after)]
    assert started[0] != started[1]


@pytest.mark.asyncio
async def test_faults_over_http_say_what_is_wrong_with_them() -> None:
    async with one(still()) as (client, server):
        await asyncio.to_thread(
            fetched, server, "/_fault/put?module=MyAllsky&prop=measures&element=clouds&value=nan"
        )
        assert '"clouds":null' in (await client.ask())[0]
        for wrong in ("put?module=Nope&prop=a&element=b&value=1", "property_gone?module=MyAllsky&prop=nope"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                await asyncio.to_thread(fetched, server, f"/_fault/{wrong}")
            assert refused.value.code == 400
            refused.value.close()


@pytest.mark.asyncio
async def test_an_old_server_speaks_another_protocol() -> None:
    async with one(still(old=True)) as (client, _):
        frames = await client.ask('{"DU":{}}')
        assert json.loads(frames[-1])["evt"] == "moduledump"


def test_a_picture_decodes_to_the_blocks_it_was_made_of() -> None:
    data = jpeg(5)
    scan = data[data.index(b"\x3f\0", data.index(b"\xff\xda")) + 2 : -2].replace(b"\xff\0", b"\xff")
    bits = "".join(f"{byte:08b}" for byte in scan)
    values: list[int] = []
    at = before = 0
    while len(values) < BLOCKS * BLOCKS:
        size = int(bits[at : at + 4], 2)
        coded = int(bits[at + 4 : at + 4 + size] or "0", 2)
        before += coded if not size or coded >> (size - 1) else coded - (1 << size) + 1
        values.append(before + 128)
        assert bits[at + 4 + size] == "0"  # end of block
        at += 5 + size
    assert len(bits) - at < 8
    assert min(values) >= 15
    assert max(values) <= 250
    assert jpeg(5) != jpeg(6)


async def listening(server: Server) -> None:
    """Wait until connections are accepted again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(server.host, server.port)
                writer.close()
                return


def fetched(server: Server, path: str) -> tuple[bytes, str]:
    with urllib.request.urlopen(server.url.replace("ws", "http", 1) + path, timeout=PATIENCE) as answer:
        return answer.read(), answer.headers["Content-Type"]
