"""One WebSocket client connection on the event loop: from the socket to the callback in one chain of calls.

The `websockets` library's layer without I/O speaks the protocol; here it gets a socket, limits, deadlines and an
end that can be told (docs/decisions/0005-websockets-sans-io.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event, State

from bridge.tls import abort
from bridge.websocket.errors import (
    TOO_SLOW,
    ProtocolViolation,
    ending,
    handshake_failure,
    not_open,
    silence,
)
from bridge.websocket.protocol import Protocol
from bridge.websocket.target import Target
from bridge.websocket.tcp import connect_tcp, start_tls

READ_BUFFER = 64 << 10  # bytes, the same ones for the life of the connection
HANG_UP = 1.0  # seconds that the peer gets to end TCP after a close frame
HEAD = 512  # bytes of the handshake's reply that are kept: enough for a status line

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.INFO)  # the library's debug lines show credentials and cost more than its work
_CONT, _TEXT, _BINARY, _PONG = Opcode.CONT, Opcode.TEXT, Opcode.BINARY, Opcode.PONG


class WebSocket(asyncio.BufferedProtocol):
    """One connection, used once: `connect`, then callbacks until `closed`. Made on a running loop.

    `on_message(data, text)`: a whole message; text is not yet known to be UTF-8. `on_pong(payload)`. `on_flush()`:
    all that one read brought was delivered. Nothing is delivered before `connect` has returned (await it directly,
    not as a task), nor after `close` or `abort` was called. What a callback raises aborts the connection.
    """

    def __init__(
        self,
        target: Target,
        on_message: Callable[[bytes, bool], None],
        on_pong: Callable[[bytes], None],
        on_flush: Callable[[], None],
    ) -> None:
        self._target, self._uri = target, target.uri
        self._on_message, self._on_pong, self._on_flush = on_message, on_pong, on_flush
        self._loop = asyncio.get_running_loop()
        self._protocol = Protocol(self._uri, max_size=target.frame_limit, logger=_LOG)
        self._buffer = memoryview(bytearray(READ_BUFFER))
        self._tcp: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None  # the same, or TLS over it
        self._head = b""
        self._opened: asyncio.Future[Exception | None] = self._loop.create_future()
        self._held: deque[Callable[[], None]] | None = deque()  # what is not delivered yet; None: all is
        self._fragments, self._text = BytesIO(), False
        self._left = False  # by us: no callbacks any more
        self._cause: Exception | None = None
        self._hang_up: asyncio.TimerHandle | None = None

        self.closed: asyncio.Future[Exception | None] = self._loop.create_future()
        """How it ended; None: by our own `close`. Use asyncio.wait: cancelling the future loses the answer."""
        self.server: str | None = None
        """The Server header of the handshake's reply."""

    async def connect(self) -> None:
        """Open it. OSError (ssl.SSLError, TimeoutError while TCP connects) or one of the WebSocketErrors."""
        try:
            # Under TLS this object must not see what arrives before: a stranger could slip something in.
            factory = asyncio.Protocol if self._uri.secure else lambda: self
            self._tcp = await connect_tcp(self._target, factory)
            await self._shake_hands(self._tcp)
        except BaseException as error:
            self.abort(error if isinstance(error, Exception) else None)
            self._finish(None)
            raise
        self._loop.call_soon(self.release)  # what came with the reply, after the caller had a turn

    def send(self, frame: str | bytes) -> None:
        """Send a message, text for str; never waits. BufferError: too much is unsent. ConnectionLost: not open."""
        data = frame.encode() if isinstance(frame, str) else frame
        protocol = self._open_protocol()
        if self.waiting + len(data) > self._target.send_limit:
            raise BufferError(f"{len(data)} bytes on top of {self.waiting} unsent ones are too many")
        (protocol.send_text if isinstance(frame, str) else protocol.send_binary)(data)
        self._write(protocol.data_to_send())

    def ping(self, payload: bytes) -> None:
        """Send a ping with at most 125 bytes. ConnectionLost: not open."""
        if len(payload) > 125:
            raise ValueError(f"a ping carries at most 125 bytes, not {len(payload)}")
        protocol = self._open_protocol()
        protocol.send_ping(payload)
        self._write(protocol.data_to_send())

    async def close(self, code: int = 1000, reason: str = "", timeout: float = 1.0) -> None:  # noqa: ASYNC109
        """Say goodbye and wait `timeout` seconds for the peer to do so too. Afterwards the socket is gone."""
        if self._transport is None:
            return  # connect() has not come that far: cancel it instead
        self._left = True
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason.encode()[:123].decode(errors="ignore"))
            self._write(self._protocol.data_to_send())
        try:
            await asyncio.wait([self.closed], timeout=timeout)
        finally:
            self.abort()
        await asyncio.wait([self.closed])

    def abort(self, cause: Exception | None = None) -> None:
        """End it now and lose what is unsent; `closed` becomes the first cause that was given."""
        self._left = True
        self._cause = self._cause or cause
        if transport := self._transport or self._tcp:
            abort(transport)

    def hold(self) -> None:
        """From a callback: deliver nothing any more, not even the end, until `release`. Reading goes on."""
        if self._held is None:
            self._held = deque()

    def release(self) -> None:
        """Deliver what was held back, in its order; a callback may hold again."""
        steps, self._held = self._held or deque(), None
        while steps and self._held is None:
            steps.popleft()()
        if self._held is not None:
            self._held.extend(steps)

    @property
    def waiting(self) -> int:
        """Bytes that the kernel has not taken yet."""
        tcp, transport = self._tcp, self._transport
        if tcp is None or transport is None or transport.is_closing():
            return 0
        return tcp.get_write_buffer_size() + (0 if transport is tcp else transport.get_write_buffer_size())

    # --- opening -------------------------------------------------------------------------------------

    async def _shake_hands(self, tcp: asyncio.Transport) -> None:
        deadline = asyncio.timeout(self._target.open_timeout)
        try:
            async with deadline:
                self._transport = await start_tls(self._target, tcp, self) if self._uri.secure else tcp
                self._request()
                failure = await self._opened
        except TimeoutError:
            if not deadline.expired():
                raise
            failure = silence(self._head)
        if failure is not None:
            raise failure

    def _request(self) -> None:
        request = self._protocol.connect()
        for name, value in self._target.request_headers().items():
            if name in request.headers:
                del request.headers[name]
            request.headers[name] = value
        self._protocol.send_request(request)
        self._write(self._protocol.data_to_send())

    def _answered(self, events: list[Event]) -> None:
        """The handshake has its reply, or cannot get one; takes the reply out of `events`."""
        if self._protocol.handshake_exc is not None:
            self._opened.set_result(handshake_failure(self._protocol, self._head))
            events.clear()
        elif events:
            reply = cast(Response, events.pop(0))
            self.server = ", ".join(reply.headers.get_all("Server")) or None
            self._opened.set_result(None)

    # --- open ----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._read(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> None:
        self._read(b"")  # and the transport closes itself

    def _read(self, data: bytes) -> None:
        """Feed what arrived (empty: the end) to the protocol, send its replies, deliver what it found."""
        protocol = self._protocol
        try:
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            events = protocol.events_received()
            if replies := protocol.data_to_send():
                self._write(replies)
                if self.waiting > self._target.send_limit:
                    raise ProtocolViolation("it wants answers and does not read them", TOO_SLOW)
            if not self._opened.done():
                self._head += data[: HEAD - len(self._head)]
                self._answered(events)
            if self._held is not None:
                self._held.append(partial(self._deliver, events))
            else:
                self._deliver(events)
        except Exception as error:
            self.abort(error)
        if protocol.state > State.OPEN and self._hang_up is None and self._transport and not self._left:
            self._hang_up = self._loop.call_later(HANG_UP, self._transport.abort)

    def _deliver(self, events: list[Event]) -> None:
        """Hand out one read's frames. A callback's exception is the connection's end, and that of no other."""
        if not events or self._left:
            return
        try:
            try:
                for turn, frame in enumerate(cast(list[Frame], events), 1):
                    self._take(frame)
                    if self._left:
                        break
                    if self._held is not None:
                        self._held.append(partial(self._deliver, events[turn:]))
                        break
            finally:
                self._on_flush()
        except Exception as error:
            self.abort(error)

    def _take(self, frame: Frame) -> None:
        # The parser keeps its last frame until the next one is there: it shall not keep 100 MB with it.
        opcode, data, frame.data = frame.opcode, frame.data, b""
        if opcode is _PONG:
            self._on_pong(bytes(data))
        elif opcode is _TEXT or opcode is _BINARY:
            if frame.fin:
                self._on_message(bytes(data), opcode is _TEXT)
            else:
                self._fragments, self._text = BytesIO(), opcode is _TEXT
                self._fragments.write(data)
        elif opcode is _CONT:
            self._fragments.write(data)  # linear, and a list of one-byte fragments would be 60 times as big
            if frame.fin:
                message, self._fragments = self._fragments.getvalue(), BytesIO()
                self._on_message(message, self._text)

    def _open_protocol(self) -> Protocol:
        transport = self._transport
        if self._protocol.state is not State.OPEN or self._left or transport is None or transport.is_closing():
            raise not_open(self._protocol)
        return self._protocol

    def _write(self, frames: list[bytes]) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for frame in frames:
            if frame:  # an empty one means: end the stream; the transport does that by itself
                transport.write(frame)

    # --- the end -------------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
        if not self._left:
            self._protocol.receive_eof()
        if not self._opened.done():
            self._opened.set_result(self._cause or exc or handshake_failure(self._protocol, self._head))
        elif self._held is None or self._left:
            self._finish(exc)
        else:
            self._held.append(partial(self._finish, exc))

    def _finish(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(self._cause if self._left else ending(self._protocol, error))
