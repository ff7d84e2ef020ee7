"""`lab2mqtt replay`: a recorded device on a port, for the daemon or for any client."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli import Exit
from bridge.cli.stop import port, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.simulators.replay import ReplaySimulator

_SHOWN = 3  # strangers

_EPILOG = """\
example:
  lab2mqtt replay io-20261121T101500Z.jsonl --port 8081     and url = "ws://127.0.0.1:8081" in the device's table

The device says what it said in the recording, when it said it, and not before the client has said what it said
before that; pongs come behind the answers that belonged before them. A replay cannot be commanded: a request is
answered if the recording has the same one, whatever its id; what it has nowhere is counted and told at the end.
While it runs, GET /_state and /_fault on the same port show and disturb it, as with `lab2mqtt simulate`.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="play a recorded device",
        description="Stands in for the device of a recording (`lab2mqtt record`) until Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the recording")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=port, default=0, metavar="N", help="port to listen on (a free one)")
    parser.add_argument("--speed", type=seconds, default=1.0, metavar="X", help="so many times as fast (1)")
    parser.add_argument(
        "--connection",
        type=int,
        metavar="K",
        help="only this connection; without it every client gets the next one, and then the last one again",
    )
    parser.add_argument("--loop", action="store_true", help="from the beginning again, on the same connection")
    parser.set_defaults(run=_run, wrong_use=parser.error)


def _run(options: argparse.Namespace) -> int:
    import asyncio

    from bridge.simulators.replay import ReplaySimulator, read

    try:
        found = read(options.file)
        if options.connection is not None:
            numbers = ", ".join(str(one.number) for one in found)
            found = [one for one in found if one.number == options.connection]
            if not found:
                raise ValueError(
                    f"no connection {options.connection} can be played (there are: {numbers or 'none'})"
                )
        simulator = ReplaySimulator(found, speed=options.speed, loop=options.loop)
        asyncio.run(_serve(simulator, options.host, options.port))
    except (OSError, ValueError) as error:
        options.wrong_use(f"{options.file}: {error}")
    print(*_told(simulator), sep="\n", flush=True)
    return Exit.OK


async def _serve(simulator: ReplaySimulator, host: str, port: int) -> None:
    from bridge.cli.stop import Stop
    from bridge.simulators.server import serve

    with Stop() as stop:
        async with serve(simulator, host, port) as server:
            print(f"the recorded device is at {server.url} (any path); Ctrl-C ends it", flush=True)
            await stop.wait()


def _told(simulator: ReplaySimulator) -> list[str]:
    """How it went, in a few lines."""
    missed = sum(len(part.missed) for part in simulator.parts)
    strangers = [message for part in simulator.parts for message in part.strangers]
    lines = [f"played to {len(simulator.parts)} clients"]
    if missed:
        lines.append(f"{missed} frames of the recording did not come from the client")
    if strangers:
        lines.append(f"{len(strangers)} frames of the client were not in the recording: {_some(strangers)}")
    return lines


def _some(messages: Sequence[str | bytes]) -> str:
    return ", ".join(repr(message[:80]) for message in messages[:_SHOWN]) + (
        ", …" if len(messages) > _SHOWN else ""
    )
