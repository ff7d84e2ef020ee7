"""What a device offers, for tools that must know it: from what the broker keeps, or from the device itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from bridge.cli.client import NoAnswerError

if TYPE_CHECKING:
    from bridge.cli.client import Client
    from bridge.settings import Settings
    from bridge.topics import Topics

Declared: TypeAlias = Mapping[str, object]  # one point of a document under `points`


class UnavailableError(Exception):
    """The device is not there: one sentence."""


@dataclass(frozen=True, slots=True)
class Known:
    """`points` by key, in the order of the documents; `groups` maps a group's id to its name."""

    bridge: str
    points: Mapping[str, Declared] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


async def ask(client: Client, topics: Topics, device: str) -> Known:
    """What is kept of this device. NoAnswerError: nothing, or its bridge says that it is offline."""
    of = topics.device(device)
    kept = await client.kept([of.link, f"{of.points()}/#", topics.status_of("+")])
    bridge = str(_object(kept.get(of.link, b"")).get("bridge", ""))
    if not bridge:
        raise NoAnswerError(f"no bridge under {topics.root} says that it has a device {device!r}")
    if kept.get(topics.status_of(bridge)) != b"online":
        raise NoAnswerError(f"the bridge {bridge}, which has {device}, is offline")
    documents = {topic: text for topic, text in kept.items() if f"{topic}/".startswith(f"{of.points()}/")}
    return known(bridge, documents)


async def ask_device(settings: Settings, name: str, wait: float) -> Known:
    """Connect as the daemon would, until the device has said what it offers; UnavailableError if it does not.

    Nothing is commanded, and what the daemon remembers for it on disk is neither read nor written.
    """
    import asyncio
    from contextlib import suppress

    from bridge.cli.alone import alone
    from bridge.runner import Runner
    from bridge.settings import ConfigurationError

    news = asyncio.Event()
    with alone(settings, name, news.set) as (device, tools):
        try:
            runner = Runner(device, settings.devices[name], tools)
        except ValueError as error:
            raise ConfigurationError([f"devices.{name}: {error}"]) from None
        running = asyncio.create_task(runner.run())
        try:
            async with asyncio.timeout(wait):
                while not device.ready and device.link.next_try is None:
                    await news.wait()
                    news.clear()
        except TimeoutError:
            pass
        finally:
            is_there, reason = device.ready, device.link.reason
            documents = {item.topic: item.payload for item in device.catalogue.documents()}
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    if not is_there:
        raise UnavailableError(f"{name} is not available: {reason}")
    return known(settings.bridge.id, documents)


def known(bridge: str, documents: Mapping[str, bytes]) -> Known:
    """From the documents under `points`, one per group, by their topics."""
    points: dict[str, Declared] = {}
    groups: dict[str, str] = {}
    for topic in sorted(documents):
        document = _object(documents[topic])
        group, declared = str(document.get("group", "")), document.get("points")
        groups[group] = str(document.get("name", "")) or group
        for key, point in declared.items() if isinstance(declared, dict) else ():
            if isinstance(point, dict):
                points[str(key)] = {**point, "group": group}
    return Known(bridge, points, groups)


def _object(text: bytes) -> Mapping[str, object]:
    try:
        decoded = json.loads(text)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
