"""One driver on one connection, against peers of raw frames: what the toy and its instrument do not reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, time
from typing import Any

import pytest
from pydantic import BaseModel

from bridge.commands import Ticket
from bridge.device import Device, Profile
from bridge.driver import Close, Effects, Fence, Frame, Plugin, ProtocolError, Remember, Send, Verdict
from bridge.ends import judge
from bridge.heartbeat import Pings
from bridge.journal import Journal
from bridge.link import State
from bridge.memory import Memory
from bridge.model import Command, Declared, Json, Kind, Outcome, Point, Ready, Reply, Result, Update
from bridge.outbox import Outbox
from bridge.session import SLICE, Session, Tools
from bridge.topics import DeviceTopics
from bridge.websocket import ConnectionLost, HandshakeRefused, Target
from bridge.websocket.long_text import LONG
from tests.websocket_peer import CLOSE, PING, PONG, TEXT, Peer, close_frame, frame, serving

POINTS = Declared(
    (
        Point("level", Kind.SENSOR, "Level"),
        Point("lamp", Kind.SWITCH, "Lamp"),
        Point("stop", Kind.ACTION, "Stop", urgent=True),
    )
)


class Scripted:
    """A driver that does what a test says; `saw` is what it was told."""

    def __init__(self) -> None:
        self.saw: list[str] = []
        self.at_start: Effects = [POINTS, Ready()]
        self.on_frame: Callable[[Frame, float], Effects] = lambda frame, now: ()
        self.on_tick: Callable[[float], Effects] = lambda now: ()
        self.wake_at: float | None = None
        self.busy = False

    def start(self, now: float) -> Effects:
        return self.at_start

    def receive(self, frame: Frame, now: float) -> Effects:
        self.saw.append(str(frame)[:20])
        return self.on_frame(frame, now)

    def submit(self, command: Command, now: float) -> Effects:
        self.saw.append(command.key)
        return [Send(command.key, command.id)]

    def fenced(self, token: str, now: float) -> Effects:
        self.saw.append(f"fence {token}")
        return ()

    def computed(self, token: str, result: object, now: float) -> Effects:
        return ()

    def tick(self, now: float) -> Effects:
        self.saw.append("tick")
        return self.on_tick(now)


class Options(BaseModel):
    pass


class Line:
    """A session with a scripted driver, and what it needs."""

    def __init__(self, url: str, pings: Pings | None = None, disk: asyncio.Future[bool] | None = None) -> None:
        self.driver, self.replies, self.ready = Scripted(), list[Reply](), asyncio.Event()
        self.outbox = Outbox()
        self.device = Device(
            Profile("toy", "test"),
            DeviceTopics("lab2mqtt", "toy"),
            self.outbox,
            self._answer,
            lambda device: self.ready.set(),
        )
        self.store = Memory(Journal.open(None, time()), lambda: disk)
        tools = Tools(self.store, self._no_worker, self._no_result, lambda: None)
        plugin: Any = Plugin(Options, self._make)
        self.session = Session(
            self.device, plugin, Options(), Target(url, open_timeout=5.0), pings or Pings(None, None), tools
        )

    def _make(self, options: Options, memory: Mapping[str, Json], carried: Sequence[Command]) -> Scripted:
        return self.driver

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        self.replies.append(reply)

    def _no_worker(self, call: Callable[..., object], args: tuple[object, ...]) -> asyncio.Future[object]:
        raise NotImplementedError

    async def _no_result(self, device: str, result: Result) -> None:
        raise NotImplementedError

    def ask(self, verb: str, key: str, id_: str) -> None:
        command = Command(id_, key, True if verb == "set" else None)
        self.device.submit(verb, command, None, monotonic(), time())

    async def ended(self) -> Exception:
        async with asyncio.timeout(5):
            with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever ended it is what a test looks at)
                await self.session.run()
        return caught.value

    @contextmanager
    def running(self) -> Iterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.session.run())
        try:
            yield task
        finally:
            task.cancel()


async def farewell(peer: Peer) -> None:
    """Until the client says goodbye; its pings are answered."""
    while (received := await peer.receive()).opcode != CLOSE:
        if received.opcode == PING:
            peer.send(frame(PONG, received.data))
    peer.send(close_frame(1000))


async def greeted(peer: Peer) -> None:
    await peer.accept()
    await farewell(peer)


async def goodbye(peer: Peer, code: int = 1000, reason: str = "") -> None:
    """The peer ends it, and TCP as soon as the client agrees."""
    peer.send(close_frame(code, reason))
    while (await peer.receive()).opcode != CLOSE:
        pass


@pytest.mark.asyncio
async def test_a_text_that_is_no_utf_8_breaks_the_protocol() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"\xff\xfe"))
        await farewell(peer)

    async with serving(script) as url:
        line = Line(url)
        error = await line.ended()
        assert isinstance(error, ProtocolError)
        assert line.driver.saw == []
        assert line.device.link.state is State.OFFLINE


@pytest.mark.asyncio
async def test_nothing_overtakes_a_long_text() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"go"))
        ping = await peer.receive()
        peer.send(frame(TEXT, b"long " + "ä".encode() * LONG), frame(PONG, ping.data), frame(TEXT, b"after"))
        peer.send(frame(TEXT, b"last"))
        await goodbye(peer)

    async with serving(script) as url:
        line = Line(url)
        line.driver.on_frame = lambda frame, now: [Fence("a")] if frame == "go" else ()
        assert isinstance(await line.ended(), ConnectionLost)
        assert line.driver.saw == ["go", "long " + "ä" * 15, "fence a", "after", "last"]


@pytest.mark.asyncio
async def test_a_long_text_that_is_no_utf_8_breaks_the_protocol_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"x" * LONG + b"\xff"), frame(TEXT, b"after"))
        await farewell(peer)

    async with serving(script) as url:
        line = Line(url)
        assert isinstance(await line.ended(), ProtocolError)
        assert line.driver.saw == []


@pytest.mark.asyncio
async def test_a_session_may_end_while_a_long_text_is_decoded() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"go"), frame(TEXT, b"x" * (2 * LONG)))
        await farewell(peer)

    async with serving(script) as url:
        line = Line(url)
        with line.running() as task:
            async with asyncio.timeout(5):
                while not (line.driver.saw and line.session._socket._held is not None):  # it is being decoded
                    await asyncio.sleep(0)
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
        assert line.driver.saw == ["go"]


@pytest.mark.asyncio
async def test_what_the_peer_says_at_its_end_is_the_reason() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await goodbye(peer, 1001, "going home")

    async with serving(script) as url:
        line = Line(url)
        error = await line.ended()
        assert isinstance(error, ConnectionLost)
        assert line.device.link.reason == "connection lost (1001): going home"


@pytest.mark.asyncio
async def test_a_refused_handshake_is_raised_and_no_driver_is_made() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with serving(script) as url:
        line = Line(url)
        error = await line.ended()
        assert isinstance(error, HandshakeRefused)
        assert judge(error) is Verdict.STUBBORN
        assert not line.device.ready


@pytest.mark.asyncio
async def test_a_token_in_the_query_of_the_url_is_not_published() -> None:
    line = Line("ws://127.0.0.1:1/ws?token=secret")
    assert isinstance(await line.ended(), OSError)
    link = line.outbox.next_state()
    assert link is not None
    assert b"connecting to ws://127.0.0.1:1/ws" in link.payload
    assert b"secret" not in link.payload


@pytest.mark.asyncio
async def test_a_cancelled_session_says_goodbye_and_is_offline_at_once() -> None:
    goodbyes: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        received = await peer.receive()
        goodbyes.append(received.code)
        peer.send(close_frame(1000))

    async with serving(script) as url:
        line = Line(url)
        with line.running() as task:
            await asyncio.wait_for(line.ready.wait(), 5)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert line.device.link.reason == "this bridge is stopping"
        line.ask("set", "lamp", "a")
        assert [reply.outcome for reply in line.replies] == [Outcome.UNAVAILABLE]
    assert goodbyes == [1000]


@pytest.mark.asyncio
async def test_keepalives_are_sent_when_nothing_else_is() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(3):
            received = await peer.receive()
            assert received.opcode == PING
            peer.send(frame(PONG, b"a heartbeat of its own"), frame(PONG, received.data))
        await goodbye(peer)

    async with serving(script) as url:
        line = Line(url, Pings(0.01, 5.0))
        assert isinstance(await line.ended(), ConnectionLost)


@pytest.mark.asyncio
async def test_a_pong_passes_its_own_fence_and_those_before_it_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"go"))
        pings = [await peer.receive() for _ in range(3)]
        peer.send(frame(PONG, b"unasked"), frame(PONG, pings[1].data), frame(TEXT, b"between"))
        peer.send(frame(PONG, pings[2].data), frame(PONG, pings[2].data))
        await goodbye(peer)

    async with serving(script) as url:
        line = Line(url)
        line.driver.on_frame = lambda frame, now: [Fence(token) for token in "abc"] if frame == "go" else ()
        await line.ended()
        assert line.driver.saw == ["go", "fence a", "fence b", "between", "fence c"]


@pytest.mark.asyncio
async def test_a_driver_is_woken_when_it_wants_to_be_and_not_again() -> None:
    async with serving(greeted) as url:
        line = Line(url)
        begun = monotonic()
        line.driver.wake_at = begun + 0.04
        times: list[float] = []

        def tick(now: float) -> Effects:
            times.append(now - begun)
            line.driver.wake_at = begun + 0.06 if len(times) == 1 else None
            return [Close("done")] if len(times) == 2 else ()

        line.driver.on_tick = tick
        error = await line.ended()
        assert str(error) == "done"
        assert times[0] >= 0.04
        assert times[1] >= 0.06


@pytest.mark.asyncio
async def test_a_nearer_time_to_wake_counts_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"hurry"))
        await farewell(peer)

    async with serving(script) as url:
        line = Line(url)
        line.driver.wake_at = monotonic() + 1000.0

        def hurry(frame: Frame, now: float) -> Effects:
            line.driver.wake_at = now
            return ()

        line.driver.on_frame = hurry
        line.driver.on_tick = lambda now: [Close("woken")]
        assert str(await line.ended()) == "woken"


@pytest.mark.asyncio
async def test_effects_keep_their_order_over_slices_gates_and_steps() -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"remember"), frame(TEXT, b"dump"), frame(TEXT, b"small"))
        heard.extend([(await peer.receive()).data for _ in range(3)])
        await goodbye(peer)

    disk: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def effects(frame: Frame, now: float) -> Effects:
        match frame:
            case "remember":
                return [Remember("x", 1), Send("first")]
            case "dump":
                asyncio.get_running_loop().call_soon(disk.set_result, True)
                return [*(Update("level", float(number)) for number in range(3 * SLICE)), Send("second")]
        return [Send("third")]

    async with serving(script) as url:
        line = Line(url, disk=disk)
        line.driver.on_frame = effects
        await line.ended()
        assert heard == [b"first", b"second", b"third"]
        assert line.device.values.value("level") == 3 * SLICE - 1


@pytest.mark.asyncio
async def test_while_a_dump_is_taken_in_commands_wait_and_then_go() -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"dump"))
        heard.append((await peer.receive()).data)
        await goodbye(peer)

    async with serving(script) as url:
        line = Line(url)

        def effects(frame: Frame, now: float) -> Effects:
            asyncio.get_running_loop().call_soon(line.ask, "set", "lamp", "a")
            return [Update("level", float(number)) for number in range(5 * SLICE)]

        line.driver.on_frame = effects
        await line.ended()
        assert heard == [b"lamp"]
        assert [reply.outcome for reply in line.replies] == [Outcome.UNKNOWN]


@pytest.mark.asyncio
async def test_nothing_is_done_any_more_after_the_end() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"one"), frame(TEXT, b"two"))
        await farewell(peer)

    async with serving(script) as url:
        line = Line(url)
        line.driver.on_frame = lambda frame, now: [Close("enough", Verdict.AGAIN)]
        error = await line.ended()
        assert (str(error), judge(error)) == ("enough", Verdict.AGAIN)
        assert line.driver.saw == ["one"]
        line.session.submit(Command("late", "lamp"))
        assert line.driver.saw == ["one"]
