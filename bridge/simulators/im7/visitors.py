"""The WebSocket connections as the instrument lists them: who is there, since when, and from where."""

import json
import uuid
from dataclasses import dataclass, field

from bridge.simulators.im7.errors import JsonObject
from bridge.simulators.im7.jobs import Starter, now
from bridge.simulators.server import Connection


@dataclass(frozen=True, slots=True, eq=False)
class Visitor:
    """One WebSocket connection."""

    socket: Connection
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    since: str = field(default_factory=now)

    @property
    def connection(self) -> JsonObject:
        return {
            "connection_id": self.id,
            "connected_since": self.since,
            "remote_addr": self.socket.remote,
            "remote_port": 0,  # of no interest to anybody
            "target": self.socket.path,
            "user_agent": self.socket.headers.get("User-Agent", ""),
            "using_tls": False,
        }

    def tell(self, message: JsonObject) -> None:
        self.socket.send(json.dumps(message))

    def starter(self, request_id: object) -> Starter | None:
        return Asker(self, request_id)


@dataclass(slots=True, eq=False)
class Asker:
    """A visitor that has started a job with this request."""

    visitor: Visitor
    request_id: object
    late: JsonObject | None = None

    def notify(self, done: JsonObject) -> None:
        self.visitor.tell({"type": "JOB_DONE", "request_id": self.request_id, **done})
        if self.late is not None:
            self.visitor.tell(self.late)


@dataclass(frozen=True, slots=True)
class Passenger:
    """One HTTP request: nobody who could be notified."""

    @property
    def connection(self) -> JsonObject:
        return {}

    def starter(self, request_id: object) -> Starter | None:
        return None


class Visitors:
    """All of them; what the instrument tells, it tells to all."""

    def __init__(self) -> None:
        self._all: dict[str, Visitor] = {}

    def enter(self, visitor: Visitor) -> None:
        self._all[visitor.id] = visitor

    def leave(self, visitor: Visitor) -> None:
        self._all.pop(visitor.id, None)

    def listed(self) -> list[JsonObject]:
        return [visitor.connection for visitor in self._all.values()]

    def drop(self, connection_id: str) -> None:
        self._all[connection_id].socket.close(1001, "dropped by another client")

    def publish(self, event: JsonObject, besides: Starter | None = None) -> None:
        """To everybody but who started the job, if that is told; encoded once."""
        if not self._all:
            return
        text = json.dumps({"type": "EVENT", "event": event})
        known = besides.visitor if isinstance(besides, Asker) else None
        for visitor in self._all.values():
            if visitor is not known:
                visitor.socket.send(text)
