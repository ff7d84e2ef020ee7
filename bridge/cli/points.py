"""`lab2mqtt points`: what a device offers, asked of the device itself or of what its bridge has published."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from bridge.cli import Exit, client, configuration
from bridge.cli.stop import seconds

if TYPE_CHECKING:
    from bridge.cli.asking import Declared, Known
    from bridge.settings import Settings

UNAVAILABLE = 13
WAIT = 30.0  # seconds
CONFIGURED = "-"  # `--mqtt` without a URL: the broker of the configuration

_EPILOG = """\
examples:
  lab2mqtt points -c lab2mqtt.toml io                 connect with the device and ask it
  lab2mqtt points io -c lab2mqtt.toml --mqtt          what the running bridge has published of it
  lab2mqtt points io --mqtt mqtt://broker.local       the same, without a configuration

Asking the device opens a connection of its own, beside the bridge's: an instrument that serves one client only is
better asked over MQTT. Nothing is commanded.

exit codes: 0 printed, 13 the device is not available, 15 no bridge answered, 64 wrong use, 78 bad configuration
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "points",
        help="list what a device offers",
        description="Lists every point and action of a device: key, kind, what it takes, access and name.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("device", metavar="DEVICE", help="the device's id")
    configuration.add_options(parser)
    parser.add_argument(
        "--mqtt",
        nargs="?",
        const=CONFIGURED,
        type=_broker,
        metavar="URL",
        help="ask the broker instead of the device: the configuration's, or this one",
    )
    parser.add_argument("--root", metavar="TOPIC", help="the topic above all others (lab2mqtt)")
    parser.add_argument("--wait", type=seconds, default=WAIT, metavar="SECONDS", help="for the device (30)")
    parser.add_argument("--json", action="store_true", help="print one JSON object: points by key")
    parser.set_defaults(run=_run, wrong_use=parser.error)


def _broker(text: str) -> str:
    if text == CONFIGURED:  # argparse passes it through here
        return text
    if "://" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL: DEVICE comes before --mqtt")
    return client.broker_url(text)


def _run(options: argparse.Namespace) -> int:
    over_mqtt = options.mqtt is not None
    if options.mqtt == CONFIGURED:
        options.mqtt = None
    settings = client.settings(options)
    if not over_mqtt and options.device not in settings.devices:
        if options.config is None and not settings.devices:
            options.wrong_use("give the configuration with -c FILE, or ask a broker with --mqtt URL")
        known = ", ".join(settings.devices) or "none"
        options.wrong_use(f"the configuration has no device {options.device!r} (it has: {known})")
    return client.run(_points(options, settings, over_mqtt))


async def _points(options: argparse.Namespace, settings: Settings, over_mqtt: bool) -> int:
    if over_mqtt:
        known = await _published(options, settings)
    else:
        from bridge import log
        from bridge.cli.asking import UnavailableError, ask_device

        log.configure("error", "console")  # why there is no connection is said below
        try:
            known = await ask_device(settings, options.device, options.wait)
        except UnavailableError as error:
            print(f"lab2mqtt: {error}", file=sys.stderr)
            return UNAVAILABLE
    if options.json:
        print(json.dumps(known.points, ensure_ascii=False, indent=2))
    else:
        print(*table(known), sep="\n")
    return Exit.OK


async def _published(options: argparse.Namespace, settings: Settings) -> Known:
    from bridge.cli.asking import ask
    from bridge.ends import explain
    from bridge.mqtt import MqttError
    from bridge.topics import Topics

    connection = client.connection(settings, "points")
    topics = Topics(settings.bridge.root, settings.bridge.id)
    try:
        async with client.Client(connection, settings.bridge.response_prefix) as mqtt:
            return await ask(mqtt, topics, options.device)
    except (OSError, MqttError) as error:
        where = f"{connection.host}:{connection.port}"
        raise client.NoAnswerError(f"the broker at {where}: {explain(error)}") from None


# --- the table ---------------------------------------------------------------------------------------------


def table(known: Known) -> list[str]:
    """One line per point, group by group: key, kind, access, name, and what it takes."""
    rows = [
        (key, _kind(point), str(point.get("access", "read")), str(point.get("name", "")))
        for key, point in known.points.items()
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines: list[str] = []
    group = None
    for point, row in zip(known.points.values(), rows, strict=True):
        if point["group"] != group:
            group = str(point["group"])
            lines += [""] * bool(lines) + [_heading(group, known.groups[group])]
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([*cells, _takes(point)]).rstrip())
    return lines or ["no points"]


def _heading(group: str, name: str) -> str:
    if not group:
        return "# the device itself"
    return f"# group {group}" + (f": {name}" if name != group else "")


def _kind(point: Declared) -> str:
    return str(point.get("kind")) + (" (dangerous)" if point.get("dangerous") else "")


def _takes(point: Declared) -> str:
    """Unit and range, choices, or arguments: what a value looks like."""
    arguments, choices = point.get("arguments"), point.get("choices")
    if isinstance(arguments, list):
        told = [_argument(one) for one in arguments if isinstance(one, dict)]
        return ", ".join(told)
    if isinstance(choices, list):
        return " | ".join(map(str, choices))
    low, high = point.get("minimum"), point.get("maximum")
    unit = str(point.get("unit") or "")
    if isinstance(low, int | float) or isinstance(high, int | float):
        return f"{_bound(low)} to {_bound(high)} {unit}".rstrip()
    return unit


def _bound(number: object) -> str:
    return f"{number:.10g}" if isinstance(number, int | float) else "…"


def _argument(argument: Declared) -> str:
    """NAME:TYPE, in brackets if it may be left out."""
    told = f"{argument.get('name')}:{argument.get('type', 'text')}"
    return told if argument.get("required") else f"[{told}]"
