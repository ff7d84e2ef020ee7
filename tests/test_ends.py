"""How connections end: which verdict, and which words."""

from __future__ import annotations

import errno
import ssl

import pytest

from bridge.driver import ProtocolError, Trouble, Verdict
from bridge.ends import SessionClosed, explain, judge, trouble
from bridge.mqtt_values import MqttError, Refused
from bridge.websocket import ConnectionLost, HandshakeRefused, HandshakeTimeout, ProtocolViolation

SEVERAL = f"Multiple exceptions: [Errno {errno.ECONNREFUSED}] Connect call failed ('::1', 1, 0, 0)"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (SessionClosed("closed"), Verdict.PASSING),
        (SessionClosed("grant", Verdict.AGAIN), Verdict.AGAIN),
        (SessionClosed("login", Verdict.STUBBORN), Verdict.STUBBORN),
        (HandshakeRefused(401, "Unauthorized"), Verdict.STUBBORN),
        (HandshakeRefused(404), Verdict.STUBBORN),
        (HandshakeRefused(301), Verdict.STUBBORN),
        (HandshakeRefused(503), Verdict.PASSING),
        (HandshakeRefused(429), Verdict.PASSING),
        (HandshakeTimeout("silence"), Verdict.PASSING),
        (ConnectionLost(1006), Verdict.PASSING),
        (ProtocolViolation("reserved bits"), Verdict.PASSING),
        (ProtocolError("no JSON"), Verdict.PASSING),
        (Refused("CONNACK", 0x87, "not authorized"), Verdict.STUBBORN),
        (Refused("CONNACK", 0x88, "server unavailable"), Verdict.PASSING),
        (MqttError("closed"), Verdict.PASSING),
        (ssl.SSLCertVerificationError("self-signed"), Verdict.STUBBORN),
        (ssl.SSLEOFError("cut off"), Verdict.PASSING),
        (ssl.SSLZeroReturnError("closed"), Verdict.PASSING),
        (ConnectionRefusedError(), Verdict.PASSING),
        (TimeoutError(), Verdict.PASSING),
        (KeyError("x"), Verdict.BUG),
        (ValueError("x"), Verdict.BUG),
        (AssertionError(), Verdict.BUG),
    ],
)
def test_verdicts(error: Exception, verdict: Verdict) -> None:
    assert judge(error) is verdict


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "nobody listens"),
        (OSError(errno.EHOSTUNREACH, "in any language"), "no route"),
        (OSError(f"{SEVERAL}, {SEVERAL}"), "nobody listens"),
        (OSError(f"{SEVERAL}, [Errno 113] no route"), "[Errno 113] no route"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (TimeoutError("10.0.0.9 port 80 does not answer"), "10.0.0.9 port 80 does not answer"),
        (TimeoutError(), "TimeoutError"),
        (KeyError(), "KeyError"),
        (ValueError("two\n  lines"), "two lines"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "certificate verify failed"),
        (HandshakeRefused(403, "Forbidden", body="go away"), "handshake refused with HTTP 403 Forbidden: go away"),
    ],
)
def test_words_are_one_sentence(error: Exception, words: str) -> None:
    assert words in explain(error)
    assert "\n" not in explain(error)


def test_a_flood_of_words_is_cut() -> None:
    assert len(explain(ValueError("long " * 1000))) == 300


def test_troubles_that_may_mean_something_else_for_a_device() -> None:
    assert trouble(HandshakeTimeout("silence")) is Trouble.HANDSHAKE
    assert trouble(ConnectionRefusedError()) is Trouble.REFUSED
    assert trouble(OSError(f"{SEVERAL}, {SEVERAL}")) is Trouble.REFUSED
    assert trouble(ConnectionResetError()) is None
    assert trouble(TimeoutError()) is None
