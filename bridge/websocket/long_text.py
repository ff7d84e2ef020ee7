"""Decodes a long text without stopping the loop: 150 MB of UTF-8 in one go would take 100 ms.

A thread would be no help, because decoding holds the interpreter's lock.
"""

from __future__ import annotations

import asyncio
from codecs import getincrementaldecoder
from collections.abc import Callable, Generator

LONG = 4 << 20  # bytes of a text that take too long together with what else is done in one turn of the loop
PIECE = 2 << 20  # bytes decoded in one turn


def decode_in_turns(data: bytes, take: Callable[[str | None], None]) -> None:
    """Decode a piece now and one in each turn of the loop; `take` gets the text, or None: it is no UTF-8."""
    _go_on(_decoded(data), take)


def _go_on(pieces: Generator[None, None, str], take: Callable[[str | None], None]) -> None:
    text: str | None = None
    try:
        next(pieces)
    except StopIteration as decoded:
        text = decoded.value
    except UnicodeDecodeError:
        pass
    else:
        asyncio.get_running_loop().call_soon(_go_on, pieces, take)
        return
    take(text)  # out here, so that no error of its own drags 150 MB along as its context


def _decoded(data: bytes) -> Generator[None, None, str]:
    """Yields after each piece and returns the text."""
    decode = getincrementaldecoder("utf-8")().decode
    text = ""
    for at in range(0, len(data), PIECE):
        # CPython appends in place to a string that only a local variable refers to: no copy of all before.
        text += decode(data[at : at + PIECE], at + PIECE >= len(data))
        yield
    return text
