"""`lab2mqtt monitor`: a live table of what any running bridge says, over MQTT, read-only."""

from __future__ import annotations

import argparse

from bridge.cli import Exit, client
from bridge.cli.stop import seconds

_EPILOG = """\
examples:
  lab2mqtt monitor -c lab2mqtt.toml                      the bridge of this configuration
  lab2mqtt monitor --mqtt mqtt://broker.local cell       one device of whatever bridge is on that broker
  lab2mqtt monitor --for 60 --plain > values.log         a minute of it, as lines

On a terminal a table: what changed last has a row, and rows keep their places. Otherwise one line per changed
value (at most one a second for each) and per event, command and answer. It publishes nothing.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "monitor",
        help="watch values, links and traffic of a running bridge",
        description="Shows what bridges and their devices say on a broker, until Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("devices", nargs="*", metavar="DEVICE", help="only these (all)")
    client.add_broker(parser)
    add_view(parser)
    parser.set_defaults(run=_run)


def add_view(parser: argparse.ArgumentParser) -> None:
    """The options of how to look, and for how long."""
    parser.add_argument(
        "--for", type=seconds, dest="seconds", metavar="SECONDS", help="end by itself, for scripts"
    )
    parser.add_argument("--plain", action="store_true", help="lines, on a terminal too")
    parser.add_argument("--all", action="store_true", help="also the points that are not shown by default")


def _run(options: argparse.Namespace) -> int:
    settings = client.settings(options)
    connection = client.connection(settings, "monitor")

    async def main() -> int:
        from time import monotonic

        from bridge.cli.lines import summary
        from bridge.cli.stop import Stop
        from bridge.cli.watch import Watch, look, shown

        begun = monotonic()
        with Stop(options.seconds) as stop:
            watch = Watch(connection, settings.bridge.root, settings.bridge.response_prefix, options.devices)
            title = f"{settings.bridge.root} on {connection.host}:{connection.port}"
            show = shown(watch, title, plain=options.plain, everything=options.all, first=True)
            await look(watch, show, stop)
        print(*summary(watch.picture, monotonic() - begun), sep="\n", flush=True)
        return Exit.OK

    return client.run(main())
