"""The heads of the opening handshake: what the relay changes in them, and what of them may be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge.model import Json
from bridge.transcript import HIDDEN

END = b"\r\n\r\n"
LARGEST = 64 << 10  # bytes of a head
_BODY = 2_000  # bytes of a refusal's text that are worth showing
# A parameter of a query may be a token; and so may whatever these headers have, whoever invented them.
_QUERY = re.compile(r"([?&][^=&\s]*=)[^&\s]*")
_CREDENTIAL = re.compile(r"auth|key|session|signature|csrf|passw|secret|token|credential|cookie", re.IGNORECASE)
_HANDSHAKE = "sec-websocket-"


def is_websocket(head: bytes) -> bool:
    """This request asks for a WebSocket."""
    return re.search(rb"\r\nupgrade:[^\r]*websocket", head, re.IGNORECASE) is not None


def is_accepted(head: bytes) -> bool:
    return re.match(rb"HTTP/1\.1 101\b", head) is not None


def for_device(head: bytes, host: str) -> bytes:
    """The client's request as the device is to see it: its own name, and frames that nobody compresses."""
    first, *lines = head.removesuffix(END).split(b"\r\n")
    kept = [first]
    for line in _unfolded(lines):
        match line.partition(b":")[0].strip().lower():
            case b"host":
                kept.append(b"Host: " + host.encode())
            case b"sec-websocket-extensions":
                pass
            case _:
                kept.append(line)
    return b"\r\n".join(kept) + END


def _unfolded(lines: list[bytes]) -> Iterator[bytes]:
    """A line that begins with a blank continues the one before it, and shares its fate."""
    whole = b""
    for line in lines:
        if whole and line[:1] in (b" ", b"\t"):
            whole += b"\r\n" + line
            continue
        if whole:
            yield whole
        whole = line
    if whole:
        yield whole


def shown(head: bytes, body: bytes = b"") -> Json:
    """A head for the transcript: `line`, `headers` by name, and the beginning of a `body` if there is one."""
    first, *lines = head.removesuffix(END).decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        told = _value(name, value.strip())
        headers[name] = f"{headers[name]}, {told}" if name in headers else told
    document: dict[str, Json] = {"line": _QUERY.sub(rf"\1{HIDDEN}", first), "headers": headers}
    if body:
        document["body"] = body[:_BODY].decode(errors="replace")
    return document


def without_query(url: str) -> str:
    """A url that can be shown: the values in its query may be tokens."""
    return _QUERY.sub(rf"\1{HIDDEN}", url)


def _value(name: str, value: str) -> str:
    if _CREDENTIAL.search(name) and not name.lower().startswith(_HANDSHAKE):
        return HIDDEN
    return _QUERY.sub(rf"\1{HIDDEN}", value)
