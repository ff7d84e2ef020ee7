"""What housekeeping hears of devices that a reload is about to bring."""

from __future__ import annotations

import asyncio

import pytest

from bridge import housekeeping
from bridge.configured import broker
from bridge.device import Device, Profile
from bridge.housekeeping import Housekeeping, Pace
from bridge.mqtt import Message, Meta
from bridge.outbox import Outbox, Publication
from bridge.publisher import Publisher
from bridge.settings import Settings
from bridge.topics import Topics

TOPICS = Topics("lab2mqtt", "here")
LOST = b'{"group":"","points":{"old":{"kind":"switch","name":"Old"}}}'


def kept() -> Message:
    return Message(TOPICS.device("io").points(), LOST, 0, retain=True, dup=False, meta=Meta())


def device() -> Device:
    return Device(Profile("io", "here"), TOPICS.device("io"), Outbox(), lambda ticket, reply: None)


@pytest.mark.asyncio
async def test_what_the_broker_tells_of_a_changed_device_is_for_the_new_one_however_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "PACE", Pace(between=0.0, settled=0.0))
    settings = Settings.model_validate({"bridge": {"id": "here"}, "devices": {}})
    outbox = Outbox()
    publisher = Publisher(outbox, lambda reason, topic: None, lambda lost: Publication("gap", b""))
    old, new = device(), device()
    devices = {"io": old}
    house = Housekeeping(lambda: settings, TOPICS, devices, broker(settings, TOPICS), publisher, lambda: True)
    running = asyncio.create_task(house.run())
    house.meet([new])
    while house.inventories < 3:
        await asyncio.sleep(0)
    house.heard(kept())
    assert list(new.catalogue.ghosts.of("")) == ["old"]

    devices["io"] = new
    rounds = house.inventories
    while house.inventories < rounds + 3:
        await asyncio.sleep(0)
    devices["io"] = third = device()
    house.heard(kept())
    assert list(third.catalogue.ghosts.of("")) == ["old"]
    running.cancel()
    await asyncio.wait([running])
