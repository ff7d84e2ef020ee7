"""What one MQTT connection is told and what it tells: settings, limits, messages and errors, all without I/O.

`bridge.mqtt` offers most of these names too; who must stay without I/O takes them from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ssl

LARGEST_PACKET = 268_435_460  # bytes: a remaining length of four bytes and the fixed header itself

REFUSAL = 0x80  # reason codes from here on (MQTT 5, section 2.4; the SUBACK of 3.1.1 has only this one)
# Those after which another try may succeed: unspecified implementation error,
# server unavailable, busy, shutting down, keep alive timeout, quota exceeded, connection rate exceeded.
_PASSING = frozenset({0x83, 0x88, 0x89, 0x8B, 0x8D, 0x97, 0x9F})


class MqttError(Exception):
    """The broker ended the connection, broke the protocol, or there is no connection."""


class Refused(MqttError):
    """CONNACK, SUBACK or DISCONNECT with a reason code.

    `passing` says that another try may succeed; `refused` are the filters a SUBACK turned down, else empty.
    """

    def __init__(self, what: str, code: int, text: str, refused: tuple[Filter, ...] = ()) -> None:
        super().__init__(f"{what}: {text} (0x{code:02X})")
        self.code = code
        self.passing = code in _PASSING
        self.refused = refused


class TooLarge(ValueError):
    """A message over the broker's maximum packet size: it can never be sent on this connection."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when the connection is lost; `delay` in seconds (MQTT 5 only)."""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = True
    delay: int = 5


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where and how to connect; times in seconds, sizes in bytes.

    `keepalive` 15, `session_expiry` 30 and a will delay of 5 fit together: a link that breaks for less than five
    seconds is not seen as offline. Under 3.1.1 the session is clean, and `session_expiry`, `receive_maximum` and
    the will's delay are not sent.
    """

    host: str
    client_id: str
    port: int = 1883
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    server_name: str | None = None  # the name in the broker's certificate, if it is not `host`
    will: Will | None = None
    keepalive: int = 15
    session_expiry: int = 30
    receive_maximum: int = 100  # inbound QoS 1 messages the broker may send ahead of our PUBACKs
    packet_limit: int = 1 << 20  # of an inbound packet; a larger one ends the connection
    window: int = 200  # outbound QoS 1 messages without PUBACK, if the broker allows as many
    backlog: int = 1 << 20  # bytes kept while the network takes none; one packet may go past it
    timeout: float = 10.0  # from the name's look-up to the CONNACK

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ValueError("an MQTT connection needs a client id")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker granted in its CONNACK; the defaults are those of MQTT 5, section 3.2.2.3."""

    session_present: bool = False
    window: int = 65_535  # QoS 1 messages in flight: the smaller of our window and its receive maximum
    packet: int = LARGEST_PACKET  # bytes
    qos: int = 2
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Meta:
    """The MQTT 5 properties of a message; under 3.1.1 they are neither sent nor seen.

    `expiry` is in seconds. None means that the property is absent, which is not "never expires": mosquitto leaves
    it out in a message's last second.
    """

    expiry: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What the broker delivered. `dup`: it may have been delivered before."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    meta: Meta


@dataclass(frozen=True, slots=True)
class Filter:
    """A subscription. The retain flag always arrives as it was published (MQTT 5).

    `retained`: also send what is retained already (retain handling 0, else 2); `no_local`: not what we publish
    ourselves. Under 3.1.1 both are as if absent: retained messages come, and so do our own.
    """

    topic: str
    qos: Literal[0, 1] = 1
    retained: bool = False
    no_local: bool = False
