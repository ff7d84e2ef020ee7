"""Faults on demand: asked for by method calls in the same process, or by HTTP GET on the server's own port.

`GET /_fault` lists them; `GET /_fault/stall?seconds=5` asks for one. Connections are: those open at that moment.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, get_args

from bridge.simulators.server.connection import Connection
from bridge.simulators.server.gate import Gate

Fault = Callable[..., None]


class Faulty(Protocol):
    """What of a server the faults change."""

    blocked: Gate
    hanging: Gate
    silent: Gate
    delay: float

    @property
    def connections(self) -> list[Connection]: ...
    def refuse(self, seconds: float | None, status: int) -> None: ...
    def accept(self) -> None: ...


class Faults:
    """The faults that any simulator has; seconds missing means until `clear`."""

    def __init__(self, server: Faulty) -> None:
        self._server = server

    def drop(self) -> None:
        """End all connections without a close frame (code 1006)."""
        for connection in self._server.connections:
            connection.drop()

    def close(self, code: int = 1001, reason: str = "") -> None:
        """Close all connections properly, with this code."""
        for connection in self._server.connections:
            connection.close(code, reason)

    def stall(self, seconds: float | None = None) -> None:
        """Connections stop reading and answering, pongs included; new ones work."""
        for connection in self._server.connections:
            connection.stall(seconds)

    def block(self, seconds: float | None = None) -> None:
        """The whole server stands still, handshakes included, like a program that works on its event loop."""
        self._server.blocked.shut(seconds)

    def silence(self, seconds: float | None = None) -> None:
        """Accept connections, read messages, answer pings, and send nothing else; what came meanwhile is lost."""
        self._server.silent.shut(seconds)

    def hang(self, seconds: float | None = None) -> None:
        """New connections hang in the handshake: TCP is accepted and nothing follows."""
        self._server.hanging.shut(seconds)

    def refuse(self, seconds: float | None = 5.0, status: int = 0) -> None:
        """Refuse new connections: by TCP (then this control path is away, too), or with an HTTP status."""
        self._server.refuse(seconds, status)

    def delay(self, seconds: float = 1.0) -> None:
        """Everything sent from now on, pongs included, comes so much later; 0 ends it."""
        self._server.delay = seconds

    def garble(self, kind: Literal["text", "utf8", "frame"] = "text", count: int = 1) -> None:
        """Damage the next messages: broken text, text that is not UTF-8, or a frame that breaks the protocol."""
        for connection in self._server.connections:
            connection.garble(kind, count)

    def cut(self, then: Literal["silence", "close", "drop"] = "silence", seconds: float | None = None) -> None:
        """Send half of the next frame, then nothing (with seconds: the rest follows), or the end of TCP."""
        for connection in self._server.connections:
            connection.cut(then, seconds)

    def flood(self, count: int = 10_000, text: str = "") -> None:
        """Send this text, or each connection's last message again, so many times at once."""
        for connection in self._server.connections:
            connection.flood(count, text)

    def clear(self) -> None:
        """End all faults that last."""
        self._server.delay = 0.0
        self._server.accept()
        for gate in (self._server.blocked, self._server.silent, self._server.hanging):
            gate.open()
        for connection in self._server.connections:
            connection.stalled.open()

    def all(self) -> list[Fault]:
        return [
            self.drop,
            self.close,
            self.stall,
            self.block,
            self.silence,
            self.hang,
            self.refuse,
            self.delay,
            self.garble,
            self.cut,
            self.flood,
            self.clear,
        ]


def described(faults: Mapping[str, Fault]) -> str:
    """The list for `GET /_fault`: name -> what it does, and its parameters with their defaults."""
    listing = {
        name: {
            "does": inspect.getdoc(fault),
            "parameters": {
                parameter.name: "required" if parameter.default is parameter.empty else parameter.default
                for parameter in inspect.signature(fault).parameters.values()
            },
        }
        for name, fault in faults.items()
    }
    return json.dumps(listing, indent=2)


def asked(fault: Fault, query: Mapping[str, str]) -> None:
    """Call a fault with parameters from a URL; ValueError says what is wrong with them."""
    parameters = inspect.signature(fault).parameters
    if unknown := query.keys() - parameters.keys():
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(parameters)}")
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in query]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    fault(**{name: _converted(text, parameters[name].annotation) for name, text in query.items()})


def _converted(text: str, annotation: object) -> object:
    """Text as the scalar that an annotation names: bool, int, float, one of a Literal, or str; also with None."""
    kinds = get_args(annotation) or (annotation,)
    if bool in kinds:
        return text.lower() in {"1", "true", "yes", "on"}
    if int in kinds:
        return int(text)
    if float in kinds:
        return float(text)
    if str not in kinds and text not in kinds:
        raise ValueError(f"{text!r} is none of {', '.join(map(str, kinds))}")
    return text
