"""The doctor's own connection to the broker: what it wrote, whether it was taken, and whether it came back.

Under a client id of its own: with the bridge's, the broker would end the running daemon's connection.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from enum import Enum

from bridge.mqtt import ConnectionSettings, Filter, Message, Meta, Mqtt, Refused
from bridge.mqtt_values import REFUSAL

PATIENCE = 2.0  # seconds for an acknowledgement, for what comes back, for what is kept
_SHORT = Meta(expiry=2)  # seconds: nothing of ours waits for anybody


class Written(Enum):
    """What became of a message: taken may mean little under MQTT 3.1.1, where a broker cannot say no."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "not acknowledged"


class Line:
    """`mqtt` is the connection: who makes a line connects and disconnects it."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.heard: list[Message] = []
        self._news = asyncio.Event()
        self._acks: dict[int, int] = {}
        self.mqtt = Mqtt(settings, self._hear, self._acked)

    @property
    def tells_refusals(self) -> bool:
        """MQTT 5 has a word for a publication that is not allowed."""
        return self.settings.protocol == "5"

    async def subscribe(self, filters: Sequence[Filter]) -> list[str]:
        """The filters that the broker refused. Raises what `Mqtt.subscribe` raises for all else."""
        try:
            await self.mqtt.subscribe(filters, within=PATIENCE)
        except Refused as error:
            if not error.refused:
                raise
            return [item.topic for item in error.refused]
        return []

    async def write(self, topic: str, payload: bytes) -> Written:
        """Publish (never retained) and wait for the broker's word."""
        mid = self.mqtt.publish(topic, payload, qos=1, meta=_SHORT)
        if mid is None:  # a broker without QoS 1 says nothing
            return Written.UNKNOWN
        if not await self._until(lambda: mid in self._acks):
            return Written.UNKNOWN
        return Written.REFUSED if self._acks.pop(mid) >= REFUSAL else Written.TAKEN

    async def echo(self, topic: str) -> tuple[Written, bool]:
        """Write on a topic that is subscribed to; whether it was taken, and whether it came back."""
        token = f"doctor-{secrets.token_hex(6)}".encode()
        written = await self.write(topic, token)
        if written is Written.REFUSED:
            return written, False
        back = await self._until(lambda: any(m.payload == token and m.topic == topic for m in self.heard))
        return written, back

    def last(self, topic: str) -> bytes | None:
        """The newest message that was heard on it."""
        return next((message.payload for message in reversed(self.heard) if message.topic == topic), None)

    async def listen(self, seconds: float) -> None:
        await self._until(lambda: False, seconds)

    async def _until(self, condition: Callable[[], bool], within: float = PATIENCE) -> bool:
        try:
            async with asyncio.timeout(within):
                while not condition():
                    if self.mqtt.closed.done():
                        raise self.mqtt.closed.result() or ConnectionError("the broker closed the connection")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _hear(self, message: Message) -> None:
        self.heard.append(message)
        self._news.set()

    def _acked(self, mid: int, code: int) -> None:
        self._acks[mid] = code
        self._news.set()
