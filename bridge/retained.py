"""What a broker keeps on some topics, read or cleared over a connection of its own that lives for a moment.

So nothing of it can disturb the bridge's connection, and no subscription outlives it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bridge.mqtt import ConnectionSettings, Filter, Message, Mqtt, Refused
from bridge.mqtt_values import REFUSAL

PATIENCE = 5.0  # seconds for the mark to come back
LARGEST = 64 << 20  # bytes of a packet
ROOM = 64 << 20  # bytes that are kept of all; the rest is left out


@dataclass(frozen=True, slots=True)
class Kept:
    """Payloads by topic, none of them empty. `complete`: the mark came back behind them, and there was room."""

    messages: dict[str, bytes]
    complete: bool


async def read(connection: ConnectionSettings, own: str, topics: Sequence[str]) -> Kept:
    """What the broker keeps on these filters.

    `connection` is the bridge's, and `own` a topic of which it may write and read what is below: a message to
    it, sent after the subscription, comes back when all that is kept has been delivered.

    Raises what `Mqtt.connect` raises.
    """
    token = secrets.token_hex(8)
    mark, found, marked, room = f"{own}/{token}", dict[str, bytes](), asyncio.Event(), ROOM

    def hear(message: Message) -> None:
        nonlocal room
        if message.topic == mark:
            marked.set()
        elif not message.payload:
            found.pop(message.topic, None)
        elif room > 0:
            room -= len(message.topic) + len(message.payload)
            found[message.topic] = message.payload

    mqtt = Mqtt(_momentary(connection), hear)
    await mqtt.connect()
    try:
        # QoS 0: what waits for acknowledgements is dropped by a broker when there is much of it.
        await _subscribe(mqtt, [Filter(mark, 0), *(Filter(topic, 0, retained=True) for topic in topics)])
        mqtt.publish(mark, b"", qos=1)
        await asyncio.wait_for(marked.wait(), PATIENCE)
    except TimeoutError:
        pass
    finally:
        await mqtt.disconnect(within=1.0)
    return Kept(found, marked.is_set() and room > 0)


async def clear(connection: ConnectionSettings, topics: Sequence[str]) -> list[str]:
    """Clear these, in this order; the topics that the broker refused.

    Raises what `Mqtt.connect` raises, and MqttError when the connection is lost.
    """
    sent: dict[int, str] = {}
    refused: list[str] = []
    moved = asyncio.Event()

    def acknowledged(mid: int, code: int) -> None:
        topic = sent.pop(mid)
        if code >= REFUSAL:
            refused.append(topic)
        moved.set()

    mqtt = Mqtt(_momentary(connection), on_ack=acknowledged, on_room=moved.set)
    await mqtt.connect()
    try:
        for topic in topics:
            while mqtt.up and not mqtt.room:
                moved.clear()
                await asyncio.wait_for(moved.wait(), PATIENCE)
            if (mid := mqtt.publish(topic, b"", qos=1, retain=True)) is not None:
                sent[mid] = topic
        while sent and mqtt.up:
            moved.clear()
            await asyncio.wait_for(moved.wait(), PATIENCE)
    finally:
        await mqtt.disconnect(within=1.0)
    return [*refused, *sent.values()]


def _momentary(connection: ConnectionSettings) -> ConnectionSettings:
    own = f"{connection.client_id}-{secrets.token_hex(4)}"
    return replace(connection, client_id=own, will=None, session_expiry=0, packet_limit=LARGEST)


async def _subscribe(mqtt: Mqtt, filters: Sequence[Filter]) -> None:
    try:
        await mqtt.subscribe(filters)
    except Refused as error:
        if not error.refused:
            raise
