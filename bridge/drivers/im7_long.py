"""A reply of 150 MB, read without stopping anybody: nearly all of it is one text of base64.

Parsing it in one go would hold the interpreter's lock for half a second, and so would handing it to another
process in one go. So the long texts are found by their quotes and left where they are, what remains is parsed as
usual, and the texts are decoded piece by piece in the worker process. At its peak the daemon holds the frame and
the result.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping

from bridge.drivers.im7_data import DataError
from bridge.drivers.im7_frames import Unreadable, mapping, parse, sequence

LONG = 4 << 20  # characters of a frame that is too long to be parsed on the loop
PIECE = 4 << 20  # characters that are decoded at once; a multiple of 4
_TEXT = 64 << 10  # characters from which a text is left out of the outline
_OUTLINE = 1 << 20  # characters that may remain
_QUOTES = 20_000  # texts that may be in it


class Outline:
    """A long frame without its long texts. Unreadable: it is no such thing."""

    def __init__(self, frame: str) -> None:
        self.frame = frame
        self._spans = [span for span in _texts(frame) if span[1] - span[0] >= _TEXT]
        if len(frame) - sum(end - start for start, end in self._spans) > _OUTLINE:
            raise Unreadable("long, and not because of a long text")
        pieces, at = [], 0
        for turn, (start, end) in enumerate(self._spans):
            pieces += [frame[at:start], _place(turn)]
            at = end
        self.message = parse("".join([*pieces, frame[at:]]))

    def decoding(self) -> Decoding:
        return Decoding(self.frame, dict(zip(map(_place, range(len(self._spans))), self._spans, strict=True)))


def _place(turn: int) -> str:
    """What stands for a text in the outline; nothing else looks like it."""
    return f"<lab2mqtt: long text {turn}>"


def _texts(frame: str) -> list[tuple[int, int]]:
    """Where the texts of this JSON begin and end, without their quotes."""
    found: list[tuple[int, int]] = []
    start = frame.find('"') + 1
    while start:
        end = frame.find('"', start)
        while end > 0 and _escaped(frame, end):
            end = frame.find('"', end + 1)
        if end < 0 or len(found) == _QUOTES:
            raise Unreadable("its texts do not end, or are too many")
        found.append((start, end))
        start = frame.find('"', end + 1) + 1
    return found


def _escaped(frame: str, at: int) -> bool:
    backslashes = 0
    while frame[at - 1 - backslashes] == "\\":
        backslashes += 1
    return backslashes % 2 == 1


def _unescaped(frame: str, start: int, end: int) -> tuple[str, int, int]:
    """A text of base64 may have its slashes escaped; else it stays where it is."""
    if frame.find("\\", start, end) < 0:
        return frame, start, end
    found = frame[start:end].replace("\\/", "/")
    return found, 0, len(found)


def decode_piece(piece: str, last: bool) -> bytes:
    """A piece of base64; DataError when it is not valid. Runs in the worker process."""
    try:
        decoded = a2b_base64(piece, strict_mode=True)
    except ValueError as error:
        raise DataError(f"no valid base64: {error}") from None
    if not last and len(decoded) * 4 != len(piece) * 3:
        raise DataError("no valid base64: it ends in the middle")
    return decoded


class Decoding:
    """The texts of one reply, from base64 to bytes: `piece` is to be decoded, `take` gets what came of it."""

    def __init__(self, frame: str, texts: Mapping[str, tuple[int, int]]) -> None:
        self._texts = {place: _unescaped(frame, start, end) for place, (start, end) in texts.items()}
        self._waiting = [
            (place, at) for place, (_, start, end) in self._texts.items() for at in range(start, end, PIECE)
        ]
        self._turn = 0
        self._contents = {place: bytearray() for place in texts}

    @property
    def size(self) -> int:
        """How many bytes come of it, at most."""
        return sum((end - start) // 4 * 3 for _, start, end in self._texts.values())

    @property
    def piece(self) -> tuple[str, bool] | None:
        """The arguments for `decode_piece`; None: all is decoded."""
        if self._turn == len(self._waiting):
            return None
        place, at = self._waiting[self._turn]
        source, _, end = self._texts[place]
        return source[at : min(at + PIECE, end)], at + PIECE >= end

    def take(self, decoded: bytes) -> None:
        self._contents[self._waiting[self._turn][0]] += decoded
        self._turn += 1

    def finish(self, message: Mapping[str, object]) -> Mapping[str, object]:
        """The reply with the bytes in the place of the texts."""
        envelopes: list[object] = []
        for envelope in sequence(message.get("data")):
            event = mapping(mapping(envelope).get("event"))
            data = event.get("data")
            content = self._contents.get(data) if isinstance(data, str) else None
            envelopes.append(envelope if content is None else {"event": {**event, "data": content}})
        return {**message, "data": envelopes}
