"""The `websockets` library's client without I/O, with a way of its own for long payloads.

The library collects a frame in one buffer and then cuts the payload out of it: two copies of all of it in one go,
and three times the memory. Here a long payload grows in a BytesIO as it arrives, which finally gives up its bytes
without a copy. All rules of the protocol stay the library's.
"""

from __future__ import annotations

from collections.abc import Generator
from io import BytesIO
from typing import cast

from websockets.client import ClientProtocol
from websockets.streams import StreamReader

LONG = 1 << 20  # bytes of a payload from which the copies would be felt


class Protocol(ClientProtocol):
    def parse(self) -> Generator[None, None, None]:
        self.reader = Reader()  # the library calls this once, before anything is read
        return super().parse()


class Reader(StreamReader):
    def read_exact(self, n: int) -> Generator[None, None, bytearray]:
        """As the library's, from which it differs only for long payloads: those are bytes, made once."""
        while len(self.buffer) < n:
            if n >= LONG:
                return cast(bytearray, (yield from self._read_long(n)))
            if self.eof:
                raise EOFError(f"stream ends after {len(self.buffer)} bytes, expected {n} bytes")
            yield
        found = self.buffer[:n]
        del self.buffer[:n]
        return found

    def _read_long(self, n: int) -> Generator[None, None, bytes]:
        payload = BytesIO()
        while (missing := n - payload.tell()) > 0:
            if not self.buffer:
                if self.eof:
                    raise EOFError(f"stream ends after {payload.tell()} bytes, expected {n} bytes")
                yield
            piece = self.buffer if len(self.buffer) <= missing else self.buffer[:missing]
            payload.write(piece)
            del self.buffer[: len(piece)]
        return payload.getvalue()
