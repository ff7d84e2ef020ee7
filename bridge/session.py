"""One driver on one connection: where frames meet a socket, and effects are performed."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic, time
from typing import Protocol

from pydantic import BaseModel

from bridge.device import Device
from bridge.driver import (
    Close,
    Compute,
    Driver,
    Effect,
    Effects,
    Fence,
    Hold,
    ProtocolError,
    Remember,
    Send,
)
from bridge.ends import SessionClosed, explain
from bridge.link import State
from bridge.model import Command, Json, Update
from bridge.plugins import AnyPlugin
from bridge.transcript import Recent
from bridge.websocket import Target, WebSocket

SLICE = 200  # effects performed before the loop gets a turn
KEEPALIVE = b"keepalive"
RECENT = 40  # frames kept for a bug report


class Store(Protocol):
    """Where a device's memory is kept."""

    def memory(self, device: str) -> Mapping[str, Json]: ...

    def remember(self, device: str, key: str, value: Json) -> None: ...

    def committed(self) -> asyncio.Future[bool] | None:
        """Done when all that was remembered is on disk; None: it is, or there is no disk."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a session uses of the process."""

    store: Store
    compute: Callable[[Callable[..., object], tuple[object, ...]], asyncio.Future[object]]
    flush: Callable[[], None]  # what was reported goes on its way to the broker


@dataclass(frozen=True, slots=True)
class Pings:
    interval: float | None  # seconds; None: never
    timeout: float | None  # seconds; None: pongs may stay away


