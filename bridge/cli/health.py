"""`lab2mqtt health`: does the daemon live? For Docker's HEALTHCHECK and scripts: standard library only, and fast.

`bridge.__main__` comes here without importing anything of the other commands.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from bridge.alive import NAME, Unreadable, read

HEALTHY, UNHEALTHY, USAGE = 0, 1, 64
SYSTEM = Path("/run/lab2mqtt")
STATE_DIR = "LAB2MQTT_BRIDGE__STATE_DIR"

_DESCRIPTION = "Says in one line whether the daemon on this machine lives, by the file that it keeps writing."
_EPILOG = """\
The daemon writes the file every few seconds, as long as it makes progress: into systemd's RUNTIME_DIRECTORY, else
into bridge.state_dir. It is looked for where --file says, else in $RUNTIME_DIRECTORY, else in /run/lab2mqtt and in
the state directory that LAB2MQTT_BRIDGE__STATE_DIR or the configuration names (with -c, there first). A broker or
an instrument that is away is no reason to be unhealthy: to restart the daemon would not bring it back.

exit codes: 0 healthy, 1 not (the line says why), 64 wrong use
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "health",
        help="does the daemon live? (for HEALTHCHECK)",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser)
    parser.set_defaults(run=_run)


def main(arguments: Sequence[str]) -> int:
    """The command by itself, without the parsers of the others."""
    parser = _Parser(
        prog="lab2mqtt health",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser)
    return _run(parser.parse_args(arguments))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, metavar="PATH", help="the heartbeat file itself")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="the configuration, for its state_dir")


def _run(options: argparse.Namespace) -> int:
    try:
        path = options.file or place(options.config, os.environ)
        beat = read(path)
    except Unreadable as error:
        return _unhealthy(str(error))
    if why := beat.stale():
        return _unhealthy(why)
    if not _exists(beat.pid):
        return _unhealthy(f"the daemon (process {beat.pid}) is gone")
    print(f"healthy: {beat.status}")
    return HEALTHY


def _unhealthy(why: str) -> int:
    print(f"unhealthy: {why}")
    return UNHEALTHY


def place(configuration: Path | None, environ: Mapping[str, str]) -> Path:
    """Where the heartbeat file is, or should be; Unreadable when nothing says where."""
    runtime = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if runtime:
        return Path(runtime) / NAME
    directory = environ.get(STATE_DIR) or _configured(configuration)
    known = [Path(directory) / NAME] if directory else []
    places = [*known, SYSTEM / NAME] if configuration is not None else [SYSTEM / NAME, *known]
    if not known and not (SYSTEM / NAME).exists():
        raise Unreadable(f"there is no {SYSTEM / NAME}, and no state directory is known: give --file or -c")
    return next((path for path in places if path.exists()), (known or places)[0])


def _configured(configuration: Path | None) -> str:
    if configuration is None:
        return ""
    import tomllib

    try:
        bridge = tomllib.loads(configuration.read_text(encoding="utf-8")).get("bridge")
    except OSError as error:
        raise Unreadable(f"{configuration}: {error.strerror or error}") from None
    except ValueError as error:
        raise Unreadable(f"{configuration}: {error}") from None
    directory = bridge.get("state_dir") if isinstance(bridge, dict) else None
    return directory if isinstance(directory, str) else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it is there
        pass
    return True
