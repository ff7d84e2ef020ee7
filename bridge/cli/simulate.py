"""`lab2mqtt simulate`: an instrument's simulator on a port; and the one list of the simulators there are."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from bridge.cli import Exit

if TYPE_CHECKING:
    from bridge.simulators.server.listener import Server, Simulator


@dataclass(frozen=True, slots=True)
class Instrument:
    """A simulator: where it is, and how the demo shows it off."""

    title: str
    module: str  # its `simulator` makes one
    path: str  # of its WebSocket
    device: str  # its id in the demo
    demo: Mapping[str, object] = field(default_factory=dict)  # the simulator's options in the demo
    tries: tuple[tuple[str, str], ...] = ()  # verb and key, payload: commands worth trying in the demo
    effects: str = ""  # where to look for what they do

    @property
    def simulator(self) -> Callable[..., Simulator]:
        made: Callable[..., Simulator] = import_module(self.module).simulator
        return made


INSTRUMENTS: Mapping[str, Instrument] = {  # by the name of the driver
    "evok": Instrument(
        "Evok on a Unipi controller",
        "bridge.simulators.evok",
        "/ws",
        "io",
        demo={"day": 300.0, "one_wire_interval": 10.0},
        tries=(
            ("set/do/1_01", "ON"),
            ("set/ao/2_01", "7.5"),
            ("call/pulse", '{"point": "ro/2_02", "seconds": 3}'),
        ),
        effects="di/1_03 is wired to do/1_01, di/2_01 to ro/2_02; ai/2_01 follows ao/2_01 slowly",
    ),
    "im7": Instrument(
        "Zahner IM7",
        "bridge.simulators.im7",
        "/default",
        "cell",
        demo={"on": 0.5},
        tries=(
            (
                "call/job_start",
                '{"job": {"type": "poga", "parameters": {"bias": 0.5, "duration": 5, "output_data_rate": 50, '
                '"current_range": 0.01, "autorange": false}, "job_meta": {"name": "sample A"}}}',
            ),
            ("call/job_stop", "{}"),
        ),
        effects="live/voltage and live/current follow the job; data/+/manifest tells of the whole result",
    ),
    "ost": Instrument(
        "OST observatory",
        "bridge.simulators.ost",
        "/",
        "dome",
        demo={"dry": 180.0},
        tries=(
            ("set/MyFocuser/parameters/steps", "1500"),
            ("call/MyFocuser/actions/autofocus", "{}"),
            ("call/MyFocuser/actions/abortfocus", "{}"),
            ("call/MyParkmanager/actions/open", "{}"),
        ),
        effects="state/MyFocuser/values and results follow the focus run, event/signal tells of its end",
    ),
    "zeiss_inspect": Instrument("ZEISS INSPECT", "bridge.simulators.zeiss_inspect", "/", "inspect"),
}

_EPILOG = """\
While it runs, GET on the same port makes it misbehave on demand:
  curl http://127.0.0.1:8080/_fault                     the faults there are, with their parameters
  curl 'http://127.0.0.1:8080/_fault/stall?seconds=5'   one of them
  curl http://127.0.0.1:8080/_state                     what the instrument holds
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="run the simulator of an instrument",
        usage="lab2mqtt simulate INSTRUMENT [options]",
        description="Stands in for an instrument on a port of this machine until SIGTERM or SIGINT.\n"
        "`lab2mqtt simulate INSTRUMENT --help` lists the options of that simulator.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    titles = "; ".join(f"{name}: {instrument.title}" for name, instrument in INSTRUMENTS.items())
    parser.add_argument("instrument", metavar="INSTRUMENT", choices=INSTRUMENTS, help=titles)
    # What follows belongs to a parser of its own: making it imports the simulator, which only this command needs.
    rest = parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # or an instrument that is missing would not be missing alone
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import asyncio

    instrument = INSTRUMENTS[options.instrument]
    parser = options_of(options.instrument, instrument)
    given = vars(parser.parse_args(options.options))
    host, port = given.pop("host"), given.pop("port")
    try:
        simulator = instrument.simulator(**given)
        asyncio.run(_serve(options.instrument, instrument, simulator, host, port))
    except ValueError as error:  # options that do not fit together
        parser.error(str(error))
    except OSError as error:  # a port that is taken
        parser.error(f"{host} port {port}: {os.strerror(error.errno) if error.errno else error}")
    return Exit.OK


async def _serve(name: str, instrument: Instrument, simulator: Simulator, host: str, port: int) -> None:
    from bridge.cli.stop import Stop
    from bridge.simulators.server import serve

    with Stop() as stop:
        async with serve(simulator, host, port) as server:
            print(*_told(name, instrument, server), sep="\n", flush=True)
            await stop.wait()


def _told(name: str, instrument: Instrument, server: Server) -> list[str]:
    control = server.url.replace("ws", "http", 1)
    return [
        f"{instrument.title}, simulated at {server.url}{instrument.path}",
        "",
        "  for the bridge's configuration:",
        f"    [devices.{instrument.device}]",
        f'    driver = "{name}"',
        f'    url = "{server.url}{instrument.path}"',
        "  faults on demand:",
        f"    curl {control}/_fault",
        f"    curl {control}/_fault/drop",
        "  what it holds:",
        f"    curl {control}/_state",
        "",
        "Ctrl-C ends it.",
    ]


# --- the options, which the simulator's own constructor declares ------------------------------------------


def options_of(name: str, instrument: Instrument) -> argparse.ArgumentParser:
    """A parser with one option per keyword of the constructor: `rate: Annotated[float, "what it is"] = 50.0`."""
    import inspect

    from bridge.cli.main import Parser
    from bridge.cli.stop import port

    parser = Parser(
        prog=f"lab2mqtt simulate {name}",
        description=inspect.getdoc(instrument.simulator),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=port, default=0, metavar="N", help="port to listen on (a free one)")
    for parameter in inspect.signature(instrument.simulator, eval_str=True).parameters.values():
        _add(parser, parameter.name, parameter.annotation, parameter.default)
    return parser


def _add(parser: argparse.ArgumentParser, name: str, hint: object, default: object) -> None:
    from typing import Annotated, Literal, get_args, get_origin

    kind, words = hint, ""
    if get_origin(hint) is Annotated:
        kind, words = get_args(hint)[:2]
    option = "--" + name.replace("_", "-")
    told = f"{words} ({default})".replace("%", "%%") if default not in ("", None) else words.replace("%", "%%")
    if kind is bool:
        parser.add_argument(option, action=argparse.BooleanOptionalAction, default=default, help=told)
    elif get_origin(kind) is Literal:
        choices = get_args(kind)
        parser.add_argument(option, type=type(choices[0]), choices=choices, default=default, help=told)
    else:
        scalar = next((one for one in (*get_args(kind), kind) if one in (int, float, str)), str)
        metavar = "TEXT" if scalar is str else "N"
        parser.add_argument(option, type=scalar, default=default, metavar=metavar, help=told)
