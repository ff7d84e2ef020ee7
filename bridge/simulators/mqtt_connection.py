"""One client's connection to the broker: bytes in, packets to the session and the broker, bytes out.

Everything that one turn of the loop produces leaves in one write. A client that does not read what it asked
for is dropped, so memory stays bounded; a client that breaks the protocol loses its own connection only.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from bridge.simulators.mqtt_codec import MalformedPacket, decode, encode
from bridge.simulators.mqtt_packets import (
    Ack,
    ConnAck,
    Connect,
    Farewell,
    Packet,
    PacketType,
    Ping,
    Property,
    Publish,
    Reason,
    Subscribe,
    Unsubscribe,
    Version,
    Will,
    number,
)

if TYPE_CHECKING:
    from bridge.simulators.mqtt_broker import Broker
    from bridge.simulators.mqtt_sessions import Session

_READ_SIZE: Final = 65_536  # bytes handled per turn of the loop: some 10 ms of small messages
_LINGER: Final = 1.0  # seconds a closed connection has to take what was written to it
_KEEPALIVE_FACTOR: Final = 1.5  # 3.1.2.10
_UNLIMITED: Final = 0xFFFFFFFF


class Connection(asyncio.BufferedProtocol):
    """A client's socket; `session` is None until its CONNECT was accepted."""

    def __init__(self, broker: Broker) -> None:
        self.version = Version.V311
        self.session: Session | None = None
        self.will: Will | None = None
        self.window = 0
        self._broker = broker
        self._router, self._limits, self._counters = broker.router, broker.limits, broker.counters
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._arriving = bytearray(_READ_SIZE)
        self._received = bytearray()  # until a packet is complete
        self._heard = 0.0
        self._keepalive = 0.0
        self._largest = _UNLIMITED  # packet that the client takes
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._stalled = False  # the transport has enough for now: what comes waits in `_out`
        self._closing = False

    # --- the socket -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._socket: socket.socket = transport.get_extra_info("socket")
        if self._broker.admit(self):
            self._arm(self._limits.connect_timeout, self.close)
        else:
            self._closing = True
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._out.clear()
        self._received.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._broker.lost(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._arriving

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            return
        self._heard = self._loop.time()
        self._acknowledge_quickly()
        self._counters.bytes_in += nbytes
        self._received += memoryview(self._arriving)[:nbytes]
        position = 0
        try:
            while not self._closing:
                decoded = decode(self._received, self.version, start=position, largest=self._limits.packet_size)
                if decoded is None:
                    break
                packet, position = decoded
                self._receive(packet)
        except MalformedPacket as error:
            self._counters.malformed += 1
            if error.reason is Reason.UNSUPPORTED_VERSION and self.session is None:
                self.send(ConnAck(reason=error.reason))
            self.close(error.reason)
        del self._received[:position]

    def _acknowledge_quickly(self) -> None:
        """Without it a client that leaves Nagle's algorithm on (paho) waits 40 ms after each PUBACK it sends.

        The option lasts for one read only (tcp(7)).
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def pause_writing(self) -> None:
        self._stalled = True

    def resume_writing(self) -> None:
        self._stalled = False
        self._flush()

    def send(self, packet: Packet) -> bool:
        """Send at the end of this turn of the loop; False if the packet is larger than the client takes."""
        data = encode(packet, self.version)
        if len(data) > self._largest:
            return False
        if self._closing:
            return True
        if self._out_bytes > self._limits.write_buffer:
            self._counters.slow_consumers += 1
            self._closing = True
            self._out.clear()
            self._transport.abort()
            return True
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)
        return True

    def _flush(self) -> None:
        if self._out and not self._stalled and not self._transport.is_closing():
            self._counters.bytes_out += self._out_bytes
            self._transport.write(b"".join(self._out))
            self._out.clear()
            self._out_bytes = 0

    def close(self, reason: Reason | None = None) -> None:
        """Send what waits and, under MQTT 5, why; then close. Does nothing the second time."""
        if self._closing:
            return
        if reason is not None and self.session is not None and self.version is Version.V5:
            self.send(Farewell(reason=reason))
        self._stalled = False  # write all, it is the last time
        self._flush()
        self._closing = True
        self._transport.close()
        self._arm(_LINGER, self._transport.abort)

    def _arm(self, delay: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, callback)

    def _check_keepalive(self) -> None:
        left = self._heard + self._keepalive - self._loop.time()
        if left > 0:
            self._arm(left, self._check_keepalive)
        else:
            self._counters.keepalive_timeouts += 1
            self.close(Reason.KEEPALIVE_TIMEOUT)

    # --- the packets ------------------------------------------------------------------------------

    def _receive(self, packet: Packet) -> None:
        session = self.session
        if session is None:
            if not isinstance(packet, Connect):
                raise MalformedPacket("a packet before CONNECT", Reason.PROTOCOL_ERROR)
            self._login(packet)
            return
        match packet:
            case Publish():
                self._publish(packet, session)
            case Ack(kind=PacketType.PUBREL):
                known = packet.packet_id in session.received
                session.received.discard(packet.packet_id)
                reason = Reason.SUCCESS if known else Reason.PACKET_ID_NOT_FOUND
                self.send(Ack(PacketType.PUBCOMP, packet.packet_id, reason))
            case Ack():
                session.acknowledged(packet, self._heard)
            case Subscribe():
                self._router.subscribe(packet, session, self._heard)
            case Unsubscribe():
                self.send(self._router.unsubscribe(packet, session))
            case Ping(kind=PacketType.PINGREQ):
                self.send(Ping(PacketType.PINGRESP))
            case Farewell(kind=PacketType.DISCONNECT):
                self._disconnect(packet, session)
            case _:
                raise MalformedPacket("a packet that no client sends", Reason.PROTOCOL_ERROR)

    def _login(self, packet: Connect) -> None:
        self.version, self.will = packet.version, packet.will
        self._largest = number(packet.properties, Property.MAXIMUM_PACKET_SIZE, _UNLIMITED)
        self.window = number(packet.properties, Property.RECEIVE_MAXIMUM, self._limits.inflight)
        self.window = min(self.window, self._limits.inflight)
        if not self._broker.login(packet, self):
            self.close()
            return
        if packet.keepalive:
            self._keepalive = packet.keepalive * _KEEPALIVE_FACTOR
            self._arm(self._keepalive, self._check_keepalive)
        elif self._timer is not None:
            self._timer.cancel()

    def _publish(self, packet: Publish, session: Session) -> None:
        for name, _ in packet.properties:
            if name is Property.TOPIC_ALIAS:
                raise MalformedPacket("a topic alias, none being allowed", Reason.TOPIC_ALIAS_INVALID)
            if name is Property.SUBSCRIPTION_IDENTIFIER:
                raise MalformedPacket("a subscription identifier from a client", Reason.PROTOCOL_ERROR)
        if packet.qos == 2:
            self._publish_once(packet, session)
            return
        reason = self._router.publish(packet, session, self._heard)
        if packet.qos == 1:
            self.send(Ack(PacketType.PUBACK, packet.packet_id, reason))

    def _publish_once(self, packet: Publish, session: Session) -> None:
        reason = Reason.SUCCESS
        if packet.packet_id not in session.received:
            if self.version is Version.V5 and len(session.received) >= self._limits.receive_maximum:
                raise MalformedPacket("more than the receive maximum", Reason.RECEIVE_MAXIMUM_EXCEEDED)
            reason = self._router.publish(packet, session, self._heard)
            if reason < Reason.UNSPECIFIED_ERROR:
                session.received.add(packet.packet_id)
        self.send(Ack(PacketType.PUBREC, packet.packet_id, reason))

    def _disconnect(self, packet: Farewell, session: Session) -> None:
        expiry = number(packet.properties, Property.SESSION_EXPIRY, session.expiry)
        if expiry and not session.expiry:
            raise MalformedPacket("a session that was to end with its connection", Reason.PROTOCOL_ERROR)
        session.expiry = expiry
        if packet.reason == Reason.SUCCESS:
            self.will = None
        self.close()
