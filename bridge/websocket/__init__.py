"""WebSocket clients on the event loop, without tasks and queues between the socket and the callback."""

from bridge.websocket.connection import WebSocket
from bridge.websocket.errors import (
    ConnectionLost,
    HandshakeRefused,
    HandshakeTimeout,
    ProtocolViolation,
    WebSocketError,
)
from bridge.websocket.target import Target

__all__ = [
    "ConnectionLost",
    "HandshakeRefused",
    "HandshakeTimeout",
    "ProtocolViolation",
    "Target",
    "WebSocket",
    "WebSocketError",
]
