"""One MQTT connection on the event loop: asyncio connects and carries the bytes, paho speaks the protocol.

An `Mqtt` is made, used and gone. Who wants the next connection makes the next object, with a new paho client
inside, so that nothing of the old one is ever sent again by itself. QoS 2 is left out.
Why and at what price: docs/decisions/0003-paho-on-the-event-loop.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVarTuple

from bridge.mqtt_values import (
    REFUSAL,
    ConnectionSettings,
    Filter,
    Limits,
    Message,
    Meta,
    MqttError,
    Refused,
    TooLarge,
    Will,
)
from bridge.paho_client import PahoClient, Reports, publish_properties
from bridge.wire import Wire, encode_topic, publish_header

__all__ = (
    "ConnectionSettings", "Filter", "Limits", "Message", "Meta", "Mqtt", "MqttError", "Refused", "TooLarge",
    "Will",
)  # fmt: skip

TICK = 0.5  # seconds between two looks at the keepalive
NOT_CONNECTED = "not connected"

Args = TypeVarTuple("Args")


class Mqtt:
    """One connection, from CONNECT to its end; to be made on the running loop and connected once.

    The callbacks run on the loop, synchronously; they may publish. What they raise is a bug of ours: it ends the
    connection and is the result of `closed`.

    * `on_message(message)`: also before `connect` has returned, when the broker had kept messages for us.
    * `on_ack(mid, code)`: the PUBACK of what `publish` returned `mid` for; 0x80 and above is a refusal.
    * `on_room()`: the network takes bytes again.

    `closed` is done when the connection has ended; its result is the reason, or None after `disconnect`.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        on_message: Callable[[Message], None] = lambda message: None,
        on_ack: Callable[[int, int], None] = lambda mid, code: None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.limits = Limits()
        self.up = False  # from a good CONNACK until the end or `disconnect`
        self.closed: asyncio.Future[Exception | None] = loop.create_future()
        self._on_message, self._on_ack, self._on_room = on_message, on_ack, on_room
        self._connack: asyncio.Future[None] = loop.create_future()
        self._subacks: dict[int, asyncio.Future[list[tuple[int, str]]]] = {}
        self._unacked: dict[int, float] = {}  # packet id -> loop time of sending, oldest first
        self._settled: asyncio.Future[None] | None = None  # waits for `_unacked` to be empty
        self._timer: asyncio.TimerHandle | None = None
        self._reason: Exception | None = None
        self._leaving = False
        self._v5 = settings.protocol == "5"
        self._wire = Wire(self._lost, self._broken, self._room, settings.packet_limit)
        reports = Reports(self._connected, self._ended, self._message, self._acked, self._subscribed)
        self._paho = PahoClient(settings, self._wire, reports)

    # --- opening and closing

    async def connect(self) -> None:
        """Connect and wait for the CONNACK; nothing here blocks the loop.

        Raises ssl.SSLError and other OSErrors for the network, TimeoutError naming the step that took longer than
        `settings.timeout`, Refused for the broker's no, MqttError when its answer makes no sense.
        """
        s, step = self.settings, "connection (name, TCP, TLS)"
        name, patience = s.server_name or s.host, s.timeout + 1  # longer than ours, which says more
        try:
            async with asyncio.timeout(s.timeout):
                await asyncio.get_running_loop().create_connection(
                    lambda: self._wire,
                    s.host,
                    s.port,
                    ssl=s.tls,
                    server_hostname=name if s.tls else None,
                    ssl_handshake_timeout=patience if s.tls else None,
                )
                step = "CONNACK"
                self._paho.send_connect()
                await self._connack
        except BaseException as error:
            self._connack.cancel()
            self._reason = self._reason or (error if isinstance(error, Exception) else None)
            self._wire.abort()
            self._end()
            if isinstance(error, TimeoutError) and error.errno is None:
                raise TimeoutError(f"{s.host}:{s.port}: no {step} within {s.timeout:g} s") from None
            raise
        self._tick()

    async def disconnect(self, within: float = 3.0) -> int:
        """Wait up to `within` seconds for what is not acknowledged, say goodbye and close.

        Returns how many messages were left without a PUBACK. When the time is over, at once with 0, the connection
        is cut without a goodbye and the broker publishes the will. Cancel a `connect` under way instead.
        """
        try:
            if within > 0:
                async with asyncio.timeout(within):
                    await self._say_goodbye()
        except TimeoutError:
            pass
        finally:
            self.up, self._leaving = False, True
            self._wire.abort()
        if self._wire.open:
            await asyncio.shield(self.closed)  # one turn of the loop: the socket is closed when we return
        self._end()
        return self.unacked

    async def _say_goodbye(self) -> None:
        if self._unacked and self.up:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled
        if self.up:
            self.up, self._leaving = False, True
            self._paho.disconnect()
            await asyncio.shield(self.closed)

    def abort(self, reason: Exception) -> None:
        """Cut the connection at once. The first reason there was becomes the result of `closed`."""
        self._reason = self._reason or reason
        self.up = False
        self._wire.abort()

    # --- sending

    @property
    def room(self) -> int:
        """How many QoS 1 messages may be sent now; 0 also while the network does not take what is written."""
        if not self.up or self._wire.congested:
            return 0
        return max(0, self.limits.window - len(self._unacked))

    @property
    def congested(self) -> bool:
        """The network does not take what is written: states should be coalesced until `on_room`."""
        return self._wire.congested

    @property
    def waiting(self) -> int:
        """Bytes taken by `publish` and not yet by the kernel."""
        return self._wire.waiting

    @property
    def unacked(self) -> int:
        """How many QoS 1 messages have no PUBACK yet."""
        return len(self._unacked)

    @property
    def oldest_unacked(self) -> float | None:
        """When (loop time, seconds) the oldest message without a PUBACK was sent, or None."""
        return next(iter(self._unacked.values()), None)

    @property
    def ignored(self) -> int:
        """Messages thrown away because their topics are not UTF-8 or no topics at all."""
        return self._paho.ignored

    def publish(
        self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, meta: Meta | None = None
    ) -> int | None:
        """Send, or keep for sending; never blocks.

        Returns the packet id that `on_ack` will name, or None when no PUBACK will come (QoS 0, or a broker that
        takes nothing higher). Raises MqttError without a connection, BufferError when the window or the backlog is
        full, ValueError for a bad topic, and TooLarge (a ValueError) over the broker's packet limit.
        """
        if not self.up:
            raise MqttError(NOT_CONNECTED)
        limits, wire = self.limits, self._wire
        name = encode_topic(topic)
        packed = (b"\0" if meta is None else publish_properties(meta)[1]) if self._v5 else b""
        with_id = qos > 0 < limits.qos
        length = len(name) + (2 if with_id else 0) + len(packed) + len(payload)
        header = publish_header(length, retain and limits.retain)
        if len(header) + length > limits.packet:
            raise TooLarge(f"{topic}: {len(header) + length} bytes, the broker takes {limits.packet}")
        if wire.backlog > self.settings.backlog:
            raise BufferError("the network takes nothing")
        if not with_id:
            wire.publish(header, name, packed, payload)
            return None
        if len(self._unacked) >= limits.window:
            raise BufferError("the window is full")
        mid = self._paho.send_publish(topic, payload, retain and limits.retain, meta)
        self._unacked[mid] = asyncio.get_running_loop().time()
        return mid

    async def subscribe(self, filters: Sequence[Filter], within: float = 10.0) -> list[int]:
        """Subscribe to all `filters` with one packet; returns the QoS granted for each.

        Raises Refused when the broker turns any down: it names the first and holds all of them in `refused`; the
        others are granted. TimeoutError when no SUBACK comes in time, ValueError for a bad filter.
        """
        if not self.up:
            raise MqttError(NOT_CONNECTED)
        mid = self._paho.send_subscribe(filters)
        suback = self._subacks[mid] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                codes = await suback
        finally:
            del self._subacks[mid]
        if len(codes) != len(filters):
            raise MqttError(f"the broker gave {len(codes)} answers to {len(filters)} subscriptions")
        if refused := [i for i, (code, _) in enumerate(codes) if code >= REFUSAL]:
            code, text = codes[refused[0]]
            what = f"subscription to {filters[refused[0]].topic} refused by the broker"
            raise Refused(what, code, text, tuple(filters[i] for i in refused))
        return [code for code, _ in codes]

    # --- what paho and the wire report, all on the loop

    def _tick(self) -> None:
        self._paho.loop_misc()
        if not self.closed.done():
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _connected(self, limits: Limits) -> None:
        if not self._connack.done():
            self.limits, self.up = limits, True
            self._connack.set_result(None)

    def _ended(self, reason: Exception) -> None:
        if not self._leaving:
            self.abort(reason)

    def _message(self, message: Message) -> None:
        if self.up:
            self._call(self._on_message, message)

    def _acked(self, mid: int, code: int) -> None:
        self._unacked.pop(mid, None)
        if self._settled and not self._unacked and not self._settled.done():
            self._settled.set_result(None)
        self._call(self._on_ack, mid, code)

    def _subscribed(self, mid: int, codes: list[tuple[int, str]]) -> None:
        suback = self._subacks.get(mid)
        if suback and not suback.done():
            suback.set_result(codes)

    def _room(self) -> None:
        self._call(self._on_room)

    def _call(self, callback: Callable[[*Args], None], *args: *Args) -> None:
        try:
            callback(*args)
        except Exception as bug:  # of ours: it must be seen, and not be taken for the broker's
            self.abort(bug)

    def _broken(self, error: Exception) -> None:
        reason = MqttError(f"the broker sent what cannot be read: {error!r}")
        reason.__cause__ = error
        self.abort(reason)

    def _lost(self, exc: Exception | None) -> None:
        if not self._leaving:
            self._reason = self._reason or exc or ConnectionError("the broker closed the connection")
        self._end()

    def _end(self) -> None:
        """Settle everything that still waits; harmless when done before."""
        self.up = False
        if self._timer:
            self._timer.cancel()
        pending: list[asyncio.Future[Any]] = [self._connack, *self._subacks.values()]
        for waiting in pending:
            if not waiting.done():
                waiting.set_exception(self._reason or MqttError(NOT_CONNECTED))
                waiting.exception()  # seen, even if nobody waits any more
        if self._settled and not self._settled.done():
            self._settled.set_result(None)
        if not self.closed.done():
            self.closed.set_result(self._reason)
