"""One driver on one connection: where frames meet a socket, and effects are performed."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from time import monotonic, time

from pydantic import BaseModel

from bridge.alarm import Alarm
from bridge.device import Device
from bridge.driver import (
    Close,
    Compute,
    Driver,
    Effect,
    Effects,
    Fence,
    Frame,
    Hold,
    ProtocolError,
    Remember,
    Send,
    Unsent,
)
from bridge.ends import SessionClosed, explain
from bridge.gate import Gate, Store
from bridge.heartbeat import Heartbeat, Pings
from bridge.link import State
from bridge.model import Command, Job, Reply, Result, Update
from bridge.plugins import AnyPlugin
from bridge.transcript import Recent
from bridge.websocket import Target, WebSocket
from bridge.websocket.long_text import LONG, decode_in_turns

SLICE = 200  # effects performed before the loop gets a turn
RECENT = 40  # frames kept for a bug report


@dataclass(frozen=True, slots=True)
class Tools:
    """What a session uses of the process."""

    store: Store
    compute: Callable[[Callable[..., object], tuple[object, ...]], asyncio.Future[object]]
    keep: Callable[[str, Result], Awaitable[object]]  # stores a result of a device
    flush: Callable[[], None]  # what was reported goes on its way to the broker


class Session:
    """`run` lasts as long as the connection. Everything else happens in callbacks of the loop."""

    def __init__(
        self,
        device: Device,
        plugin: AnyPlugin,
        options: BaseModel,
        target: Target,
        pings: Pings,
        tools: Tools,
    ) -> None:
        self._device, self._plugin, self._options = device, plugin, options
        self._tools, self._url = tools, target.url.partition("?")[0]  # a query may hold a token
        self._socket = WebSocket(target, self._message, self._pong, tools.flush)
        self._pings = Heartbeat(pings, monotonic())
        opened = partial(self._drive, self._release)
        self._gate = Gate(device.name, tools.store, tools.keep, self._send, opened)
        self._driver: Driver | None = None
        self._ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._later: deque[Effect] = deque()  # effects of a long step, performed in slices
        self._greet_by = math.inf
        self._alarm = Alarm(self._ring)
        self.recent = Recent(RECENT)

    async def run(self) -> None:
        """Connect, greet, serve. Never returns: raises what ended the connection."""
        device = self._device
        device.enter(State.CONNECTING, time(), f"connecting to {self._url}")
        self._tools.flush()
        await self._socket.connect()
        try:
            device.begin()
            device.enter(State.GREETING, time(), "connected, asking what is there")
            self._greet_by = monotonic() + self._plugin.greeting
            self._alarm.set(min(self._greet_by, self._pings.due))
            device.attach(self)
            self._socket.closed.add_done_callback(self._closed)
            self._drive(self._make)
            error = await asyncio.shield(self._ended)
            self._leave(explain(error))
            raise error
        except asyncio.CancelledError:
            self._leave(device.leaving or "this bridge is stopping")
            raise
        finally:
            await self._socket.close()

    def _make(self, now: float) -> Effects:
        memory = self._tools.store.memory(self._device.name)
        self._driver = self._plugin.driver(self._options, memory, self._device.commands.carried())
        return self._driver.start(now)

    def _closed(self, closed: asyncio.Future[Exception | None]) -> None:
        self._end(closed.result() or SessionClosed("closed"))

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
            self._alarm.end()

    def _leave(self, reason: str) -> None:
        """Nobody waits for a closing handshake to learn that the device is away."""
        self._end(SessionClosed(reason))
        self._device.attach(None)
        self._gate.abandon()
        self._do([effect for effect in self._later if isinstance(effect, Reply)])
        self._device.lose(reason)
        self._device.enter(State.OFFLINE, time(), reason)
        self._tools.flush()

    # --- the boundary to the driver ------------------------------------------------------------------

    def _drive(self, step: Callable[..., Effects], *args: object) -> None:
        """One step of the driver, and what follows from it."""
        now = monotonic()
        self._step(step, *args, now)
        if self._ended.done():
            return
        if self._device.commands.waiting:
            self._device.pump(now)
        self._arm()
        self._tools.flush()

    def _step(self, step: Callable[..., Effects], *args: object) -> None:
        """Let the driver finish its thought, then do what it asked for."""
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
        """So many (a dump's points) that others get turns in between; what follows queues up behind."""
        if not self._later:
            asyncio.get_running_loop().call_soon(self._drive, self._slice)
        self._later.extend(effects)

    def _slice(self, now: float) -> Effects:
        """Not a step of the driver: some of the effects of its earlier steps."""
        some = [self._later.popleft() for _ in range(min(SLICE, len(self._later)))]
        if self._later:
            asyncio.get_running_loop().call_soon(self._drive, self._slice)
        self._do(some)
        return ()

    def _do(self, effects: Iterable[Effect]) -> None:
        now, wall, report = monotonic(), time(), self._device.report
        for effect in effects:
            if type(effect) is Update:  # nearly always
                report(effect, now, wall)
                continue
            match effect:
                case Send():
                    self._gate.out(effect, urgent=self._device.commands.urgent(effect.id))
                case Fence() | Job():
                    self._gate.out(effect, urgent=False)
                case Remember(key, value):
                    self._gate.remember(key, value)
                case Result():
                    self._gate.keep(effect)
                case Hold(id_, until):
                    self._device.commands.hold(id_, until)
                case Compute(token, call, args):
                    self._tools.compute(call, args).add_done_callback(partial(self._computed, token))
                case Close(reason, verdict):
                    self._end(SessionClosed(reason, verdict))
                case _:
                    report(effect, now, wall)

    # --- what goes out -------------------------------------------------------------------------------

    def _send(self, effect: Send | Fence | Job | Reply) -> None:
        now = monotonic()
        try:
            match effect:
                case Send(frame, id_):
                    self._socket.send(frame)
                    self.recent.add(now, ">", frame)
                    if id_ is not None:
                        self._device.commands.sent(id_, now, time())
                case Fence(token):
                    self._socket.ping(self._pings.ping(now, token))
                    self._alarm.set(self._pings.due)
                case Job() | Reply():
                    self._device.report(effect, now, time())
                    if isinstance(effect, Reply) and isinstance(self._driver, Unsent):
                        self._drive(self._driver.unsent, effect.id)
        except BufferError as error:
            raise SessionClosed(f"the device takes nothing any more: {error}") from None

    def _release(self, now: float) -> Effects:
        self._gate.release()
        return ()

    # --- what comes in -------------------------------------------------------------------------------

    def _message(self, data: bytes, text: bool) -> None:
        if text and len(data) > LONG:
            self._socket.hold()
            decode_in_turns(data, self._long_text)
            return
        try:
            frame: Frame | None = data.decode() if text else data
        except UnicodeDecodeError:
            frame = None
        self._frame(frame)

    def _long_text(self, frame: str | None) -> None:
        asyncio.get_running_loop().call_soon(self._socket.release)  # whatever becomes of this one
        self._frame(frame)

    def _frame(self, frame: Frame | None) -> None:
        if frame is None:
            self._end(ProtocolError("a text frame is not UTF-8"))
            return
        self.recent.add(monotonic(), "<", frame)
        if self._driver is not None:
            self._drive(self._driver.receive, frame)

    def _pong(self, payload: bytes) -> None:
        passed, round_trip = self._pings.pong(payload, monotonic())
        if round_trip is not None:
            self._device.link.round_trip = round_trip
        for token in passed:
            if self._driver is not None:
                self._drive(self._driver.fenced, token)

    def _computed(self, token: str, done: asyncio.Future[object]) -> None:
        if not done.cancelled() and self._driver is not None:
            self._drive(self._driver.computed, token, done.exception() or done.result())

    # --- commands ------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self._driver is None or bool(self._later) or self._driver.busy

    def submit(self, command: Command) -> None:
        if self._driver is not None:
            self._step(self._driver.submit, command, monotonic())
            self._arm()

    # --- time ----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """After each step of the driver: does it want to be woken sooner than the alarm rings?"""
        if self._driver is not None and (wake := self._driver.wake_at) is not None:
            self._alarm.set(wake)

    @property
    def rings_at(self) -> float:
        """When it does something at the latest, on the loop's clock."""
        return self._alarm.rings_at

    def _ring(self) -> None:
        self._drive(self._wake)
        self._alarm.set(min(self._pings.due, self._deadline))

    @property
    def _deadline(self) -> float:
        return math.inf if self._device.ready else self._greet_by

    def _wake(self, now: float) -> Effects:
        if self._pings.overdue(now):
            raise SessionClosed("no answer to a ping in time")
        if now >= self._deadline:
            raise SessionClosed(f"connected, but not greeted within {self._plugin.greeting:g} s")
        if now >= self._pings.next:
            self._socket.ping(self._pings.ping(now))
        if self._driver is None or (wake := self._driver.wake_at) is None or wake > now:
            return ()
        return self._driver.tick(now)
