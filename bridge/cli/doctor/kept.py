"""What the broker keeps: retained commands, the running daemon's word, other bridges, Home Assistant's birth."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import time

from bridge.claims import Claims
from bridge.cli.doctor.broker import SUBJECT
from bridge.cli.doctor.findings import Finding
from bridge.cli.doctor.line import Line
from bridge.intake import CLOCKS_APART
from bridge.mqtt import Filter
from bridge.settings import Settings
from bridge.topics import Topics

LISTEN = 1.5  # seconds: all that is kept has come, and a quarrel about a client id shows
RESTART = 3  # words on our status that a restart of the daemon explains
SHOWN = 10  # retained commands that are told one by one
BRIDGE = "bridge"


@dataclass(frozen=True, slots=True)
class Kept:
    """`rivals`: device -> the other bridge that has it. `links`: device -> its retained link."""

    online: bool
    info: Mapping[str, object]
    health: Mapping[str, object]
    links: Mapping[str, Mapping[str, object]]
    rivals: Mapping[str, str]
    commands: tuple[str, ...]  # topics with a retained message
    birth: bytes | None
    quarrel: bool  # two clients of our name: seen while listening


async def listen(line: Line, settings: Settings, topics: Topics) -> Kept:
    """Subscribe to what is kept and hear for a while what happens."""
    names = settings.enabled_devices
    claims = Claims(topics, names)
    wanted = [*claims.filters(), topics.info, topics.health, topics.event("takeover"), *topics.filters(names)]
    if settings.home_assistant.discovery:
        wanted.append(settings.home_assistant.birth)
    begun = len(line.heard)
    await line.subscribe([Filter(topic, retained=True) for topic in wanted])
    await line.listen(LISTEN)
    last: dict[str, bytes] = {}
    statuses = 0
    commands: list[str] = []
    for message in line.heard[begun:]:
        last[message.topic] = message.payload
        claims.heard(message.topic, message.payload)
        if message.topic == topics.status:
            statuses += 1
        if message.retain and message.payload and topics.parse(message.topic) is not None:
            commands.append(message.topic)
    rivals = {name: rival for name in names if (rival := claims.rival(name)) is not None}
    return Kept(
        online=last.get(topics.status) == b"online",
        info=_object(last.get(topics.info, b"")),
        health=_object(last.get(topics.health, b"")),
        links={name: _object(last.get(topics.device(name).link, b"")) for name in names},
        rivals=rivals,
        commands=tuple(dict.fromkeys(commands)),
        birth=last.get(settings.home_assistant.birth),
        quarrel=topics.event("takeover") in last or statuses > RESTART,
    )


def findings(kept: Kept, settings: Settings) -> list[Finding]:
    return [
        *_commands(kept),
        *_daemon(kept, settings),
        *_rivals(kept),
        *_home_assistant(kept, settings),
    ]


def _commands(kept: Kept) -> Iterator[Finding]:
    for topic in kept.commands[:SHOWN]:
        yield Finding(
            "kept.command",
            SUBJECT,
            f"a retained message lies on {topic}; the bridge never executes it, but somebody publishes commands "
            f"with the retain flag: stop that, and clear it with mosquitto_pub -r -n -t {shlex.quote(topic)}",
        )
    if (more := len(kept.commands) - SHOWN) > 0:
        yield Finding(
            "kept.command",
            SUBJECT,
            f"retained messages lie on {more} more such topics: `lab2mqtt cleanup --commands` clears all of them",
        )


def _daemon(kept: Kept, settings: Settings) -> Iterator[Finding]:
    name = settings.bridge.id
    if kept.quarrel:
        yield Finding(
            "bridge.duplicate",
            BRIDGE,
            f"the status of {name} goes to and fro: two clients use the client id {settings.client_id!r}; stop "
            "one, or give it another bridge.id and mqtt.client_id",
        )
    if not kept.online:
        yield Finding("bridge.offline", BRIDGE, f"no daemon called {name} is online at the broker")
        return
    version, since = kept.info.get("version", "?"), kept.health.get("uptime")
    told = f", up for {since:.0f} s" if isinstance(since, float) else ""
    yield Finding("bridge.online", BRIDGE, f"a daemon called {name} is online (version {version}{told})")
    trouble = kept.health.get("trouble")
    for text in trouble if isinstance(trouble, list) else ():
        yield Finding("bridge.trouble", BRIDGE, f"the running daemon reports: {text}")
    if (digest := kept.info.get("configuration")) not in (None, settings.digest()):
        yield Finding(
            "bridge.other_configuration",
            BRIDGE,
            f"the running daemon has the configuration {digest}, and this one is {settings.digest()}: reload it, "
            f"or look whether another machine uses the id {name}",
        )
    if (ahead := _ahead(kept.health)) > CLOCKS_APART:
        yield Finding(
            "clock.differs",
            "clock",
            f"the daemon's health is {ahead:.0f} s in our future: its clock or ours is wrong; let both be "
            "synchronised",
        )


def _rivals(kept: Kept) -> Iterator[Finding]:
    for device, rival in kept.rivals.items():
        yield Finding(
            "bridge.claimed",
            f"device {device}",
            f"the bridge {rival}, which is online, has a device of this name under the same root, so {device} is "
            "not started here: rename it, remove it from one of the two, or stop the other bridge",
        )


def _home_assistant(kept: Kept, settings: Settings) -> Iterator[Finding]:
    subject = "home assistant"
    if not settings.home_assistant.discovery:
        yield Finding("home_assistant.off", subject, "discovery is switched off: Home Assistant is told nothing")
    elif kept.birth == b"online":
        yield Finding("home_assistant.online", subject, "Home Assistant says that it is online")
    elif kept.birth:
        yield Finding(
            "home_assistant.offline",
            subject,
            "Home Assistant says that it is offline: once it is back, everything is announced again",
        )
    else:
        yield Finding(
            "home_assistant.unheard",
            subject,
            f"nothing is kept on {settings.home_assistant.birth}: Home Assistant may be there all the same (keep "
            "its birth message to see it here)",
        )


def _ahead(health: Mapping[str, object]) -> float:
    """Seconds that the newest health document lies in our future."""
    try:
        return datetime.fromisoformat(str(health.get("time", ""))).timestamp() - time()
    except (ValueError, OverflowError):
        return 0.0


def _object(text: bytes) -> Mapping[str, object]:
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
