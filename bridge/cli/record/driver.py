"""A device's own driver on a relay, without MQTT: it asks what there is and listens; nothing is ever commanded.

What the daemon remembers of the device is neither read nor written, so not even an overdue pulse is ended.
"""

from __future__ import annotations

import json
from time import time

from bridge import configured
from bridge.cli import client
from bridge.cli.doctor import machine
from bridge.device import Device
from bridge.journal import Journal
from bridge.memory import Memory
from bridge.model import Result
from bridge.mqtt import MqttError
from bridge.outbox import Outbox
from bridge.runner import Runner
from bridge.session import Tools
from bridge.settings import Settings
from bridge.topics import Topics
from bridge.workers import Workers


async def converse(settings: Settings, name: str, url: str) -> None:
    """Keep the device connected at this url, until cancelled. ValueError: the settings cannot work."""
    own = settings.devices[name].model_copy(update={"url": url, "tls": None})
    topics = Topics(settings.bridge.root, settings.bridge.id).device(name)
    device = Device(configured.profile(name, settings), topics, Outbox(), lambda ticket, reply: None)
    workers = Workers()
    memory = Memory(Journal.open(None, time()), lambda: None)
    try:
        await Runner(device, own, Tools(memory, workers.compute, _keep_nothing, lambda: None)).run()
    finally:
        workers.close()


async def _keep_nothing(name: str, result: Result) -> None:
    pass


async def holder(settings: Settings, name: str) -> str | None:
    """Who has this device now, in words; None: nobody, as far as one can tell.

    Many instruments serve one client only, or know clients by their address: they must not be connected to twice.
    """
    topics = Topics(settings.bridge.root, settings.bridge.id)
    link = topics.device(name).link
    try:
        async with client.Client(client.connection(settings, "record"), settings.bridge.response_prefix) as broker:
            kept = await broker.kept([link, topics.status_of("+")])
    except (OSError, MqttError):
        _, found = machine.state(settings.bridge.state_dir)
        return "the daemon that runs here may have it (the broker cannot be asked)" if found else None
    try:
        document = json.loads(kept[link])
        bridge, state = str(document["bridge"]), document["state"]
    except (KeyError, TypeError, ValueError):  # nobody has told anything of it
        return None
    if state in ("", "offline"):
        return None
    return f"the daemon {bridge} has it" if kept.get(topics.status_of(bridge)) == b"online" else None
