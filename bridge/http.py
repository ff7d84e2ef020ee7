"""A small HTTP server for a few pages that are made at once: GET and HEAD, one request per connection, no tasks.

RFC 9110 and 9112 as far as probes and Prometheus need them. Whoever connects can cost little: a head of 8 KiB, one
answer, ten seconds, and at most 32 connections, of which the oldest has to go for a new one; so those that say
nothing never keep a probe from being answered.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

import structlog
from msgspec import Struct

from bridge.ends import explain
from bridge.keeper import End, keep

HEAD = 8192  # bytes of a request's line and headers
MOST = 32  # connections at once
RETRY = 30.0  # seconds, at most, between tries to listen
SPILL = 64 << 10  # bytes read after the request, and forgotten
PATIENCE = 10.0  # seconds from the connection to its end, whatever it does
READ = ("GET", "HEAD")

_END = re.compile(rb"\r?\n\r?\n")
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t -~\x80-\xff]*")

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Page(Struct, frozen=True):
    body: bytes
    type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


Pages = Mapping[str, Callable[[str], Page]]  # by path; each is given the query


class Server:
    """`trouble` is told why it does not listen; "" when it does."""

    def __init__(self, host: str, port: int, pages: Pages, trouble: Callable[[str], None]) -> None:
        self._host, self._port, self._pages, self._trouble = host, port, pages, trouble
        self.connections: dict[Connection, None] = {}  # oldest first
        self.addresses: list[tuple[str, int]] = []  # where it listens

    async def run(self) -> None:
        """For ever. Instruments matter more than these pages: an address that is taken is tried again quietly."""
        await keep(self._serve, self._ended, longest=RETRY)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        make = partial(Connection, self._pages, self.connections)
        server = await loop.create_server(make, self._host, self._port)
        self.addresses = [socket.getsockname()[:2] for socket in server.sockets]
        log.info("serving /livez, /readyz and /metrics", addresses=self.addresses)
        self._trouble("")
        try:
            await loop.create_future()
        finally:
            self.addresses = []
            server.close()
            for connection in list(self.connections):
                connection.abort()
            while self.connections:  # noqa: ASYNC110  (a turn or two of the loop)
                await asyncio.sleep(0)

    def _ended(self, end: End) -> None:
        reason = f"no HTTP on {self._host} port {self._port}: {explain(end.error)}"
        self._trouble(reason)
        tell = log.warning if end.first else log.debug
        tell("no probes and metrics", reason=reason, retry_in=round(end.wait, 1))


class Connection(asyncio.Protocol):
    """Reads one head, gives one answer, and waits a little for the other side to have read it."""

    def __init__(self, pages: Pages, connections: dict[Connection, None]) -> None:
        self._pages, self._connections = pages, connections
        self._head = bytearray()
        self._answered, self._spill = False, 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self.abort)
        if len(self._connections) >= MOST:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.abort()
        self._connections[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """Cut it at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._answered:  # a body: to close with something unread would take the answer away again
            self._spill += len(data)
            if self._spill > SPILL:
                self.abort()
            return
        self._head += data
        end = _END.search(self._head)
        if end is None and len(self._head) <= HEAD:
            return
        self._answered = True
        self._transport.write(answer(bytes(self._head[: end.start()]) if end else None, self._pages))
        if self._transport.can_write_eof():
            self._transport.write_eof()  # and it ends when the other side has done the same, or with the patience
        self._head.clear()


def answer(head: bytes | None, pages: Pages) -> bytes:
    """The response to a request's head, without the empty line at its end; None: it is too long."""
    if head is None or len(head) > HEAD:
        return _response(_refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {HEAD} bytes"))
    line, *headers = head.replace(b"\r\n", b"\n").split(b"\n")
    request = _REQUEST.fullmatch(line)
    names = [header[1].lower() if (header := _HEADER.fullmatch(text)) else b"" for text in headers]
    if request is None or b"" in names or (request[3] == b"1" and names.count(b"host") != 1):
        return _response(_refusal(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request"))
    method = request[1].decode()
    try:
        target = urlsplit(request[2].decode())
    except ValueError:
        return _response(_refusal(HTTPStatus.BAD_REQUEST, "this is no address"), method)
    page = pages.get(target.path)
    if page is None:
        return _response(_refusal(HTTPStatus.NOT_FOUND, f"there are {', '.join(pages)}"), method)
    if method not in READ:
        return _response(_refusal(HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD"), method)
    return _response(page(target.query), method)


def _refusal(status: HTTPStatus, detail: str) -> Page:
    return Page(f"{status.phrase}: {detail}\n".encode(), status=status)


def _response(page: Page, method: str = "GET") -> bytes:
    """With HEAD all but the body."""
    status = page.status
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {page.type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(f"Allow: {', '.join(READ)}")
    body = b"" if method == "HEAD" else page.body
    return "\r\n".join([*lines, "", ""]).encode() + body
