"""The codec against bytes written by hand from the standard, against itself, and against any bytes at all."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulators.mqtt_codec import MalformedPacket, decode, encode
from bridge.simulators.mqtt_packets import (
    Ack,
    ConnAck,
    Connect,
    Farewell,
    Packet,
    PacketType,
    Ping,
    Properties,
    Property,
    Publish,
    Reason,
    Subscribe,
    SubscribeAck,
    Subscription,
    Unsubscribe,
    Version,
    Will,
)

V311, V5 = Version.V311, Version.V5

BY_HAND: list[tuple[Version, str, Packet]] = [
    (V311, "10 0d 0004 4d515454 04 02 003c 0001 61", Connect(V311, "a", True, 60)),
    (
        V311,
        "10 1b 0004 4d515454 04 ee 000a 0001 61 0001 77 0002 6279 0001 75 0002 7077",
        Connect(V311, "a", True, 10, Will("w", b"by", 1, True), "u", b"pw"),
    ),
    (
        V5,
        "10 14 0004 4d515454 05 00 000f 05 11 0000001e 0002 6162",
        Connect(V5, "ab", False, 15, properties=((Property.SESSION_EXPIRY, 30),)),
    ),
    (V311, "20 02 01 00", ConnAck(session_present=True)),
    (V311, "20 02 00 04", ConnAck(reason=Reason.BAD_USER_NAME_OR_PASSWORD)),
    (V5, "20 06 00 00 03 21 0014", ConnAck(properties=((Property.RECEIVE_MAXIMUM, 20),))),
    (V311, "30 05 0003 612f62", Publish("a/b", b"")),
    (V311, "3b 07 0001 74 000a 6869", Publish("t", b"hi", 1, True, True, 10)),
    (
        V5,
        "34 0f 0001 74 0102 07 26 0001 6b 0001 76 21 21",
        Publish("t", b"!!", 2, False, False, 258, ((Property.USER_PROPERTY, ("k", "v")),)),
    ),
    (V311, "40 02 0001", Ack(PacketType.PUBACK, 1)),
    (V5, "40 03 0001 10", Ack(PacketType.PUBACK, 1, Reason.NO_MATCHING_SUBSCRIBERS)),
    (V5, "62 02 0001", Ack(PacketType.PUBREL, 1)),
    (V311, "82 06 0005 0001 23 01", Subscribe(5, (Subscription("#", 1),))),
    (V5, "82 07 0005 00 0001 23 2d", Subscribe(5, (Subscription("#", 1, True, True, 2),))),
    (V5, "90 05 0005 00 01 9e", SubscribeAck(PacketType.SUBACK, 5, (1, 0x9E))),
    (V311, "a2 05 0006 0001 61", Unsubscribe(6, ("a",))),
    (V311, "b0 02 0006", SubscribeAck(PacketType.UNSUBACK, 6, ())),
    (V311, "c0 00", Ping(PacketType.PINGREQ)),
    (V311, "d0 00", Ping(PacketType.PINGRESP)),
    (V5, "e0 00", Farewell()),
    (V5, "e0 01 8b", Farewell(reason=Reason.SERVER_SHUTTING_DOWN)),
    (V5, "f0 06 18 04 15 0001 58", Farewell(PacketType.AUTH, 0x18, ((Property.AUTHENTICATION_METHOD, "X"),))),
]

MALFORMED: list[tuple[Version, str, Reason]] = [
    (V5, "00 00", Reason.MALFORMED_PACKET),  # type 0
    (V5, "80 06 0005 00 0001 23 01", Reason.MALFORMED_PACKET),  # SUBSCRIBE with flags 0
    (V5, "c0 80808080", Reason.MALFORMED_PACKET),  # a length of five bytes
    (V5, "c0 8000", Reason.MALFORMED_PACKET),  # a length longer than needed
    (V5, "c0 01 00", Reason.MALFORMED_PACKET),  # PINGREQ with a body
    (V5, "36 06 0001 74 0001 00", Reason.MALFORMED_PACKET),  # QoS 3
    (V5, "38 04 0001 74 00", Reason.MALFORMED_PACKET),  # DUP at QoS 0
    (V5, "30 04 0001 23 00", Reason.MALFORMED_PACKET),  # a topic "#"
    (V5, "30 04 0001 ff 00", Reason.MALFORMED_PACKET),  # not UTF-8
    (V5, "30 04 0001 00 00", Reason.MALFORMED_PACKET),  # U+0000
    (V5, "30 04 0009 74 00", Reason.MALFORMED_PACKET),  # a topic longer than the packet
    (V5, "30 03 0000 00", Reason.PROTOCOL_ERROR),  # no topic
    (V5, "32 06 0001 74 0000 00", Reason.PROTOCOL_ERROR),  # packet id 0
    (V5, "30 09 0001 74 05 11 0000001e", Reason.MALFORMED_PACKET),  # session expiry in PUBLISH
    (V5, "30 05 0001 74 01 7f", Reason.MALFORMED_PACKET),  # property 127
    (V5, "30 08 0001 74 04 01 00 01 00", Reason.PROTOCOL_ERROR),  # payload format twice
    (V5, "30 06 0001 74 02 01 02", Reason.PROTOCOL_ERROR),  # payload format 2
    (V5, "30 08 0001 74 04 08 0001 2b", Reason.MALFORMED_PACKET),  # response topic "+"
    (V5, "30 07 0001 74 01 23 0001", Reason.MALFORMED_PACKET),  # a property beyond its properties
    (V5, "82 03 0005 00", Reason.PROTOCOL_ERROR),  # SUBSCRIBE for nothing
    (V5, "82 07 0005 00 0001 23 03", Reason.MALFORMED_PACKET),  # SUBSCRIBE with QoS 3
    (V5, "82 07 0005 00 0001 23 30", Reason.MALFORMED_PACKET),  # retain handling 3
    (V311, "82 06 0005 0001 23 04", Reason.MALFORMED_PACKET),  # options of MQTT 5 in 3.1.1
    (V5, "a2 03 0005 00", Reason.PROTOCOL_ERROR),  # UNSUBSCRIBE from nothing
    (V311, "f0 00", Reason.MALFORMED_PACKET),  # AUTH in 3.1.1
    (V311, "10 0d 0004 4d515454 04 03 003c 0001 61", Reason.MALFORMED_PACKET),  # the reserved flag
    (V311, "10 0d 0004 4d515454 04 0a 003c 0001 61", Reason.MALFORMED_PACKET),  # QoS of no will
    (V311, "10 10 0004 4d515454 04 42 003c 0001 61 0001 70", Reason.MALFORMED_PACKET),  # no user name
    (V311, "10 0d 0004 4d515454 03 02 003c 0001 61", Reason.UNSUPPORTED_VERSION),
    (V311, "10 0f 0006 4d5149736470 03 02 003c 0001 61", Reason.UNSUPPORTED_VERSION),  # MQTT 3.1
    (V5, "10 11 0004 4d515454 05 02 003c 03 21 0000 0001 61", Reason.PROTOCOL_ERROR),  # receive maximum 0
]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20)
payloads = st.binary(max_size=200)
packet_ids = st.integers(1, 0xFFFF)
bits = st.booleans()
qualities = st.integers(0, 2)
versions = st.sampled_from([V311, V5])


def _attached(*choices: tuple[Property, st.SearchStrategy[int | str | bytes]]) -> st.SearchStrategy[Properties]:
    """Some of these properties, each once, and any number of user properties."""
    single = st.tuples(*(st.none() | st.tuples(st.just(name), value) for name, value in choices))
    users = st.lists(st.tuples(st.just(Property.USER_PROPERTY), st.tuples(texts, texts)), max_size=3)
    return st.builds(lambda one, many: (*filter(None, one), *many), single, users)


longs = st.integers(0, 0xFFFFFFFF)
message = _attached(
    (Property.PAYLOAD_FORMAT, st.integers(0, 1)),
    (Property.MESSAGE_EXPIRY, longs),
    (Property.CONTENT_TYPE, texts),
    (Property.RESPONSE_TOPIC, topics),
    (Property.CORRELATION_DATA, payloads),
)
login = _attached(
    (Property.SESSION_EXPIRY, longs),
    (Property.RECEIVE_MAXIMUM, packet_ids),
    (Property.MAXIMUM_PACKET_SIZE, st.integers(1, 0xFFFFFFFF)),
    (Property.AUTHENTICATION_DATA, payloads),
)
explained = _attached((Property.REASON_STRING, texts))
subscribing = _attached((Property.SUBSCRIPTION_IDENTIFIER, st.integers(1, 268_435_455)))
reasons = st.integers(0, 255)
codes = st.lists(reasons, min_size=1, max_size=5).map(tuple)
acknowledgements = st.sampled_from([PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP])
subscriptions = st.builds(Subscription, texts, qualities, bits, bits, qualities)
filters = st.lists(texts, min_size=1, max_size=4).map(tuple)
wills = st.builds(Will, topics, payloads, qualities, bits, message)
plain_wills = st.builds(Will, topics, payloads, qualities, bits)
publishes = st.builds(Publish, topics, payloads, properties=message, retain=bits) | st.builds(
    Publish, topics, payloads, st.integers(1, 2), bits, bits, packet_ids, message
)
packets_of_5 = st.one_of(
    st.builds(
        Connect, st.just(V5), texts, bits, reasons, st.none() | wills, st.none() | texts,
        st.none() | payloads, login,
    ),
    st.builds(ConnAck, bits, reasons, login),
    publishes,
    st.builds(Ack, acknowledgements, packet_ids, reasons, explained),
    st.builds(Subscribe, packet_ids, st.lists(subscriptions, min_size=1, max_size=4).map(tuple), subscribing),
    st.builds(Unsubscribe, packet_ids, filters, _attached()),
    st.builds(
        SubscribeAck, st.sampled_from([PacketType.SUBACK, PacketType.UNSUBACK]), packet_ids, codes, explained
    ),
    st.builds(Ping, st.sampled_from([PacketType.PINGREQ, PacketType.PINGRESP])),
    st.builds(Farewell, st.sampled_from([PacketType.DISCONNECT, PacketType.AUTH]), reasons, explained),
)  # fmt: skip
packets_of_311 = st.one_of(
    st.builds(Connect, st.just(V311), texts, bits, reasons, st.none() | plain_wills, texts, payloads),
    st.builds(Publish, topics, payloads, st.integers(1, 2), bits, bits, packet_ids),
    st.builds(Ack, acknowledgements, packet_ids),
    st.builds(
        Subscribe,
        packet_ids,
        st.lists(st.builds(Subscription, texts, qualities), min_size=1, max_size=4).map(tuple),
    ),
    st.builds(Unsubscribe, packet_ids, filters),
)
packets = st.tuples(st.just(V5), packets_of_5) | st.tuples(st.just(V311), packets_of_311)


@pytest.mark.parametrize(("version", "written", "packet"), BY_HAND)
def test_bytes_written_by_hand(version: Version, written: str, packet: Packet) -> None:
    data = bytes.fromhex(written)
    assert encode(packet, version) == data
    assert decode(data, version) == (packet, len(data))


@pytest.mark.parametrize(("version", "written", "reason"), MALFORMED)
def test_malformed_packets_are_refused_with_a_reason(version: Version, written: str, reason: Reason) -> None:
    with pytest.raises(MalformedPacket) as caught:
        decode(bytes.fromhex(written), version)
    assert caught.value.reason is reason


@given(packets)
def test_what_was_encoded_is_decoded(case: tuple[Version, Packet]) -> None:
    version, packet = case
    data = encode(packet, version)
    assert decode(b"\xc0\x00" + data + b"\xc0", version, start=2) == (packet, len(data) + 2)


@given(packets, st.data())
def test_a_part_of_a_packet_is_never_a_packet(case: tuple[Version, Packet], data: st.DataObject) -> None:
    version, packet = case
    written = encode(packet, version)
    assert decode(written[: data.draw(st.integers(0, len(written) - 1))], version) is None


@settings(max_examples=500)
@given(st.binary(max_size=60), versions)
def test_any_bytes_are_a_packet_an_incomplete_one_or_malformed(data: bytes, version: Version) -> None:
    _survives(data, version)


@settings(max_examples=500)
@given(packets, st.data())
def test_any_damaged_packet_is_a_packet_an_incomplete_one_or_malformed(
    case: tuple[Version, Packet], data: st.DataObject
) -> None:
    version, packet = case
    written = bytearray(encode(packet, version))
    for _ in range(data.draw(st.integers(1, 3))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    _survives(bytes(written), version)


def _survives(data: bytes, version: Version) -> None:
    with suppress(MalformedPacket):
        decoded = decode(data, version)
        if decoded is not None:
            packet, end = decoded
            assert 2 <= end <= len(data)
            assert decode(encode(packet, version), version) is not None


def test_a_packet_over_the_limit_is_refused_before_it_has_arrived() -> None:
    written = encode(Publish("t", b"x" * 1000), V5)
    assert decode(written, V5, largest=len(written)) is not None
    with pytest.raises(MalformedPacket) as caught:
        decode(written[:10], V5, largest=len(written) - 1)
    assert caught.value.reason is Reason.PACKET_TOO_LARGE


@pytest.mark.parametrize(("reason", "code"), [(Reason.QUOTA_EXCEEDED, 3), (Reason.CLIENT_ID_NOT_VALID, 2)])
def test_3_1_1_hears_its_own_return_codes(reason: Reason, code: int) -> None:
    assert encode(ConnAck(reason=reason), V311) == bytes((0x20, 2, 0, code))


def test_what_does_not_fit_is_an_error_of_ours() -> None:
    with pytest.raises(OverflowError):
        encode(Publish("t" * 65_536, b""), V5)
    with pytest.raises(TypeError):
        encode(Publish("t", b"", properties=((Property.CONTENT_TYPE, 5),)), V5)
