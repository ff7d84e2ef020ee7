"""One direction of a WebSocket connection, overheard: what was said, and never an answer."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from io import BytesIO

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode

from bridge.model import Json
from bridge.websocket.protocol import Reader


@dataclass(frozen=True, slots=True)
class Said:
    """A whole message or a control frame, as a transcript has it (bridge.transcript)."""

    kind: str
    data: Json | bytes


class Frames:
    """`feed` takes bytes as they come and gives what they complete. After an error it says so once, and no more.

    `masked`: they come from the client. `largest`: bytes of one message.
    """

    def __init__(self, *, masked: bool, largest: int) -> None:
        self._masked, self._largest = masked, largest
        self._reader = Reader()
        self._said: list[Said] = []
        self._message, self._is_text = BytesIO(), True
        self._lost = False
        self._parser = self._parse()
        next(self._parser)

    def feed(self, data: bytes) -> list[Said]:
        if self._lost:
            return []
        self._reader.feed_data(data)
        try:
            next(self._parser)
        except (ProtocolError, PayloadTooBig, UnicodeDecodeError) as error:
            self._lost = True
            self._said.append(Said("note", f"from here on not recorded, because this is no WebSocket: {error}"))
        said, self._said = self._said, []
        return said

    def _parse(self) -> Generator[None, None, None]:
        while True:
            frame = yield from Frame.parse(self._reader.read_exact, mask=self._masked, max_size=self._largest)
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.PING | Opcode.PONG:
                kind = "ping" if frame.opcode is Opcode.PING else "pong"
                self._said.append(Said(kind, bytes(frame.data).decode("latin-1")))
            case Opcode.CLOSE:
                close = Close.parse(frame.data)
                self._said.append(Said("close", {"code": int(close.code), "reason": close.reason}))
            case opcode:
                if opcode is not Opcode.CONT:
                    self._message, self._is_text = BytesIO(), opcode is Opcode.TEXT
                if self._message.tell() + len(frame.data) > self._largest:
                    raise PayloadTooBig(None, self._largest)
                self._message.write(frame.data)
                frame.data = b""  # the parser keeps its last frame
                if frame.fin:
                    message, self._message = self._message.getvalue(), BytesIO()
                    self._complete(message)

    def _complete(self, message: bytes) -> None:
        if not self._is_text:
            self._said.append(Said("binary", message))
            return
        try:
            self._said.append(Said("text", message.decode()))
        except UnicodeDecodeError:
            self._said.append(Said("note", "the next frame was sent as a text, and is no UTF-8"))
            self._said.append(Said("binary", message))
