"""`lab2mqtt cleanup`: clears what is left of this bridge on the broker and stands for nothing any more."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.cli import Exit, client, configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.mqtt import ConnectionSettings
    from bridge.settings import Settings
    from bridge.topics import Topics

FAILED = 10
SHOWN = 20  # topics of one kind that are listed without --all

_EPILOG = """\
examples:
  lab2mqtt cleanup -c lab2mqtt.toml --dry-run         what would be cleared
  lab2mqtt cleanup -c lab2mqtt.toml                   clear it
  lab2mqtt cleanup -c lab2mqtt.toml --prefix ha       discovery that was announced under another prefix
  lab2mqtt cleanup -c lab2mqtt.toml --bridge gate1    what a bridge left that had this id, and is offline

Cleared are devices that are not in the configuration any more, states that no list of points has, and discovery
of what is not there. The daemon does the same by itself, some minutes after its start; it may run meanwhile, and
what it has is never touched, nor what belongs to another bridge or program. Give this command the broker's
account of the daemon: it writes where the daemon does.

exit codes: 0 cleared or listed, 10 the broker refused some of it, 15 no broker answered, 64 wrong use,
            78 bad configuration
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Some topics that are left for one reason."""

    what: str
    topics: list[str]
    cleared: bool = True


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "cleanup",
        help="clear retained topics that nothing stands behind any more",
        description="Lists and clears what this bridge left on the broker in earlier lives.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    configuration.add_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="list only")
    parser.add_argument("--prefix", metavar="TOPIC", help="all discovery of this bridge under an earlier prefix")
    parser.add_argument("--bridge", metavar="ID", help="also all that a bridge left that had this id")
    parser.add_argument(
        "--commands",
        action="store_true",
        help="also clear retained messages on set and call topics: somebody left them, no bridge carries them out",
    )
    parser.add_argument("--all", action="store_true", help="list every topic")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every topic")
    parser.set_defaults(run=_run, wrong_use=parser.error)


def _run(options: argparse.Namespace) -> int:
    settings = configuration.read(options)
    _check(options)
    announced = settings.home_assistant
    if options.prefix == announced.prefix and announced.discovery:
        options.wrong_use(f"{options.prefix} is the prefix of the configuration, and discovery is switched on")
    if options.bridge == settings.bridge.id:
        options.wrong_use(f"{options.bridge} is the bridge of the configuration")
    return client.run(_cleanup(options, settings))


def _check(options: argparse.Namespace) -> None:
    """What no configuration could ever have had is a slip, and a wildcard one that could go far."""
    from pydantic import TypeAdapter, ValidationError

    from bridge.settings_models import Id, Topic

    checks = {"prefix": TypeAdapter[str](Topic), "bridge": TypeAdapter[str](Id)}
    for name, check in checks.items():
        try:
            if (given := getattr(options, name)) is not None:
                check.validate_python(given)
        except ValidationError:
            options.wrong_use(f"--{name}: no configuration can have {given!r}")


async def _cleanup(options: argparse.Namespace, settings: Settings) -> int:
    from bridge import retained
    from bridge.ends import explain
    from bridge.mqtt import MqttError
    from bridge.topics import Topics

    connection = client.connection(settings, "cleanup")
    topics = Topics(settings.bridge.root, settings.bridge.id)
    try:
        kept = await _kept(connection, topics, settings, options)
        try:
            groups = [group for group in _left(kept, topics, settings, options) if group.topics]
        except ValueError as error:
            print(f"lab2mqtt: {error}", file=sys.stderr)
            return Exit.USAGE
        wanted = list(dict.fromkeys(topic for group in groups if group.cleared for topic in group.topics))
        refused = [] if options.dry_run or not wanted else await retained.clear(connection, wanted)
    except (OSError, MqttError) as error:
        where = f"{connection.host}:{connection.port}"
        raise client.NoAnswerError(f"the broker at {where}: {explain(error)}") from None
    if options.json:
        found = [
            {"what": g.what, "topics": g.topics, "cleared": g.cleared and not options.dry_run} for g in groups
        ]
        print(json.dumps({"found": found, "refused": refused}, ensure_ascii=False, indent=2))
    else:
        print(*_lines(groups, len(wanted), refused, options), sep="\n")
    return FAILED if refused else Exit.OK


async def _kept(
    connection: ConnectionSettings, topics: Topics, settings: Settings, options: argparse.Namespace
) -> dict[str, bytes]:
    """What the broker keeps of this bridge.

    The lists of points are read first and last: what a missing list has would seem to be a ghost.
    """
    from bridge import discovery, leftovers

    root, old = topics.root, options.bridge
    prefixes = {settings.home_assistant.prefix, options.prefix or settings.home_assistant.prefix}
    configured = settings.enabled_devices
    lists = [f"{topics.device(name).points()}/#" for name in configured]
    overview = [f"{root}/+/link", f"{root}/_bridge/+/status", topics.health, *lists]
    overview += [discovery.topic_filter(prefix) for prefix in prefixes]
    first = await _read(connection, topics, overview)
    names = {*configured, *leftovers.devices_of(first, topics, topics.bridge)}
    names.update(leftovers.devices_of(first, topics, old) if old else ())
    wanted = [*(f"{root}/{name}/#" for name in sorted(names)), f"{topics.own}/call/#"]
    wanted += [f"{root}/_bridge/{old}/#"] if old else []
    rest = await _read(connection, topics, wanted)
    return first | rest | await _read(connection, topics, overview)


async def _read(connection: ConnectionSettings, topics: Topics, wanted: list[str]) -> dict[str, bytes]:
    from bridge import retained

    kept = await retained.read(connection, topics.canary, wanted)
    if not kept.complete:
        raise client.NoAnswerError(
            f"the broker did not deliver everything in time, or this account may not use {topics.canary}/#"
        )
    return kept.messages


def _left(
    kept: dict[str, bytes], topics: Topics, settings: Settings, options: argparse.Namespace
) -> Iterator[Group]:
    """ValueError: --bridge names one that is there, or never was."""
    from bridge import leftovers

    prefix, configured = settings.home_assistant.prefix, settings.enabled_devices
    has = {*configured, *leftovers.running(kept, topics)}
    left = [name for name in leftovers.devices_of(kept, topics, topics.bridge) if name not in has]
    for name, (first, last) in leftovers.of_devices(kept, topics, left, prefix).items():
        why = "is disabled" if name in settings.devices else "is not in the configuration"
        yield Group(f"the device {name}, which {why}", [*first, *last])
    for name in configured:
        yield Group(f"states of {name} that no list of points has", leftovers.ghosts(kept, topics, name))
    if settings.home_assistant.discovery:
        yield Group("discovery of what is not there", leftovers.unannounced(kept, topics, prefix, has))
    for earlier in filter(None, [options.prefix, "" if settings.home_assistant.discovery else prefix]):
        found_there = leftovers.announcements(kept, earlier, topics.status)
        yield Group(f"discovery under {earlier}", [topic for topic, _ in found_there])
    if options.bridge:
        old = leftovers.of_bridge(kept, topics, options.bridge, has, options.prefix or prefix)
        yield Group(f"the bridge {options.bridge}", old)
    commands = leftovers.commands(kept, topics, configured)
    yield Group("commands that somebody left retained (cleared with --commands)", commands, options.commands)


def _lines(groups: list[Group], count: int, refused: list[str], options: argparse.Namespace) -> Iterator[str]:
    for group in groups:
        yield f"{group.what}: {_topics(len(group.topics))}"
        shown = group.topics if options.all else group.topics[:SHOWN]
        yield from (f"  {topic}" for topic in shown)
        if len(shown) < len(group.topics):
            yield f"  … and {len(group.topics) - len(shown)} more (--all)"
    if refused:
        yield f"refused by the broker: {_topics(len(refused))}, the first is {refused[0]}"
    done = "would be cleared" if options.dry_run else "cleared"
    yield f"{_topics(count - len(refused))} {done}"


def _topics(count: int) -> str:
    return f"{count} topic{'' if count == 1 else 's'}"
