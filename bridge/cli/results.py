"""`lab2mqtt results`: the complete results that a bridge has stored, listed and copied to where one wants them."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bridge.cli import Exit, configuration

if TYPE_CHECKING:
    from bridge.results import Stored

NOT_FOUND = 10
STDOUT = Path("-")

_EPILOG = """\
examples:
  lab2mqtt results list -c lab2mqtt.toml
  lab2mqtt results get -c lab2mqtt.toml 31279359 --csv -o - | head
  lab2mqtt results get --dir /var/lib/lab2mqtt/results 20261121T133212Z_cell_first_31279359.npz

NAME is a file's name, a job's id (the newest of its results), or any part of one file's name only. The .npz has
the rows as `rows`, and `columns`, `units`, `meta`, `info`: numpy.load(FILE)["rows"].

exit codes: 0 done, 1 it cannot be written, 10 no such result (or several), 64 wrong use, 78 bad configuration
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "results",
        help="list and copy what instruments have measured",
        description="Lists and copies the complete results in the bridge's state directory; the bridge may run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="one line per result, the oldest first")
    getting = actions.add_parser(
        "get", help="copy one", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    getting.add_argument("name", metavar="NAME", help="file, job, or a part of the file's name")
    getting.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="where to, a file or a directory; - is standard output (.)",
    )
    getting.add_argument("--csv", action="store_true", help="the CSV instead of the .npz")
    for action, run in ((listing, _list), (getting, _get)):
        configuration.add_options(action)
        action.add_argument("--dir", type=Path, metavar="DIR", help="the directory of the results itself")
        action.set_defaults(run=run, wrong_use=action.error)


def _directory(options: argparse.Namespace) -> Path:
    """Where the results are, by `--dir` or by the configuration."""
    wrong_use: Callable[[str], NoReturn] = options.wrong_use
    if options.dir is not None:
        if not options.dir.is_dir():
            wrong_use(f"{options.dir} is no directory")
        return Path(options.dir)
    from bridge.results import DIRECTORY

    state_dir = configuration.read(options).bridge.state_dir
    if state_dir is None:
        wrong_use("the configuration has no bridge.state_dir: results go with the process that stored them")
    return state_dir / DIRECTORY


# --- list ------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    from bridge.results import listed

    print(*table(listed(_directory(options))), sep="\n")
    return Exit.OK


def table(found: list[Stored]) -> list[str]:
    """A heading and one line per result, in columns; numbers to the right."""
    if not found:
        return ["no results"]
    heading = ("TIME", "DEVICE", "JOB", "NAME", "ROWS", "COLUMNS", "BYTES", "FILE")
    lines = [heading, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    marks = ("<", "<", "<", "<", ">", ">", ">", "<")
    return [
        "  ".join(f"{cell:{mark}{width}}" for cell, mark, width in zip(cells, marks, widths, strict=True)).rstrip()
        for cells in lines
    ]


def _cells(stored: Stored) -> tuple[str, ...]:
    from datetime import UTC, datetime

    info = stored.info
    at = datetime.fromtimestamp(info.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = "".join(letter if letter.isprintable() else "?" for letter in info.name)  # whatever a job was called
    numbers = (str(info.rows), str(len(stored.columns)), str(stored.bytes))
    return (at, info.device, info.job, name, *numbers, stored.path.name)


# --- get -------------------------------------------------------------------------------------------------


def _get(options: argparse.Namespace) -> int:
    from bridge.results import find

    try:
        stored = find(_directory(options), options.name)
        source = stored.path if not options.csv else _csv(stored)
    except LookupError as error:
        return _fail(NOT_FOUND, str(error))
    try:
        _copy(source, options.output)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(Exit.FAULT, f"the result cannot be written: {error}")
    return Exit.OK


def _csv(stored: Stored) -> Path:
    if stored.csv is None:
        raise LookupError(f"{stored.path.stem} has no CSV: there was no room for it")
    return stored.csv


def _copy(source: Path, output: Path | None) -> None:
    """To standard output, or under its own name into a directory, or to a file; says where on standard error."""
    if output == STDOUT:
        with source.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()
        return
    target = output or Path()
    if target.is_dir():
        target /= source.name
    shutil.copyfile(source, target)
    print(target)


def _fail(code: int, reason: str) -> int:
    print(f"lab2mqtt: {reason}", file=sys.stderr)
    return code
