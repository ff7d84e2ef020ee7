"""What the broker knows of one client: its subscriptions and the messages on their way to it (4.1, 4.4).

A session outlives its connections until it expires. It has no clock, no socket and no timer of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Protocol

from bridge.simulators.mqtt_packets import Ack, Packet, PacketType, Property, Publish, Reason, Will
from bridge.simulators.mqtt_topics import Grant, Message

FOREVER: Final = 0xFFFFFFFF  # a session expiry interval that never ends (3.1.2.11.2)
_PACKET_IDS: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the broker stops; sizes in bytes, times in seconds. Receive maximum and packet size are announced."""

    connections: int = 256
    sessions: int = 1_024  # connected or not
    packet_size: int = 16 * 2**20
    receive_maximum: int = 100  # QoS 2 messages a client may have open; QoS 1 is acknowledged at once
    inflight: int = 100  # unacknowledged messages towards a client that does not ask for less
    queued_messages: int = 10_000  # per session
    queued_bytes: int = 16 * 2**20  # per session
    retained_bytes: int = 16 * 2**20
    subscriptions: int = 5_000  # per session
    write_buffer: int = 32 * 2**20  # per connection; a client that lets more pile up is dropped
    connect_timeout: float = 10.0  # from the connection to CONNECT

    def __post_init__(self) -> None:
        if not (0 < self.receive_maximum <= _PACKET_IDS and 0 < self.inflight <= _PACKET_IDS):
            raise ValueError(f"there are {_PACKET_IDS} packet identifiers, and windows are at least 1")


@dataclass(slots=True)
class Counters:
    """What the broker has seen since it started; `connections` and `sessions` are those of now."""

    connections: int = 0
    sessions: int = 0
    connected: int = 0  # logins accepted
    refused: int = 0  # connections over the limit and logins refused
    malformed: int = 0  # connections ended for breaking the protocol
    slow_consumers: int = 0  # connections ended because the client did not read
    keepalive_timeouts: int = 0
    messages_in: int = 0  # wills among them
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: int = 0  # messages lost to a limit: a full queue, the retained store, the client's packet size
    expired: int = 0  # messages whose expiry passed before they could be delivered


class Outlet(Protocol):
    """The connection as a session sees it; `window` is the number of messages that may be unacknowledged."""

    window: int

    def send(self, packet: Packet) -> bool:
        """Send a packet; False if it is larger than the client takes."""
        ...


@dataclass(slots=True)
class Delivery:
    """One message on its way to one client; `released` once it has only the end of QoS 2 to go."""

    message: Message
    qos: int
    retain: bool = False
    identifiers: tuple[int, ...] = ()
    released: bool = False

    def packet(self, packet_id: int, now: float, *, duplicate: bool = False) -> Publish:
        """The PUBLISH, with what is left of the message's life."""
        message = self.message
        properties = message.properties
        if message.expires is not None:
            left = max(0, ceil(message.expires - now))
            properties = ((Property.MESSAGE_EXPIRY, left), *properties)
        if self.identifiers:
            named = ((Property.SUBSCRIPTION_IDENTIFIER, identifier) for identifier in self.identifiers)
            properties = (*properties, *named)
        return Publish(message.topic, message.payload, self.qos, self.retain, duplicate, packet_id, properties)


@dataclass(slots=True, eq=False)
class Session:
    """One client's state in the broker; `expiry` in seconds after the connection has gone."""

    client_id: str
    limits: Limits
    counters: Counters
    expiry: int = 0
    outlet: Outlet | None = None
    will: Will | None = None  # delayed, while no connection is there
    subscriptions: dict[str, Grant] = field(default_factory=dict)
    received: set[int] = field(default_factory=set)  # QoS 2 packet ids of the client, until PUBREL
    _queue: deque[Delivery] = field(default_factory=deque)
    _queued_bytes: int = 0
    _inflight: dict[int, Delivery] = field(default_factory=dict)  # by packet id, in the order sent
    _unsent: deque[int] = field(default_factory=deque)  # those of an earlier connection, to be sent again
    _last_id: int = 0

    def deliver(self, delivery: Delivery, now: float) -> None:
        """Send a message now, keep it for later, or count it as dropped."""
        outlet = self.outlet
        if outlet is None and delivery.qos == 0:
            return
        if outlet is not None and not self._queue and self._may_send(delivery, outlet):
            self._send(delivery, outlet, now)
            return
        size = delivery.message.size
        if len(self._queue) >= self.limits.queued_messages or (
            self._queued_bytes + size > self.limits.queued_bytes
        ):
            self.counters.dropped += 1
            return
        self._queue.append(delivery)
        self._queued_bytes += size

    def resume(self, outlet: Outlet, now: float) -> None:
        """A connection has come: send again what was not acknowledged, then what waited (4.4)."""
        self.outlet = outlet
        self._unsent = deque(self._inflight)
        self._pump(now)

    def acknowledged(self, ack: Ack, now: float) -> None:
        """PUBACK, PUBREC or PUBCOMP from the client (4.3)."""
        outlet, delivery = self.outlet, self._inflight.get(ack.packet_id)
        if outlet is None:
            return
        if ack.kind is PacketType.PUBREC and ack.reason < Reason.UNSPECIFIED_ERROR:
            if delivery is None:
                outlet.send(Ack(PacketType.PUBREL, ack.packet_id, Reason.PACKET_ID_NOT_FOUND))
            elif delivery.qos == 2:
                delivery.released = True
                outlet.send(Ack(PacketType.PUBREL, ack.packet_id))
        elif delivery is not None and (delivery.qos == 2) is not (ack.kind is PacketType.PUBACK):
            self._settle(ack.packet_id)
            self._pump(now)

    def _may_send(self, delivery: Delivery, outlet: Outlet) -> bool:
        return delivery.qos == 0 or len(self._inflight) - len(self._unsent) < outlet.window

    def _pump(self, now: float) -> None:
        outlet = self.outlet
        if outlet is None:
            return
        while self._unsent and len(self._inflight) - len(self._unsent) < outlet.window:
            packet_id = self._unsent.popleft()
            self._send_again(packet_id, outlet, now)
        while self._queue and self._may_send(self._queue[0], outlet):
            delivery = self._queue.popleft()
            self._queued_bytes -= delivery.message.size
            self._send(delivery, outlet, now)

    def _send(self, delivery: Delivery, outlet: Outlet, now: float) -> None:
        if delivery.message.expired(now):
            self.counters.expired += 1
            return
        packet_id = 0
        if delivery.qos:
            packet_id = self._next_id()
            self._inflight[packet_id] = delivery
        self._emit(packet_id, delivery.packet(packet_id, now), outlet)

    def _send_again(self, packet_id: int, outlet: Outlet, now: float) -> None:
        delivery = self._inflight[packet_id]
        if delivery.released:
            outlet.send(Ack(PacketType.PUBREL, packet_id))
        else:
            self._emit(packet_id, delivery.packet(packet_id, now, duplicate=True), outlet)

    def _emit(self, packet_id: int, packet: Publish, outlet: Outlet) -> None:
        if outlet.send(packet):
            self.counters.messages_out += 1
        else:
            self._settle(packet_id)
            self.counters.dropped += 1

    def _settle(self, packet_id: int) -> None:
        self._inflight.pop(packet_id, None)
        if packet_id in self._unsent:
            self._unsent.remove(packet_id)

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % _PACKET_IDS + 1
            if self._last_id not in self._inflight:
                return self._last_id
