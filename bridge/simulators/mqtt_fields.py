"""The fields that MQTT packets are made of: integers, strings, binary data and properties (1.5, 2.2.2)."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from bridge.simulators.mqtt_packets import PacketType, Properties, Property, PropertyValue, Reason

LARGEST_VARINT: Final = 268_435_455
_LONGEST_VARINT: Final = 4  # bytes
_SHORT_MAXIMUM: Final = 0xFFFF


class MalformedPacket(Exception):
    """The peer broke the protocol; `reason` is what a DISCONNECT may tell it."""

    def __init__(self, text: str, reason: Reason = Reason.MALFORMED_PACKET) -> None:
        super().__init__(text)
        self.reason = reason


class _Form(Enum):
    """How a property's value is written."""

    FLAG = auto()
    SHORT = auto()
    LONG = auto()
    VARINT = auto()
    STRING = auto()
    BINARY = auto()
    PAIR = auto()


WILL: Final = 0  # where a property may stand, beside the packet types
_P = PacketType
_MESSAGE: Final = frozenset({_P.PUBLISH, WILL})
_LOGIN: Final = frozenset({_P.CONNECT, _P.CONNACK})
_CONNACK: Final = frozenset({_P.CONNACK})
_AUTHENTICATION: Final = _LOGIN | {_P.AUTH}
_EVERYWHERE: Final = frozenset(_P) - {_P.PINGREQ, _P.PINGRESP} | {WILL}
_ANSWERS: Final = _EVERYWHERE - {_P.CONNECT, _P.PUBLISH, _P.SUBSCRIBE, _P.UNSUBSCRIBE, WILL}

_PROPERTIES: Final[dict[int, tuple[Property, _Form, frozenset[int]]]] = {
    name: (name, form, places)
    for name, form, places in (
        (Property.PAYLOAD_FORMAT, _Form.FLAG, _MESSAGE),
        (Property.MESSAGE_EXPIRY, _Form.LONG, _MESSAGE),
        (Property.CONTENT_TYPE, _Form.STRING, _MESSAGE),
        (Property.RESPONSE_TOPIC, _Form.STRING, _MESSAGE),
        (Property.CORRELATION_DATA, _Form.BINARY, _MESSAGE),
        (Property.SUBSCRIPTION_IDENTIFIER, _Form.VARINT, frozenset({_P.PUBLISH, _P.SUBSCRIBE})),
        (Property.SESSION_EXPIRY, _Form.LONG, _LOGIN | {_P.DISCONNECT}),
        (Property.ASSIGNED_CLIENT_ID, _Form.STRING, _CONNACK),
        (Property.SERVER_KEEPALIVE, _Form.SHORT, _CONNACK),
        (Property.AUTHENTICATION_METHOD, _Form.STRING, _AUTHENTICATION),
        (Property.AUTHENTICATION_DATA, _Form.BINARY, _AUTHENTICATION),
        (Property.REQUEST_PROBLEM_INFORMATION, _Form.FLAG, frozenset({_P.CONNECT})),
        (Property.WILL_DELAY, _Form.LONG, frozenset({WILL})),
        (Property.REQUEST_RESPONSE_INFORMATION, _Form.FLAG, frozenset({_P.CONNECT})),
        (Property.RESPONSE_INFORMATION, _Form.STRING, _CONNACK),
        (Property.SERVER_REFERENCE, _Form.STRING, _CONNACK | {_P.DISCONNECT}),
        (Property.REASON_STRING, _Form.STRING, _ANSWERS),
        (Property.RECEIVE_MAXIMUM, _Form.SHORT, _LOGIN),
        (Property.TOPIC_ALIAS_MAXIMUM, _Form.SHORT, _LOGIN),
        (Property.TOPIC_ALIAS, _Form.SHORT, frozenset({_P.PUBLISH})),
        (Property.MAXIMUM_QOS, _Form.FLAG, _CONNACK),
        (Property.RETAIN_AVAILABLE, _Form.FLAG, _CONNACK),
        (Property.USER_PROPERTY, _Form.PAIR, _EVERYWHERE),
        (Property.MAXIMUM_PACKET_SIZE, _Form.LONG, _LOGIN),
        (Property.WILDCARDS_AVAILABLE, _Form.FLAG, _CONNACK),
        (Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE, _Form.FLAG, _CONNACK),
        (Property.SHARED_SUBSCRIPTIONS_AVAILABLE, _Form.FLAG, _CONNACK),
    )
}
_REPEATABLE: Final = {(_P.PUBLISH, Property.SUBSCRIPTION_IDENTIFIER)}  # and user properties
_NEVER_ZERO: Final = {
    Property.SUBSCRIPTION_IDENTIFIER,
    Property.RECEIVE_MAXIMUM,
    Property.TOPIC_ALIAS,
    Property.MAXIMUM_PACKET_SIZE,
}