class Session:
    """`run` lasts as long as the connection. Everything else happens in callbacks of the loop."""

    def __init__(
        self, device: Device, plugin: AnyPlugin, options: BaseModel, target: Target, pings: Pings, tools: Tools
    ) -> None:
        self._device, self._plugin, self._options = device, plugin, options
        self._pings, self._tools, self._url = pings, tools, target.url
        self._socket = WebSocket(target, self._message, self._pong, self._flush)
        self._driver: Driver | None = None
        self._ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._later: deque[Effect] = deque()  # effects of a long step, performed in slices
        self._outgoing: deque[Send | Fence] = deque()  # behind a gate
        self._gate: asyncio.Future[bool] | None = None  # what was remembered is not yet on disk
        self._flying: deque[tuple[bytes, str | None, float]] = deque()  # pings: payload, fence's token, when
        self._pinged = 0
        self._next_ping = math.inf
        self._greet_by = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self.recent = Recent(RECENT)

    async def run(self) -> None:
        """Connect, greet, serve. Never returns: raises what ended the connection."""
        device = self._device
        device.enter(State.CONNECTING, time(), f"connecting to {self._url}")
        self._tools.flush()
        await self._socket.connect()
        try:
            now = monotonic()
            device.begin()
            device.enter(State.GREETING, time(), "connected, asking what is there")
            self._greet_by = now + self._plugin.greeting
            self._next_ping = now + self._pings.interval if self._pings.interval else math.inf
            device.attach(self)
            self._drive(self._make)
            self._socket.closed.add_done_callback(self._closed)
            error = await asyncio.shield(self._ended)
            self._leave(explain(error))
            raise error
        except asyncio.CancelledError:
            self._leave("this bridge is stopping")
            raise
        finally:
            await self._socket.close()

    def _closed(self, closed: asyncio.Future[Exception | None]) -> None:
        self._end(closed.result() or SessionClosed("closed"))

    def _leave(self, reason: str) -> None:
        """Nobody waits for a closing handshake to learn that the device is away."""
        self._end(SessionClosed(reason))
        if self._timer:
            self._timer.cancel()
        self._device.attach(None)
        self._device.lose(reason)
        self._device.enter(State.OFFLINE, time(), reason)
        self._tools.flush()

    def _make(self, now: float) -> Effects:
        memory = self._tools.store.memory(self._device.name)
        self._driver = self._plugin.driver(self._options, memory, self._device.commands.carried())
        return self._driver.start(now)

    # --- the boundary to the driver ------------------------------------------------------------------

    def _drive(self, step: Callable[..., Effects], *args: object) -> None:
        """One step of the driver, and what follows from it."""
        if self._ended.done():
            return
        now = monotonic()
        self._step(step, *args, now)
        self._device.pump(now)
        self._arm(now)
        self._tools.flush()

    def _step(self, step: Callable[..., Effects], *args: object) -> None:
        """Let the driver finish its thought, then do what it asked for. The one wide net of the program."""
        if self._ended.done():
            return
        try:
            effects = list(step(*args))
            if self._later or len(effects) > SLICE:
                self._put_off(effects)
            else:
                self._do(effects)
        except Exception as error:  # a driver is somebody else's code: it must not take the others along
            self._end(error)

    def _put_off(self, effects: list[Effect]) -> None:
        """So many (a dump's points) that other devices get turns in between; what follows queues up behind."""
        if not self._later:
            asyncio.get_running_loop().call_soon(self._slice)
        self._later.extend(effects)

    def _slice(self) -> None:
        def some() -> Iterable[Effect]:
            return [self._later.popleft() for _ in range(min(SLICE, len(self._later)))]

        if self._ended.done():
            return
        try:
            self._do(some())
        except Exception as error:  # as in `_step`
            self._end(error)
        if self._later:
            asyncio.get_running_loop().call_soon(self._slice)
        else:
            self._device.pump(monotonic())
        self._tools.flush()

    def _do(self, effects: Iterable[Effect]) -> None:
        now, wall, report = monotonic(), time(), self._device.report
        for effect in effects:
            if type(effect) is Update:  # nearly always
                report(effect, now, wall)
                continue
            match effect:
                case Send() | Fence():
                    self._out(effect)
                case Remember(key, value):
                    self._tools.store.remember(self._device.name, key, value)
                    self._close_gate()
                case Hold(id_, until):
                    self._device.commands.hold(id_, until)
                case Compute(token, call, args):
                    self._tools.compute(call, args).add_done_callback(partial(self._computed, token))
                case Close(reason, verdict):
                    self._end(SessionClosed(reason, verdict))
                case _:
                    report(effect, now, wall)

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    # --- what goes out -------------------------------------------------------------------------------

    def _out(self, effect: Send | Fence) -> None:
        if self._gate is not None:
            self._outgoing.append(effect)
            return
        now = monotonic()
        match effect:
            case Send(frame, id_):
                try:
                    self._socket.send(frame)
                except BufferError as error:
                    raise SessionClosed(f"the device takes nothing any more: {error}") from None
                self.recent.add(now, ">", frame)
                if id_ is not None:
                    self._device.commands.sent(id_, now, time())
            case Fence(token):
                self._ping(token, now)

    def _close_gate(self) -> None:
        """Nothing goes out until what was remembered is on disk."""
        if (waiter := self._tools.store.committed()) is not None:
            self._gate = waiter
            waiter.add_done_callback(self._open_gate)

    def _open_gate(self, waiter: asyncio.Future[bool]) -> None:
        if self._gate is waiter:
            self._gate = None
            self._drive(self._release)

    def _release(self, now: float) -> Effects:
        effects = list(self._outgoing)
        self._outgoing.clear()
        return effects

    def _ping(self, token: str | None, now: float) -> None:
        self._pinged += 1
        payload = b"%d" % self._pinged
        self._flying.append((payload, token, now))
        self._socket.ping(payload)
        self._next_ping = now + self._pings.interval if self._pings.interval else math.inf

    # --- what comes in -------------------------------------------------------------------------------

    def _message(self, data: bytes, text: bool) -> None:
        self.recent.add(monotonic(), "<", data)
        if self._driver is None:
            return
        self._drive(self._receive, data, text)

    def _receive(self, data: bytes, text: bool, now: float) -> Effects:
        assert self._driver is not None  # noqa: S101  (set before the first message)
        if not text:
            return self._driver.receive(data, now)
        try:
            frame = data.decode()
        except UnicodeDecodeError:
            raise ProtocolError("a text frame is not UTF-8") from None
        return self._driver.receive(frame, now)

    def _pong(self, payload: bytes) -> None:
        """A pong answers the ping of its payload and all pings before it."""
        if all(flying[0] != payload for flying in self._flying):
            return
        now = monotonic()
        while self._flying:
            sent, token, at = self._flying.popleft()
            if token is not None and self._driver is not None:
                self._drive(self._driver.fenced, token)
            if sent == payload:
                self._device.link.round_trip = now - at
                return

    def _flush(self) -> None:
        pass  # every frame has flushed already: order and latency before bulk

    def _computed(self, token: str, done: asyncio.Future[object]) -> None:
        if done.cancelled() or self._driver is None:
            return
        self._drive(self._driver.computed, token, done.exception() or done.result())

    # --- commands ------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self._driver is None or bool(self._later) or self._driver.busy

    def submit(self, command: Command) -> None:
        if self._driver is not None:
            self._step(self._driver.submit, command, monotonic())
            self._arm(monotonic())

    # --- time ----------------------------------------------------------------------------------------

    def _arm(self, now: float) -> None:
        """One timer for all that is due; it may ring early, never late."""
        if self._ended.done() or self._driver is None:
            return
        due = self._due()
        if self._timer is not None:
            if self._timer.when() <= due and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._ring) if due < math.inf else None

    def _due(self) -> float:
        wake = self._driver.wake_at if self._driver is not None else None
        due = min(self._next_ping, math.inf if wake is None else wake)
        if self._pings.timeout and self._flying:
            due = min(due, self._flying[0][2] + self._pings.timeout)
        return due if self._device.ready else min(due, self._greet_by)

    def _ring(self) -> None:
        self._timer = None
        now = monotonic()
        if self._pings.timeout and self._flying and now >= self._flying[0][2] + self._pings.timeout:
            self._end(SessionClosed(f"no answer to a ping for {self._pings.timeout:g} s"))
        elif not self._device.ready and now >= self._greet_by:
            self._end(SessionClosed(f"connected, but not greeted within {self._plugin.greeting:g} s"))
        self._drive(self._wake)

    def _wake(self, now: float) -> Effects:
        if now >= self._next_ping:
            self._ping(None, now)
        if self._driver is None or (wake := self._driver.wake_at) is None or wake > now:
            return ()
        return self._driver.tick(now)
