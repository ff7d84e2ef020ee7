"""Which retained topics nothing stands behind any more: pure functions over what a broker keeps."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from bridge.discovery import SLUG
from bridge.ghosts import read_document
from bridge.keys import point_key
from bridge.settings_models import ID_PATTERN
from bridge.topics import Topics

Retained = Mapping[str, bytes]  # payloads by topic, none of them empty

_DEVICE = re.compile(ID_PATTERN)


class _Link(msgspec.Struct):
    bridge: str = ""


class _Availability(msgspec.Struct):
    topic: str = ""


class _Health(msgspec.Struct):
    links: dict[str, str] = {}


class _Announced(msgspec.Struct):
    availability: list[_Availability] = []


def owner(link: bytes) -> str:
    """The bridge that a document under `link` names; "" for none."""
    try:
        return msgspec.json.decode(link, type=_Link).bridge
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""


def device_of(topic: str, topics: Topics) -> str | None:
    """The device whose link this topic is; None for all that can be no device, such as `_bridge`."""
    if not topic.startswith(f"{topics.root}/"):
        return None
    name, _, rest = topic.removeprefix(f"{topics.root}/").partition("/")
    return name if rest == "link" and _DEVICE.fullmatch(name) else None


def availability(config: bytes) -> tuple[str, ...]:
    """The topics that say whether what this discovery payload announces is there: bridge, device, group."""
    try:
        announced = msgspec.json.decode(config, type=_Announced)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ()
    return tuple(item.topic for item in announced.availability)


def running(kept: Retained, topics: Topics) -> list[str]:
    """The devices that this bridge has at this moment, if it is online, whatever the configuration says."""
    try:
        health = msgspec.json.decode(kept.get(topics.health, b"{}"), type=_Health)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return []
    return list(health.links) if kept.get(topics.status) == b"online" else []


def is_discovery(topic: str, prefix: str) -> bool:
    """Of a bridge of ours. Others may announce something of their own that is available while we are."""
    return topic.startswith(f"{prefix}/device/{SLUG}") and topic.endswith("/config")


def announcements(kept: Retained, prefix: str, status: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The discovery topics of the bridge with this status, each with the other topics of its availability.

    The bridge itself has none: what tells whether it is there is one of its components.
    """
    for topic, payload in kept.items():
        if is_discovery(topic, prefix):
            told = availability(payload)
            bridge = not told and f'"state_topic":"{status}"'.encode() in payload
            if bridge or told[:1] == (status,):
                yield topic, told[1:]


def of_device(kept: Retained, topics: Topics, name: str, prefix: str) -> tuple[list[str], list[str]] | None:
    """All that is kept of a device of ours that left: what goes first, and what last; None: it is not ours.

    Its link goes last of all, for it is what says that the rest may be cleared.
    """
    return of_devices(kept, topics, [name], prefix).get(name)


def of_devices(
    kept: Retained, topics: Topics, names: Iterable[str], prefix: str
) -> dict[str, tuple[list[str], list[str]]]:
    """The same for many, looking through all that is kept only once; what is not ours is left out."""
    ours = [name for name in names if owner(kept.get(topics.device(name).link, b"")) == topics.bridge]
    found: dict[str, tuple[list[str], list[str]]] = {name: ([], []) for name in ours}
    statuses = {topics.device(name).status(): name for name in ours}
    for topic, told in announcements(kept, prefix, topics.status):
        if told and (name := statuses.get(told[0])) is not None:
            found[name][0].append(topic)
    root = f"{topics.root}/"
    for topic in kept:
        name, slash, rest = topic.removeprefix(root).partition("/") if topic.startswith(root) else ("", "", "")
        if slash and name in found and rest not in ("status", "link"):
            found[name][0].append(topic)
    for name in ours:
        device = topics.device(name)
        found[name][1].extend(topic for topic in (device.status(), device.link) if topic in kept)
    return found


def devices_of(kept: Retained, topics: Topics, bridge: str) -> list[str]:
    """The devices whose links name this bridge."""
    named = [(device_of(topic, topics), payload) for topic, payload in kept.items()]
    return [name for name, payload in named if name is not None and owner(payload) == bridge]


def ghosts(kept: Retained, topics: Topics, name: str) -> list[str]:
    """States of a configured device that none of its documents lists."""
    device = topics.device(name)
    listed: set[str] = set()
    for topic, payload in kept.items():
        if topic == device.points() or topic.startswith(f"{device.points()}/"):
            document = read_document(payload)
            if document is None:
                return []  # not by us, or not by this version: nothing is known
            listed |= {device.state(key) for key in document.kinds}
    if not listed:
        return []
    return [topic for topic in kept if topic.startswith(device.state("")) and topic not in listed]


def unannounced(kept: Retained, topics: Topics, prefix: str, devices: Collection[str]) -> list[str]:
    """Discovery of ours for devices that are not configured, or for groups that no document tells of."""
    found = []
    known = {topics.device(name).status(): topics.device(name) for name in devices}
    for topic, told in announcements(kept, prefix, topics.status):
        if not told:
            continue  # the bridge itself
        device = known.get(told[0])
        if device is None:
            found.append(topic)
        elif len(told) > 1:
            group = told[1].removeprefix(f"{device.status()}/")
            if told[1] not in kept and f"{device.points()}/{group}" not in kept:
                found.append(topic)
    return found


def commands(kept: Retained, topics: Topics, devices: Collection[str]) -> list[str]:
    """What somebody left on the topics of commands; the bridge never carries it out."""
    verbs = [f"{topics.device(name).base}/{verb}/" for name in devices for verb in ("set", "call")]
    return [topic for topic in kept if topic.startswith((*verbs, f"{topics.own}/call/"))]


def of_bridge(kept: Retained, topics: Topics, old: str, devices: Collection[str], prefix: str) -> list[str]:
    """All that an old bridge left, except of devices that are configured here.

    ValueError when it is online, or when there is none.
    """
    status = topics.status_of(old)
    own = [topic for topic in kept if topic.startswith(f"{topics.root}/_bridge/{point_key(old)}/")]
    if kept.get(status) == b"online":
        raise ValueError(f"the bridge {old} is online")
    if not own:
        raise ValueError(f"there is nothing of a bridge {old} under {topics.root}")
    gone = [name for name in devices_of(kept, topics, old) if name not in devices]
    bases = tuple(f"{topics.device(name).base}/" for name in gone)
    announced = [topic for topic, _ in announcements(kept, prefix, status)]
    return [*announced, *(topic for topic in kept if bases and topic.startswith(bases)), *own]
