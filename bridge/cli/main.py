"""From the words on the command line to the function that does it, and from what it raises to an exit code.

A family is a module `bridge/cli/<family>.py` with `register(subparsers)`, which adds its parsers and sets `run` on
each: a function that takes the parsed arguments and returns an exit code. Only registering happens at start-up, so
a family imports at its top nothing but argparse and its like; the rest is imported inside the functions.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import NoReturn

from bridge import __version__
from bridge.cli import Exit, NotInstalledError

FAMILIES = (
    "run",
    "configuration",
    "demo",
    "simulate",
    "points",
    "send",
    "monitor",
    "record",
    "replay",
    "doctor",
    "support",
    "health",
    "cleanup",
    "results",
    "acl",
)

_DESCRIPTION = "Bridges laboratory instruments with WebSocket APIs (Evok, IM7, ZEISS INSPECT, OST) to MQTT."
_EPILOG = """\
start here:
  lab2mqtt demo                   everything at once, with simulated instruments and a broker of its own
  lab2mqtt check -c FILE          is this configuration right, and what does it mean?
  lab2mqtt run -c FILE            the daemon
  lab2mqtt doctor -c FILE         what is wrong, and what to do

exit codes: 0 done or asked to stop, 1 a fault of ours, 64 wrong use of the command,
            69 something needed is not installed, 78 bad configuration
"""


class Parser(argparse.ArgumentParser):
    """argparse with the exit code that the rest of Unix gives to wrong use."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        if re.fullmatch(r"unrecognized arguments: \S+\.toml", message):
            message += " (a configuration is given with -c)"
        self.exit(Exit.USAGE, f"{self.prog}: {message}\n")


def parser() -> Parser:
    """The parser of the whole command line."""
    top = Parser(
        prog="lab2mqtt",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"lab2mqtt {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in FAMILIES:
        name = f"{__package__}.{family}"
        if find_spec(name) is not None:
            import_module(name).register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    top, words = parser(), sys.argv[1:] if arguments is None else arguments
    if not words:
        top.print_help(sys.stderr)
        return Exit.USAGE
    options = top.parse_args(words)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `lab2mqtt schema | head`: whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except NotInstalledError as error:
        return _complain(Exit.NOT_INSTALLED, str(error))
    except Exception as error:
        if lines := _configuration_problems(error):
            return _complain(Exit.CONFIGURATION, *lines)
        raise


def _configuration_problems(error: Exception) -> list[str]:
    """What is wrong with the configuration, if that is what this error says; asked late, to start early."""
    from bridge.plugins import PluginError
    from bridge.settings import ConfigurationError

    match error:
        case ConfigurationError():
            return error.lines
        case PluginError():
            return [str(error)]
    return []


def _complain(code: Exit, *lines: str) -> Exit:
    for line in lines:
        print(f"lab2mqtt: {line}", file=sys.stderr)
    return code