class Reader:
    """Takes fields one after the other from a packet's body; `MalformedPacket` when they are not there."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        """The number of bytes not yet taken."""
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self._position
        self._position = end = start + size
        if end > len(self._data):
            raise MalformedPacket("a field reaches beyond the end of its packet")
        return self._data[start:end]

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(self.left)

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def short(self) -> int:
        """A two-byte integer (1.5.2)."""
        return int.from_bytes(self.take(2))

    def packet_id(self) -> int:
        """A packet identifier, which is never 0 (2.2.1)."""
        if identifier := self.short():
            return identifier
        raise MalformedPacket("packet identifier 0", Reason.PROTOCOL_ERROR)

    def varint(self) -> int:
        """A variable byte integer (1.5.5)."""
        value, size = varint_at(self._data, self._position)
        if size == 0:
            raise MalformedPacket("a variable byte integer reaches beyond the end of its packet")
        self._position += size
        return value

    def binary(self) -> bytes:
        """Up to 65,535 bytes (1.5.6)."""
        return self.take(self.short())

    def string(self) -> str:
        """A UTF-8 string without U+0000 (1.5.4)."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise MalformedPacket("a string is not UTF-8") from error
        if "\0" in text:
            raise MalformedPacket("a string contains U+0000")
        return text

    def properties(self, place: int) -> Properties:
        """The properties of a packet of type `place`, or of a will (2.2.2)."""
        size = self.varint()
        if size == 0:
            return ()
        end = self._position + size
        found: list[tuple[Property, PropertyValue]] = []
        seen: set[Property] = set()
        while self._position < end:
            name, form, places = _PROPERTIES.get(self.varint(), (None, None, frozenset[int]()))
            if name is None or form is None or place not in places:
                raise MalformedPacket("a property that may not stand here")
            if name in seen and form is not _Form.PAIR and (place, name) not in _REPEATABLE:
                raise MalformedPacket(f"{name.name} twice", Reason.PROTOCOL_ERROR)
            seen.add(name)
            found.append((name, self._value(name, form)))
        if self._position != end:
            raise MalformedPacket("a property reaches beyond the properties")
        return tuple(found)

    def _value(self, name: Property, form: _Form) -> PropertyValue:
        match form:
            case _Form.STRING:
                return self.string()
            case _Form.BINARY:
                return self.binary()
            case _Form.PAIR:
                return self.string(), self.string()
            case _Form.FLAG:
                value, largest = self.byte(), 1
            case _Form.SHORT:
                value, largest = self.short(), _SHORT_MAXIMUM
            case _Form.LONG:
                value, largest = int.from_bytes(self.take(4)), 0xFFFFFFFF
            case _Form.VARINT:
                value, largest = self.varint(), LARGEST_VARINT
        if value > largest or (value == 0 and name in _NEVER_ZERO):
            raise MalformedPacket(f"{name.name} is {value}", Reason.PROTOCOL_ERROR)
        return value


def varint_at(data: bytes | bytearray, start: int) -> tuple[int, int]:
    """The variable byte integer at `start` and its size in bytes; the size is 0 if there is not enough yet."""
    value = 0
    for size, byte in enumerate(data[start : start + _LONGEST_VARINT], 1):
        value |= (byte & 127) << 7 * (size - 1)
        if byte < 128:
            if byte == 0 and size > 1:
                raise MalformedPacket("a variable byte integer is longer than needed")
            return value, size
    if len(data) - start >= _LONGEST_VARINT:
        raise MalformedPacket("a variable byte integer has more than four bytes")
    return 0, 0


def short(value: int) -> bytes:
    """A two-byte integer; OverflowError outside of 0 to 65,535."""
    return value.to_bytes(2)


def varint(value: int) -> bytes:
    """A variable byte integer; ValueError if it needs more than four bytes."""
    if value < 128:
        return bytes((value,))
    if value > LARGEST_VARINT:
        raise ValueError(f"{value} does not fit into a variable byte integer")
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def sized(value: str | bytes) -> bytes:
    """A string or binary data behind its length; OverflowError beyond 65,535 bytes."""
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(2) + data


def properties(values: Properties) -> bytes:
    """Properties behind their length; the inverse of `Reader.properties`."""
    if not values:
        return b"\0"
    written = b"".join(varint(name) + _written(name, value) for name, value in values)
    return varint(len(written)) + written


def _written(name: Property, value: PropertyValue) -> bytes:
    match _PROPERTIES[name][1], value:
        case _Form.FLAG, int():
            return value.to_bytes(1)
        case _Form.SHORT, int():
            return short(value)
        case _Form.LONG, int():
            return value.to_bytes(4)
        case _Form.VARINT, int():
            return varint(value)
        case _Form.STRING | _Form.BINARY, str() | bytes():
            return sized(value)
        case _Form.PAIR, (str() as key, str() as text):
            return sized(key) + sized(text)
        case _:
            raise TypeError(f"{name.name} cannot be {value!r}")
