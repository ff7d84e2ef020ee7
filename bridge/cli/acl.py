"""`lab2mqtt acl`: the broker's access rules for exactly this configuration, one role each."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.cli import Exit, configuration

if TYPE_CHECKING:
    from bridge.settings import Settings

READER, COMMANDER, HOME_ASSISTANT, ADMINISTRATOR = "dashboard", "operator", "homeassistant", "administrator"

_EPILOG = """\
examples:
  lab2mqtt acl -c lab2mqtt.toml > /etc/mosquitto/lab2mqtt.acl     and in mosquitto.conf:
                                                                    allow_anonymous false
                                                                    password_file /etc/mosquitto/passwords
                                                                    acl_file /etc/mosquitto/lab2mqtt.acl
  lab2mqtt acl -c lab2mqtt.toml --user gateway1                   only the bridge's rules, for this user name

The other roles (dashboard, operator, homeassistant, administrator) are suggestions: rename them as you like.

exit codes: 0 printed, 64 wrong use, 78 bad configuration
"""


@dataclass(frozen=True, slots=True)
class Rule:
    access: str  # read, write, readwrite
    topic: str


@dataclass(frozen=True, slots=True)
class Role:
    """What one user may do; `what` says who that is."""

    user: str
    what: str
    rules: tuple[Rule, ...]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "acl",
        help="print the broker's access rules for this configuration",
        description="Prints what the bridge must be allowed at the broker, and what others need, and no more.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    configuration.add_options(parser)
    parser.add_argument(
        "--broker", choices=("mosquitto",), default="mosquitto", help="in whose format (mosquitto)"
    )
    parser.add_argument("--user", metavar="NAME", help="only the bridge's rules, for this user name")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = configuration.read(options)
    bridge = bridge_role(settings, options.user or settings.mqtt.username or settings.bridge.id)
    found = [bridge] if options.user else [bridge, *others(settings)]
    print(*mosquitto(settings, found), sep="\n")
    return Exit.OK


# --- the roles -------------------------------------------------------------------------------------------


def bridge_role(settings: Settings, user: str) -> Role:
    """Its own branch and its devices', who else has them, Home Assistant's birth, and where answers are wanted."""
    from bridge import discovery
    from bridge.topics import Topics

    topics = Topics(settings.bridge.root, settings.bridge.id)
    rules = [
        Rule("readwrite", f"{topics.own}/#"),
        Rule("read", topics.status_of("+")),
        Rule("read", topics.device("+").link),
        *(Rule("readwrite", f"{topics.device(name).base}/#") for name in settings.enabled_devices),
        Rule("write", f"{settings.bridge.response_prefix}#"),
    ]
    home = settings.home_assistant
    if home.discovery:
        rules += [Rule("readwrite", discovery.topic_filter(home.prefix)), Rule("read", home.birth)]
    return Role(user, "the bridge", tuple(rules))


def others(settings: Settings) -> Iterator[Role]:
    """Suggestions, from whoever acts to whoever only looks; each as narrow as its task."""
    root, home = settings.bridge.root, settings.home_assistant
    commands = (Rule("write", f"{root}/+/set/#"), Rule("write", f"{root}/+/call/#"))
    everything = Rule("read", f"{root}/#")
    if home.discovery:
        again = Rule("write", f"{root}/_bridge/+/call/refresh")  # its button "Announce again"
        own = (Rule("read", f"{home.prefix}/#"), Rule("write", home.birth), again)
        yield Role(HOME_ASSISTANT, "Home Assistant: discovery, all that is published, and commands",
                   (*own, everything, *commands))  # fmt: skip
    answers = Rule("readwrite", f"{settings.bridge.response_prefix}{COMMANDER}/#")
    yield Role(COMMANDER, "somebody who operates the instruments, and gets answers",
               (everything, *commands, answers))  # fmt: skip
    alive = tuple(Rule("read", f"{root}/{topic}") for topic in ("_bridge/+/status", "+/status/#", "+/state/#"))
    yield Role(READER, "a dashboard: values and whether they are alive, nothing else", alive)
    yield Role(ADMINISTRATOR, "who may reload or refresh a bridge",
               (everything, Rule("write", f"{root}/_bridge/+/call/#")))  # fmt: skip


# --- how they are written --------------------------------------------------------------------------------


def mosquitto(settings: Settings, roles: list[Role]) -> Iterator[str]:
    yield f"# By `lab2mqtt acl`: the bridge {settings.bridge.id} under the root {settings.bridge.root}"
    for role in roles:
        yield ""
        yield f"# {role.what[0].upper()}{role.what[1:]}."
        yield f"user {role.user}"
        for rule in role.rules:
            yield f"topic {rule.access} {rule.topic}"
