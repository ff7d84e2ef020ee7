"""TCP and TLS to a target, one after the other, so that a timeout tells which of them is silent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

from bridge.websocket.target import Target

_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),  # ms; keepalive rests while bytes are unacknowledged
)


async def connect_tcp(target: Target, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.Transport:
    """A connected socket, with options that notice a dead peer. OSError, TimeoutError among them."""
    uri, loop = target.uri, asyncio.get_running_loop()
    try:
        async with asyncio.timeout(target.open_timeout):
            tcp, _ = await loop.create_connection(factory, uri.host, uri.port)
    except TimeoutError as error:
        raise TimeoutError(f"{uri.host} port {uri.port} does not answer") from error
    try:
        for option in _SOCKET_OPTIONS:
            tcp.get_extra_info("socket").setsockopt(*option)
    except OSError:
        tcp.abort()
        raise
    return tcp


async def start_tls(target: Target, tcp: asyncio.Transport, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
    """TLS over it, for the protocol. OSError, ssl.SSLError among them."""
    name = target.server_name or target.uri.host
    tls = cast(ssl.SSLContext, target.tls)
    limit = target.open_timeout + 1  # never the first to act
    loop = asyncio.get_running_loop()
    secured = await loop.start_tls(tcp, protocol, tls, server_hostname=name, ssl_handshake_timeout=limit)
    if secured is None or tcp.is_closing():
        raise ConnectionResetError("the peer hung up during the TLS handshake")
    return secured
