"""Where a WebSocket connection goes, and what it says there."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from bridge import __version__

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and how; ValueError says what cannot work."""

    url: str  # ws:// or wss://, without credentials
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    username: str | None = None  # HTTP Basic
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None  # for wss://, from bridge.tls
    server_name: str | None = None  # the name in the peer's certificate, if it is not the URL's
    open_timeout: float = 10.0  # seconds for name and TCP, and as many again for TLS and the handshake
    frame_limit: int = 16 << 20  # bytes of one message, fragments added up
    send_limit: int = 4 << 20  # bytes that may wait unsent

    def __post_init__(self) -> None:
        if re.match(r"[^/?#]*//[^/?#]*@", self.url):
            raise ValueError("credentials do not belong into the URL, which is shown: use username and password")
        if not self.url.isprintable() or " " in self.url:
            raise ValueError(f"{self._shown!r} contains spaces or control characters")
        if self.uri.secure != (self.tls is not None):
            raise ValueError(f"{self._shown}: wss:// and TLS options go together")
        for name, value in self.headers.items():
            if not (_TOKEN.fullmatch(name) and value.isascii() and value.isprintable()):
                raise ValueError(f"header {name!r} contains characters that a header cannot have")
            if name.lower() in ("connection", "upgrade") or name.lower().startswith("sec-websocket-"):
                raise ValueError(f"header {name!r} belongs to the WebSocket handshake itself")
        if self.username is None and self.password is not None:
            raise ValueError("a password is given without a username")
        if ":" in (self.username or ""):
            raise ValueError("the username contains a colon, which HTTP Basic cannot carry")

    @property
    def uri(self) -> WebSocketURI:
        try:
            return parse_uri(self.url)
        except InvalidURI as error:
            raise ValueError(f"{self._shown!r}: {error.msg}") from None

    @property
    def _shown(self) -> str:
        """Without a query, which may hold a token."""
        url, query, _ = self.url.partition("?")
        return f"{url}?***" if query else url

    def request_headers(self) -> dict[str, str]:
        """What is said beyond the handshake itself; the later of two equal names counts."""
        headers = {"User-Agent": f"lab2mqtt/{__version__}"}
        if self.username is not None:
            credentials = f"{self.username}:{self.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
        return {**headers, **self.headers}
