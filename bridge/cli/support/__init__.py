"""`lab2mqtt support`: everything that somebody who is to help needs to see, in one file and without secrets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli import Exit, configuration
from bridge.cli.stop import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.settings import Settings
    from bridge.transcript import Redaction

_EPILOG = """\
examples:
  lab2mqtt support -c lab2mqtt.toml
  lab2mqtt support -c lab2mqtt.toml --log /var/log/lab2mqtt.log --recording io-20261121T101500Z.jsonl

In the archive: the configuration in effect, what `lab2mqtt doctor` finds, versions, what the broker keeps of this
bridge and its devices, the last lines of the log, and recordings. Passwords, tokens and the like are taken out;
names, addresses and values are not, so look through it before you give it away. It may run beside the daemon and
does there what the doctor does.

exit codes: 0 done, 1 the file cannot be written, 64 wrong use
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "support",
        help="collect what is needed to help, without secrets, in one file",
        description="Writes a .tar.gz with all that a report of a fault needs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    configuration.add_options(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a new file (lab2mqtt-support-TIME.tar.gz)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="the daemon's log, if it is not in the journal")
    parser.add_argument(
        "--recording",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="made by `lab2mqtt record`; may be repeated",
    )
    parser.add_argument(
        "--states", action="store_true", help="also the last values and jobs that the broker keeps"
    )
    parser.add_argument("--wait", type=seconds, default=20.0, metavar="SECONDS", help="for each device (20)")
    parser.set_defaults(run=_run, wrong_use=parser.error)


def _run(options: argparse.Namespace) -> int:
    import asyncio
    import sys
    from datetime import UTC, datetime

    from bridge import log
    from bridge.cli.support.archive import write
    from bridge.settings import ConfigurationError

    log.configure("error", "console")
    for file in (options.log, *options.recording):
        if file is not None and not file.is_file():
            options.wrong_use(f"{file} is no file")
    name = f"lab2mqtt-support-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    output = options.output or Path(f"{name}.tar.gz")
    if output.exists():
        options.wrong_use(f"{output} exists already")
    try:
        settings, problems = configuration.read(options), list[str]()
    except ConfigurationError as error:
        settings, problems = None, error.lines
    contents = asyncio.run(_collect(options, settings, problems))
    try:
        write(output, name, contents)
    except OSError as error:
        print(f"lab2mqtt: {output}: {error.strerror or error}", file=sys.stderr)
        return Exit.FAULT
    for file_name, text in contents.items():
        print(f"{len(text.encode()):>10}  {file_name}")
    print(f"written to {output}: secrets are taken out; look through it before you give it away")
    return Exit.OK


async def _collect(
    options: argparse.Namespace, settings: Settings | None, problems: list[str]
) -> Mapping[str, str]:
    """The texts by file name."""
    from bridge.cli import confidential
    from bridge.cli.support import contents
    from bridge.transcript import Redaction

    redaction = Redaction([] if settings is None else confidential.words(settings))
    found = {"versions.json": contents.versions()}
    if settings is None:
        found["configuration.txt"] = "\n".join(problems)
        found["log.txt"] = "left out: without a configuration nobody knows which of its words are secret"
    else:
        found["configuration.toml"] = contents.configuration_of(settings, redaction)
        print("the doctor is at work", flush=True)
        found["doctor.json"] = await contents.diagnosis(settings, options.config, options.wait)
        found["retained.json"] = await contents.retained(settings, redaction, states=options.states)
        found["log.txt"] = contents.last_lines(options.log)
    for file in options.recording:
        found[f"recordings/{file.name}"] = _recording(file, redaction)
    return {name: redaction.text(text) for name, text in found.items()}


def _recording(file: Path, redaction: Redaction) -> str:
    """Again without secrets: the configuration may know more of them than the recorder did."""
    from bridge.transcript import decode, encode

    with file.open("rb") as lines:
        try:
            return "".join(f"{encode(redaction(entry))}\n" for entry in decode(lines))
        except ValueError as error:
            return f"left out, because it is no transcript: {error}"
