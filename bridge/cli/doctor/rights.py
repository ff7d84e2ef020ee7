"""May the bridge do what it must: shown by real round trips, on topics where nobody is disturbed.

Nothing is retained, nothing is written where a state is kept, and no command is ever sent beside a running daemon.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge import discovery
from bridge.cli.client import TOOLS
from bridge.cli.doctor.broker import SUBJECT
from bridge.cli.doctor.findings import Finding, Verdict
from bridge.cli.doctor.line import Line, Written
from bridge.housekeeping import documents
from bridge.mqtt import Filter
from bridge.settings import Settings
from bridge.topics import Topics

# Whoever listens to all answers or events finds well-formed ones.
ANSWER = b'{"id":"doctor","outcome":"rejected","final":true,"detail":"a trial by lab2mqtt doctor"}'
EVENT = b'{"event_type":"doctor","detail":"a trial by lab2mqtt doctor"}'
NOBODY = "_doctor"  # a reserved level: no point, action, device or verb is ever called so


async def rights(line: Line, settings: Settings, topics: Topics, *, daemon: bool) -> list[Finding]:
    """`daemon`: one with our id is online, so that nothing may be written on command topics."""
    names = settings.enabled_devices
    found = list(_subscriptions(await _subscribe(line, settings, topics, names)))
    canary, is_back = await line.echo(topics.canary)
    refused = [topics.canary] if canary is Written.REFUSED else []
    if not refused and not is_back:
        found.append(_canary(topics))
    found += await _writes(line, settings, topics, names, refused)
    if not any(finding.verdict is Verdict.FAULT for finding in found):  # one thing at a time
        found += await _commands(line, topics, names, daemon=daemon)
    if not any(finding.verdict in (Verdict.FAULT, Verdict.WARNING) for finding in found):
        found.insert(0, Finding("rights.ok", SUBJECT, "the bridge may subscribe, publish, and read what it wrote"))
    return found


# --- reading ---------------------------------------------------------------------------------------------


async def _subscribe(line: Line, settings: Settings, topics: Topics, names: list[str]) -> list[str]:
    """As the daemon does; what it is refused."""
    wanted = [topics.status, topics.canary, topics.status_of("+"), *topics.filters(names)]
    wanted += [topics.device("+").link]
    wanted += [one.topic for name in names for one in documents(topics.device(name))]
    home = settings.home_assistant
    if home.discovery:
        wanted += [home.birth, discovery.topic_filter(home.prefix)]
    return await line.subscribe([Filter(topic) for topic in wanted])


def _subscriptions(refused: Sequence[str]) -> Iterator[Finding]:
    if refused:
        yield Finding(
            "rights.subscribe",
            SUBJECT,
            f"the broker refuses subscriptions to {_some(refused)}: let this user read there (`lab2mqtt acl` "
            "prints the rules)",
        )


def _canary(topics: Topics) -> Finding:
    return Finding(
        "rights.canary",
        SUBJECT,
        f"what is written to {topics.canary} does not come back: let this user read and write there (`lab2mqtt "
        "acl` prints the rules)",
    )


async def _commands(line: Line, topics: Topics, names: list[str], *, daemon: bool) -> list[Finding]:
    """Whether commands would reach us; a SUBACK proves nothing. They are for a point that cannot exist."""
    asked = [f"{topics.own}/call/{NOBODY}", *(f"{topics.device(name).base}/set/{NOBODY}" for name in names)]
    if daemon:
        return [
            Finding(
                "rights.unproved",
                SUBJECT,
                "whether commands arrive is not tried, because a daemon would answer them: `lab2mqtt send` "
                "shows it",
            )
        ]
    lost: list[str] = []
    unknown: list[str] = []
    for topic in asked:
        match await line.echo(topic):
            case Written.REFUSED, _:
                unknown.append(topic)  # we may not command ourselves, which is as it should be
            case _, False:
                (lost if line.tells_refusals else unknown).append(topic)
    if lost:
        return [
            Finding(
                "rights.read",
                SUBJECT,
                f"commands on {_some(lost)} are not delivered to this user: let it read there (`lab2mqtt acl` "
                "prints the rules)",
            )
        ]
    if unknown:
        return [
            Finding(
                "rights.unproved",
                SUBJECT,
                f"whether commands on {_some(unknown)} arrive cannot be told, because this user may not write "
                "there",
            )
        ]
    return []


# --- writing ---------------------------------------------------------------------------------------------


async def _writes(
    line: Line, settings: Settings, topics: Topics, names: list[str], refused: list[str]
) -> list[Finding]:
    """Where a broker tells refusals, each branch is tried; otherwise nothing but the canary can be (`refused`)."""
    if not line.tells_refusals or line.mqtt.limits.qos < 1:
        return [
            Finding(
                "rights.unproved",
                SUBJECT,
                "this broker cannot say which publications it refuses (that takes MQTT 5 and QoS 1): if values "
                "are missing, look at its log",
            )
        ]
    bases = [topics.device(name).base for name in names]
    for base in [topics.own, *bases]:
        refused += await _refused(line, f"{base}/reply/{NOBODY}", ANSWER)
    for base in bases:
        refused += await _refused(line, f"{base}/event/{NOBODY}", EVENT)
    found = [_may_not_write(refused)] if refused else []
    return [*found, *await _discovery(line, settings), *await _answers(line, settings)]


async def _discovery(line: Line, settings: Settings) -> list[Finding]:
    """Empty and not retained: Home Assistant removes what it has of that device, which is nothing."""
    prefix = settings.home_assistant.prefix
    topic = discovery.topic(prefix, NOBODY)
    if not settings.home_assistant.discovery or not await _refused(line, topic, b""):
        return []
    return [
        Finding(
            "rights.discovery",
            SUBJECT,
            f"the broker refuses what is written to {topic}: let this user write "
            f"{discovery.topic_filter(prefix)}, or set home_assistant.discovery = false",
        )
    ]


async def _answers(line: Line, settings: Settings) -> list[Finding]:
    prefix = settings.bridge.response_prefix
    if not await _refused(line, f"{prefix}{TOOLS}/{NOBODY}", ANSWER):
        return []
    return [
        Finding(
            "rights.answers",
            SUBJECT,
            f"the broker refuses what is written under {prefix}, so who asks with a response topic gets no "
            f"answer: let this user write {prefix}#",
        )
    ]


async def _refused(line: Line, topic: str, payload: bytes) -> list[str]:
    return [topic] if await line.write(topic, payload) is Written.REFUSED else []


def _may_not_write(topics: Sequence[str]) -> Finding:
    return Finding(
        "rights.write",
        SUBJECT,
        f"the broker refuses what is written to {_some(topics)}: let this user write there (`lab2mqtt acl` "
        "prints the rules)",
    )


def _some(topics: Sequence[str]) -> str:
    return ", ".join(topics[:3]) + (f" and {len(topics) - 3} more" if len(topics) > 3 else "")
