"""One client of a simulator: its frames strictly in order, and the faults that it can be made to suffer.

It is built on the library's protocol core and not on its ready-made server, because a stand-in for an instrument
decides what a good server never leaves open: when a ping is answered, when nothing is read, where a frame ends.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal, Self

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from bridge.simulators.server.outlet import Outlet, Weather
from bridge.simulators.server.posted import posted

Garbling = Literal["text", "utf8", "frame"]
LINGER = 5.0  # seconds that a client has to close its side after ours


class Connection:
    """A WebSocket connection as a simulator sees it.

    `async for message in connection` gives text (str) and binary (bytes) messages and ends when the client is
    gone. Frames are handled one after another: a ping is answered only when the loop asks for the next message.
    So a simulator that awaits while it works blocks its connection, pongs included; if it must not, it starts a
    task.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        weather: Weather,
        max_size: int | None,
    ) -> None:
        self.path = ""
        self.headers = Headers()
        self.body = b""  # of a POST request, which is answered like a GET
        self.on_ping: Callable[[Callable[[], None]], None] | None = None  # gets what sends the pong; None: at once
        peer = writer.get_extra_info("peername")
        self.remote: str = peer[0] if peer else ""
        self._reader, self._writer, self._weather = reader, writer, weather
        self._outlet = Outlet(writer, weather)
        self.stalled = self._outlet.stalled
        self._protocol = ServerProtocol(max_size=max_size)
        self._request: Request | None = None
        self._frames: deque[Frame] = deque()
        self._replies: deque[bytes] = deque()  # pongs and close frames, withheld until it is their turn
        self._parts: list[bytes] = []
        self._is_text = True
        self._garble: deque[Garbling] = deque()
        self._pongs: dict[bytes, asyncio.Event] = {}
        self._cut: Callable[[], None] | None = None
        self._last: str | bytes = "{}"

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    @property
    def is_lost(self) -> bool:
        """TCP has ended, from our side or (all that came being read) from the client's."""
        return self._writer.is_closing() or self._reader.at_eof()

    # --- what simulators use ------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        while True:
            await self._outlet.undisturbed()
            if self._frames:
                message = self._processed(self._frames.popleft())
                if message is not None and self._weather.silent.is_open:
                    return message
            elif not (self.is_open and await self._receive()):
                self._release_replies()
                raise StopAsyncIteration

    def send(self, message: str | bytes) -> None:
        """Send a text or binary message, without limit and without waiting; nothing once the client is gone."""
        if not self.is_open or not self._weather.silent.is_open:
            return
        self._last = message
        raw = self._framed(message)
        if self._cut is None:
            self._outlet.put(raw)
            return
        half = len(raw) // 2
        self._outlet.put(raw[:half], after=self._cut)
        self._outlet.put(raw[half:])
        self._cut = None

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake."""
        if self.is_open:
            self._protocol.send_close(code, reason)
            self._outlet.put(*self._protocol.data_to_send())

    def fail(self, code: int, reason: str = "") -> None:
        """Send a close frame and the end of the stream, without waiting for the client's close frame."""
        if self.is_open:
            self._protocol.fail(code, reason)
            self._outlet.put(*self._protocol.data_to_send())

    def ping(self) -> asyncio.Event:
        """Send a ping; the event is set when its pong is reached, in its turn among the client's frames."""
        payload, answered = secrets.token_bytes(4), asyncio.Event()
        if self.is_open:
            self._pongs[payload] = answered
            self._protocol.send_ping(payload)
            self._outlet.put(*self._protocol.data_to_send())
        return answered

    def flush(self) -> None:
        """Write now what was sent and nothing holds back: for a program that goes to work on its event loop."""
        self._outlet.flush()

    def drop(self) -> None:
        """End the TCP connection without a close frame: the client sees code 1006."""
        self._protocol.receive_eof()
        with contextlib.suppress(AttributeError):  # Python 3.11.2: TLS, closed twice
            self._writer.transport.abort()

    # --- faults -------------------------------------------------------------------------------------------------

    def stall(self, seconds: float | None = None) -> None:
        """Stop reading and writing, pongs included; afterwards everything withheld follows."""
        self.stalled.shut(seconds)

    def garble(self, kind: Garbling = "text", count: int = 1) -> None:
        """Damage the next messages: broken text, text that is not UTF-8, or a frame with reserved bits set."""
        self._garble.extend([kind] * count)

    def cut(self, then: Literal["silence", "close", "drop"] = "silence", seconds: float | None = None) -> None:
        """Send half of the next frame, then nothing (seconds: the rest follows), the end of TCP, or a reset."""
        match then:
            case "silence":
                self._cut = lambda: self.stall(seconds)
            case "close":
                self._cut = self._writer.close
            case "drop":
                self._cut = self.drop

    def flood(self, count: int, text: str = "") -> None:
        """Send this text, or the last message again, so many times at once."""
        message = text or self._last
        for _ in range(count):
            self.send(message)

    # --- what the server uses -----------------------------------------------------------------------------------

    async def request(self) -> Request | None:
        """Wait for the opening request; None when there is none."""
        while self._request is None:
            if not await self._receive() or self._replies:
                self._release_replies()
                return None
        self.path, self.headers = self._request.path, self._request.headers
        return self._request

    def respond(self, response: Response, *, at_once: bool) -> None:
        """Answer the opening request, `at_once` in spite of all faults."""
        self._protocol.send_response(response)
        data = self._protocol.data_to_send()
        if at_once:
            self._writer.writelines(data)
        else:
            self._outlet.put(*data)

    def accepted(self, request: Request) -> Response:
        return self._protocol.accept(request)

    def rejected(self, status: int, text: str) -> Response:
        return self._protocol.reject(status, text)

    async def pump(self) -> None:
        """Write what is to be sent, when nothing holds it back."""
        await self._outlet.pump()

    async def finish(self, pump: asyncio.Task[None]) -> None:
        """After the conversation: write the rest, give the client a moment to close its side, and close."""
        self._outlet.end()
        await asyncio.wait({pump}, timeout=LINGER)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER):
                while await self._reader.read(65536):
                    pass
                self._writer.close()
                await self._writer.wait_closed()

    # --- inside -------------------------------------------------------------------------------------------------

    async def _receive(self) -> bool:
        """Read once; False at the end of the stream."""
        try:
            data = await self._reader.read(65536)
            if self._request is None and data.startswith(b"POST "):
                data, self.body = await posted(data, self._reader)
        except OSError:
            data = b""
        if self._protocol.state is State.CLOSED:  # dropped meanwhile
            return False
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frames.append(event)
            elif isinstance(event, Request):
                self._request = event
        self._replies.extend(self._protocol.data_to_send())
        return bool(data)

    def _processed(self, frame: Frame) -> str | bytes | None:
        """Answer a control frame; put the parts of a message together and return it when it is complete."""
        match frame.opcode:
            case Opcode.PING:
                if self._replies:
                    pong = partial(self._outlet.put, self._replies.popleft())
                    pong() if self.on_ping is None else self.on_ping(pong)
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                if frame.opcode is not Opcode.CONT:
                    self._is_text = frame.opcode is Opcode.TEXT
                self._parts.append(bytes(frame.data))
                if frame.fin:
                    message = b"".join(self._parts)
                    self._parts.clear()
                    return self._decoded(message) if self._is_text else message
            case Opcode.PONG:
                if (answered := self._pongs.pop(bytes(frame.data), None)) is not None:
                    answered.set()
            case _:  # after a close frame the iteration ends
                pass
        return None

    def _decoded(self, message: bytes) -> str | None:
        try:
            return message.decode()
        except UnicodeDecodeError:
            self.close(1007, "invalid UTF-8")
            return None

    def _framed(self, message: str | bytes) -> bytes:
        kind = self._garble.popleft() if self._garble else None
        text = message.encode() if isinstance(message, str) else message
        if kind == "text":
            text = text[: len(text) // 2] + b"\x1a}]"
        elif kind == "utf8":
            text = b"\xff\xfe" + text
        if isinstance(message, str):
            self._protocol.send_text(text)
        else:
            self._protocol.send_binary(text)
        raw = b"".join(self._protocol.data_to_send())
        return bytes([raw[0] | 0x70]) + raw[1:] if kind == "frame" else raw

    def _release_replies(self) -> None:
        self._outlet.put(*self._replies)
        self._replies.clear()
