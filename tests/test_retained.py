"""What a broker keeps is read whole or said to be a part, and on a part nothing final is built."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bridge import housekeeping, retained
from bridge.configured import broker
from bridge.housekeeping import AT_ONCE, Housekeeping, Pace
from bridge.mqtt import ConnectionSettings, Mqtt
from bridge.outbox import Outbox, Publication
from bridge.publisher import Publisher
from bridge.retained import Kept
from bridge.settings import Settings
from bridge.simulators.mqtt_broker import Broker
from bridge.topics import Topics

pytestmark = pytest.mark.asyncio
TOPICS = Topics("lab2mqtt", "here")
OLD = TOPICS.device("old")


async def test_a_broker_that_keeps_too_much_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Broker() as embedded:
        settings = ConnectionSettings("127.0.0.1", "tests", embedded.port)
        topics = [f"lab2mqtt/old/state/{number}" for number in range(20)]
        await _retain(settings, topics)
        whole = await retained.read(settings, TOPICS.canary, ["lab2mqtt/old/#"])
        assert (set(whole.messages), whole.complete) == (set(topics), True)
        monkeypatch.setattr(retained, "ROOM", 2500)
        part = await retained.read(settings, TOPICS.canary, ["lab2mqtt/old/#"])
        assert 1 <= len(part.messages) < 5
        assert not part.complete
        assert await retained.clear(settings, topics) == []


async def _retain(settings: ConnectionSettings, topics: list[str]) -> None:
    mqtt = Mqtt(settings)
    await mqtt.connect()
    for topic in topics:
        mqtt.publish(topic, bytes(1000), 1, retain=True)
    await mqtt.disconnect()


def housekeeper() -> tuple[Housekeeping, Outbox]:
    settings = Settings.model_validate({"bridge": {"id": "here"}, "devices": {}})
    outbox = Outbox()
    publisher = Publisher(outbox, lambda reason, topic: None, lambda lost: Publication("gap", b""))
    house = Housekeeping(lambda: settings, TOPICS, {}, broker(settings, TOPICS), publisher, lambda: True)
    return house, outbox


async def test_a_device_that_left_is_not_forgotten_over_what_was_read_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = b'{"bridge": "here"}'
    readings = [
        Kept({}, False),
        Kept({OLD.link: link}, False),
        Kept({OLD.link: link, OLD.state("x"): b"1"}, False),
        Kept({OLD.link: link}, True),
        Kept({}, True),
    ]
    read = iter(readings)

    async def reading(*_: object) -> Kept:
        return next(read, readings[-1])

    monkeypatch.setattr(retained, "read", reading)
    monkeypatch.setattr(housekeeping, "PACE", Pace(between=0.0, settled=0.0, patience=0.0))
    house, outbox = housekeeper()
    running = asyncio.create_task(house.run())
    house.removed("old")
    cleared: list[str] = []
    async with asyncio.timeout(5):
        while OLD.link not in cleared:
            await asyncio.sleep(0)
            while (item := outbox.next_state()) is not None:
                outbox.remove(item)
                cleared += [] if item.payload else [item.topic]
    assert cleared == [OLD.state("x"), OLD.link]
    running.cancel()
    await asyncio.wait([running])


async def test_many_that_left_are_cleared_away_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers may invent names: no round may take long, and nobody waits for ever behind one that cannot go."""
    names = {f"old{number}" for number in range(3 * AT_ONCE)}
    links = {TOPICS.device(name).link: b'{"bridge": "here"}' for name in names}
    stuck = {TOPICS.device(name).state("x"): b"1" for name in sorted(names)[:AT_ONCE]}
    rounds: list[int] = []

    async def reading(connection: object, own: str, topics: Sequence[str]) -> Kept:
        rounds.append(len(topics) - 1)
        return Kept(links | stuck, True)

    monkeypatch.setattr(retained, "read", reading)
    monkeypatch.setattr(housekeeping, "PACE", Pace(between=0.0, settled=0.0, patience=0.0))
    house, outbox = housekeeper()
    for name in sorted(names):
        house.removed(name)
    running = asyncio.create_task(house.run())
    cleared: set[str] = set()
    async with asyncio.timeout(5):
        while len(cleared) < 3 * AT_ONCE:
            await asyncio.sleep(0)
            while (item := outbox.next_state()) is not None:
                outbox.remove(item)
                cleared |= set() if item.payload else {item.topic}
    assert max(rounds) <= AT_ONCE
    assert len(cleared & links.keys()) == 2 * AT_ONCE
    running.cancel()
    await asyncio.wait([running])
