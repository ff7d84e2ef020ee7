"""How connections end: what it means for the next one, and how to say it to a person."""

from __future__ import annotations

import errno
import re
import socket
import ssl

from bridge.driver import ProtocolError, Trouble, Verdict
from bridge.mqtt_values import MqttError, Refused
from bridge.websocket import HandshakeRefused, HandshakeTimeout, WebSocketError

_SOON = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP: the peer or a proxy may recover


class SessionClosed(Exception):
    """The connection was given up on this side; `verdict` says what to do next."""

    def __init__(self, reason: str, verdict: Verdict = Verdict.PASSING) -> None:
        super().__init__(reason)
        self.verdict = verdict


def judge(error: BaseException) -> Verdict:
    """Passing, stubborn or a bug. SSLError and TimeoutError are OSErrors, so the former is sorted first."""
    match error:
        case SessionClosed(verdict=verdict):
            return verdict
        case HandshakeRefused(status=status):
            return Verdict.PASSING if status in _SOON else Verdict.STUBBORN
        case Refused(passing=passing):
            return Verdict.PASSING if passing else Verdict.STUBBORN
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Verdict.PASSING
        case ssl.SSLError():
            return Verdict.STUBBORN
        case OSError() | ProtocolError() | WebSocketError() | MqttError():
            return Verdict.PASSING
    return Verdict.BUG


def explain(error: BaseException) -> str:
    """One sentence for a person: never empty, never several lines."""
    text = " ".join(str(error).split()) or type(error).__name__
    match error:
        case ssl.SSLError():
            pass
        case socket.gaierror():
            text = f"the host's name cannot be resolved: {error.strerror}"
        case ConnectionResetError(errno=None):  # asyncio's own, with no word of explanation
            text = _WORDS[errno.ECONNRESET]
        case OSError() if (number := _number(error)) in _WORDS:
            text = _WORDS[number]
    return text[:300]


def _number(error: OSError) -> int | None:
    """Its errno; that of the others which it quotes (a name with several addresses), if all are the same."""
    numbers = set(re.findall(r"\[Errno (\d+)\]", str(error)))
    return int(numbers.pop()) if error.errno is None and len(numbers) == 1 else error.errno


_WORDS = {  # the operating system's own differ by language, and asyncio's are no sentences
    errno.ECONNREFUSED: "connection refused: nobody listens there",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "the network is unreachable",
    errno.ETIMEDOUT: "the network does not answer",
    errno.ECONNRESET: "the peer reset the connection",
    errno.EPIPE: "the peer closed the connection",
    errno.ECONNABORTED: "the connection was aborted",
}


def trouble(error: BaseException) -> Trouble | None:
    """The kinds of failure that a plugin may know a special meaning of."""
    match error:
        case HandshakeTimeout():
            return Trouble.HANDSHAKE
        case ConnectionRefusedError():
            return Trouble.REFUSED
        case OSError() if _number(error) == errno.ECONNREFUSED:
            return Trouble.REFUSED
    return None
