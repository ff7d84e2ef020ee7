"""How a WebSocket connection fails to open or ends, in words that say whose fault it is.

The functions turn the `websockets` library's view into ours; they are the only place that reads its exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, InvalidStatus, PayloadTooBig, ProtocolError

ABNORMAL, VIOLATION, TOO_SLOW = 1006, 1002, 1008  # close codes, RFC 6455 section 7.4.1
EXCERPT = 200  # characters of what a peer wrote that are worth showing

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")


class WebSocketError(Exception):
    """The peer, or the way to it; never a fault of the caller."""


class HandshakeTimeout(WebSocketError, TimeoutError):
    """TCP is connected, but the TLS or WebSocket handshake gets no answer: the peer's program is stuck or busy."""


@dataclass(eq=False)
class HandshakeRefused(WebSocketError):
    """The peer answered the handshake with an HTTP status other than 101. `body`: the beginning of its text."""

    status: int
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def __str__(self) -> str:
        return _sentence(f"handshake refused with HTTP {self.status} {self.reason}".rstrip(), self.body)


@dataclass(eq=False)
class ProtocolViolation(WebSocketError):
    """The peer broke a rule of HTTP or WebSocket, or a limit of ours. `code`: the close code for that."""

    reason: str
    code: int = VIOLATION

    def __str__(self) -> str:
        return _sentence(f"protocol violation ({self.code})", self.reason)


@dataclass(eq=False)
class ConnectionLost(WebSocketError):
    """The connection is gone. `code` is the peer's; 1005: it gave none; 1006: there was no close frame."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        return _sentence(f"connection lost ({self.code})", self.reason)


def handshake_failure(protocol: ClientProtocol, head: bytes) -> WebSocketError:
    """Why a handshake failed; `head` is the beginning of the peer's reply as it arrived."""
    error = protocol.handshake_exc
    if isinstance(error, InvalidStatus):
        response = error.response
        body = _excerpt(bytes(response.body or b"").decode(errors="replace"))
        headers = dict(response.headers.raw_items())
        return HandshakeRefused(response.status_code, _excerpt(response.reason_phrase), headers, body)
    if refused := _refusal(head):
        return refused
    if error is None or (isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError)):
        return ConnectionLost(ABNORMAL, "the peer hung up during the handshake")
    return ProtocolViolation(_excerpt(f"handshake: {error.__cause__ or error}"))


def silence(head: bytes) -> WebSocketError:
    """What it means that a handshake was not finished in time; `head` as above."""
    return _refusal(head) or HandshakeTimeout("TCP is connected, but the handshake gets no answer")


def ending(protocol: ClientProtocol, error: Exception | None) -> Exception:
    """How an open connection ended; `error` is the transport's. A bug in the library is returned as it is."""
    end = protocol.close_exc
    cause = end.__cause__
    if isinstance(cause, ProtocolError | PayloadTooBig | UnicodeDecodeError):
        return ProtocolViolation(_excerpt(str(cause)), end.sent.code if end.sent else VIOLATION)
    if end.rcvd is not None:
        return ConnectionLost(end.rcvd.code, _excerpt(end.rcvd.reason))
    if isinstance(cause, EOFError) or not isinstance(cause, Exception):
        lost = ConnectionLost(ABNORMAL, str(error) if error else "the peer hung up without a close frame")
        lost.__cause__ = error
        return lost
    return cause


def not_open(protocol: ClientProtocol) -> ConnectionLost:
    """What to say to one who still wants to send; the peer's close frame, if it has come, says more."""
    end = protocol.close_rcvd
    return ConnectionLost(ABNORMAL, "not open") if end is None else ConnectionLost(end.code, _excerpt(end.reason))


def _refusal(head: bytes) -> HandshakeRefused | None:
    """The HTTP status alone, if it is a refusal: it counts even if the rest never came or is malformed."""
    line = _STATUS_LINE.match(head)
    if line is None or line[1] == b"101":
        return None
    return HandshakeRefused(int(line[1]), _excerpt((line[2] or b"").decode("latin-1")))


def _sentence(what: str, why: str) -> str:
    return f"{what}: {why}" if why else what


def _excerpt(text: str) -> str:
    """Short, on one line and safe to show."""
    return "".join(character if character.isprintable() else " " for character in text[:EXCERPT]).strip()
