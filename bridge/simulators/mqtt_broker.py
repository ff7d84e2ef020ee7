"""An MQTT broker inside the process, for `demo` and fast tests: 3.1.1 and 5, loopback only, nothing on disk.

    async with Broker() as broker:
        connect_somehow("127.0.0.1", broker.port)

It is a stand-in: production uses mosquitto, EMQX or any other. It has QoS 0, 1 and 2, retained messages, wills
with delay, sessions with expiry, message expiry, subscription identifiers and limits on everything that grows.
It has no TLS, no topic aliases, no shared subscriptions and no extended authentication.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from types import TracebackType
from typing import Self
from uuid import uuid4

from bridge.simulators.mqtt_connection import Connection
from bridge.simulators.mqtt_packets import (
    ConnAck,
    Connect,
    Properties,
    Property,
    Reason,
    Version,
    number,
)
from bridge.simulators.mqtt_router import Router
from bridge.simulators.mqtt_sessions import FOREVER, Counters, Limits, Session

__all__ = ["Broker", "Counters", "Limits"]


class Broker:
    """A broker on a loopback address; `port` is the real one once it runs. Used once.

    `credentials` maps user names to passwords; without it everybody may log in. ValueError for an address that
    is not loopback: nothing here is fit for a network.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        limits: Limits | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self.host = "127.0.0.1" if host == "localhost" else host
        if not ip_address(self.host).is_loopback:
            raise ValueError(f"the embedded broker listens on loopback addresses only, not on {host}")
        self.port = port
        self.limits = limits or Limits()
        self.counters = Counters()
        self.router = Router(self.limits, self.counters)
        self._credentials = credentials
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._connections: set[Connection] = set()
        self._gone = asyncio.Event()  # a connection has
        self._online: dict[Session, Connection] = {}
        self._sessions: dict[str, Session] = {}
        self._timers: dict[Session, list[asyncio.TimerHandle]] = {}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(lambda: Connection(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for session in list(self._timers):
            self._cancel_timers(session)
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.close(Reason.SERVER_SHUTTING_DOWN)
            while self._connections:
                self._gone.clear()
                await self._gone.wait()
            await self._server.wait_closed()

    # --- connections ------------------------------------------------------------------------------

    def admit(self, connection: Connection) -> bool:
        """A client has connected; False if there is no room for it."""
        if self._stopping or len(self._connections) >= self.limits.connections:
            self.counters.refused += 1
            return False
        self._connections.add(connection)
        self.counters.connections = len(self._connections)
        return True

    def login(self, packet: Connect, connection: Connection) -> bool:
        """Answer a CONNECT; afterwards the connection has a session, or must be closed (3.1.4)."""
        reason = self._refusal(packet)
        if reason is not Reason.SUCCESS:
            self.counters.refused += 1
            connection.send(ConnAck(reason=reason))
            return False
        client_id = packet.client_id or f"auto-{uuid4().hex}"
        session, present = self._session(client_id, packet)
        if packet.version is Version.V5:
            session.expiry = number(packet.properties, Property.SESSION_EXPIRY, 0)
        else:
            session.expiry = 0 if packet.clean_start else FOREVER
        connection.session = session
        self._online[session] = connection
        self.counters.connected += 1
        if not connection.send(ConnAck(present, Reason.SUCCESS, self._announcement(packet, client_id))):
            return False
        session.resume(connection, self._loop.time())
        return True

    def lost(self, connection: Connection) -> None:
        """A connection is gone: its will is due, now or later, and its session begins to expire."""
        self._connections.discard(connection)
        self.counters.connections = len(self._connections)
        self._gone.set()
        if connection.session is not None and not self._stopping:
            self._detach(connection.session, connection)

    def _refusal(self, packet: Connect) -> Reason:
        if any(name is Property.AUTHENTICATION_METHOD for name, _ in packet.properties):
            return Reason.BAD_AUTHENTICATION_METHOD
        if self._credentials is not None:
            expected = self._credentials.get(packet.username or "")
            if expected is None or not hmac.compare_digest(expected.encode(), packet.password or b""):
                return Reason.BAD_USER_NAME_OR_PASSWORD
        if not packet.client_id and packet.version is Version.V311 and not packet.clean_start:
            return Reason.CLIENT_ID_NOT_VALID
        if packet.client_id not in self._sessions and len(self._sessions) >= self.limits.sessions:
            return Reason.QUOTA_EXCEEDED
        return Reason.SUCCESS

    def _announcement(self, packet: Connect, client_id: str) -> Properties:
        announced: Properties = (
            (Property.RECEIVE_MAXIMUM, self.limits.receive_maximum),
            (Property.MAXIMUM_PACKET_SIZE, self.limits.packet_size),
            (Property.TOPIC_ALIAS_MAXIMUM, 0),
            (Property.SHARED_SUBSCRIPTIONS_AVAILABLE, 0),
        )
        if not packet.client_id:
            announced = (*announced, (Property.ASSIGNED_CLIENT_ID, client_id))
        return announced

    # --- sessions ---------------------------------------------------------------------------------

    def _session(self, client_id: str, packet: Connect) -> tuple[Session, bool]:
        """The client's session and whether it was there; another connection that has it is closed."""
        known = self._sessions.get(client_id)
        if known is not None and (old := self._online.get(known)) is not None:
            self._detach(known, old)
            old.close(Reason.SESSION_TAKEN_OVER)
            known = self._sessions.get(client_id)
        if known is not None and packet.clean_start:
            self._end(known)
        elif known is not None:
            self._cancel_timers(known)
            known.will = None
            return known, True
        session = self._sessions[client_id] = Session(client_id, self.limits, self.counters)
        self.counters.sessions = len(self._sessions)
        return session, False

    def _detach(self, session: Session, connection: Connection) -> None:
        if self._online.get(session) is not connection:
            return  # taken over
        del self._online[session]
        session.outlet = None
        session.will = connection.will
        delay = number(session.will.properties, Property.WILL_DELAY, 0) if session.will else 0
        if session.expiry == 0:
            self._end(session)
            return
        timers = self._timers[session] = []
        if delay == 0:
            self._publish_will(session)
        else:
            timers.append(self._loop.call_later(delay, self._publish_will, session))
        if session.expiry != FOREVER:
            timers.append(self._loop.call_later(session.expiry, self._end, session))

    def _end(self, session: Session) -> None:
        self._cancel_timers(session)
        self.router.forget(session)
        del self._sessions[session.client_id]
        self.counters.sessions = len(self._sessions)
        self._publish_will(session)

    def _publish_will(self, session: Session) -> None:
        will, session.will = session.will, None
        if will is not None:
            self.router.publish(will, None, self._loop.time())

    def _cancel_timers(self, session: Session) -> None:
        for timer in self._timers.pop(session, ()):
            timer.cancel()
