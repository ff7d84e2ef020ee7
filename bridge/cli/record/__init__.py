"""`lab2mqtt record`: what a device and its client say to each other, in a file that can be shown and replayed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli import Exit, configuration
from bridge.cli.stop import port, seconds

if TYPE_CHECKING:
    from bridge.settings import Settings
    from bridge.websocket import Target

_EPILOG = """\
examples:
  lab2mqtt record ws://10.0.0.5/ws --port 8081        give ws://127.0.0.1:8081/ws to the instrument's own program,
                                                      or to a device's url: what passes is recorded
  lab2mqtt record -c lab2mqtt.toml io --for 60        lab2mqtt's own driver talks to the device `io`, for a minute
  lab2mqtt record wss://10.0.0.5/ws -c lab2mqtt.toml --device io     TLS as that device has it in its table

The relay passes everything through unchanged, pings and closes too; of the HTTP request it changes the Host and
takes out Sec-WebSocket-Extensions, so that frames are not compressed. In the second form no command is ever sent.
Secrets are taken out: those of the configuration, password-like fields, credentials in headers and urls. Look
through a recording all the same before you give it away. `lab2mqtt replay FILE` plays it.

exit codes: 0 done, 1 the file cannot be written, 64 wrong use, 78 the configuration cannot be used
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "record",
        help="record what a device and its client say to each other",
        description="Writes a transcript, one JSON line per frame, until Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", metavar="URL|DEVICE", help="ws://… or wss://…, or a device of the configuration")
    configuration.add_options(parser)
    parser.add_argument("--device", metavar="NAME", help="with a URL: TLS and secrets of this device (needs -c)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="a new file (NAME-TIME.jsonl)")
    parser.add_argument("--port", type=port, default=0, metavar="N", help="port of the relay (a free one)")
    parser.add_argument("--for", type=seconds, dest="seconds", metavar="SECONDS", help="end by itself")
    parser.add_argument(
        "--max-size", type=_mebibytes, default=100 << 20, metavar="MIB", help="of the file (100); then it ends"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="a device of the configuration, even if a running daemon has it"
    )
    parser.set_defaults(run=_run, wrong_use=parser.error)


def _mebibytes(text: str) -> int:
    return int(seconds(text) * (1 << 20))


def _run(options: argparse.Namespace) -> int:
    import asyncio
    import sys

    from bridge import log

    log.configure("warning", "console")  # why a device is not connected
    settings = _settings(options)
    try:
        target = _target(options, settings)
    except ValueError as error:
        options.wrong_use(str(error))
    output = options.output or Path(_file_name(options))
    try:
        return asyncio.run(_record(options, settings, target, output))
    except FileExistsError:
        options.wrong_use(f"{output} exists already: a recording is not written over")
    except OSError as error:
        print(f"lab2mqtt: {error}", file=sys.stderr)
    return Exit.FAULT


def _settings(options: argparse.Namespace) -> Settings | None:
    """The configuration, where there is one; that the words fit together is checked first."""
    if "://" not in options.what and options.device is not None:
        options.wrong_use("--device goes with a URL")
    name = options.device if "://" in options.what else options.what
    if "://" in options.what and name is None and options.config is None:
        return None
    settings = configuration.read(options)
    if name is not None and name not in settings.devices:
        known = ", ".join(settings.devices) or "none"
        options.wrong_use(f"the configuration has no device {name} (it has: {known})")
    return settings


def _target(options: argparse.Namespace, settings: Settings | None) -> Target:
    """Where the relay connects. ValueError: it cannot work."""
    from bridge import configured, plugins
    from bridge.tls import client_context
    from bridge.websocket import Target

    if settings is not None and (name := options.device or options.what) in settings.devices:
        own = settings.devices[name]
        if options.device is not None:
            changes = {"url": options.what, **({"tls": None} if options.what.startswith("ws:") else {})}
            own = own.model_copy(update=changes)
        return configured.target(own, plugins.load(own.driver))
    return Target(options.what, tls=client_context() if options.what.startswith("wss:") else None)


def _file_name(options: argparse.Namespace) -> str:
    import re
    from datetime import UTC, datetime

    name = re.sub(r"^wss?://|[?#].*", "", options.device or options.what)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")
    return f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"


async def _record(options: argparse.Namespace, settings: Settings | None, target: Target, output: Path) -> int:
    import asyncio
    from contextlib import suppress

    from bridge.cli import confidential
    from bridge.cli.record import driver
    from bridge.cli.record.recorder import Recorder
    from bridge.cli.record.relay import Relay
    from bridge.cli.stop import Stop

    device = options.what if "://" not in options.what else None
    if settings is not None and device is not None and not options.anyway:
        who = await driver.holder(settings, device)
        if who is not None:
            options.wrong_use(f"{who}: stop it first, or record what it says (`lab2mqtt record URL`), or --anyway")
    secrets = [] if settings is None else confidential.words(settings)
    recorder = Recorder(output, secrets, options.max_size, _tell)
    relay = Relay(target, recorder, _tell, port=options.port, largest=options.max_size)
    with Stop(options.seconds) as stop:
        async with recorder, relay:
            if settings is None or device is None:
                print(f"give this url to the client: {relay.url}", flush=True)
                await stop.wait()
            else:
                print(f"the driver of {device} listens to {target.url.partition('?')[0]}", flush=True)
                talking = asyncio.create_task(driver.converse(settings, device, relay.url))
                waiting = asyncio.create_task(stop.wait())
                await asyncio.wait([talking, waiting], return_when=asyncio.FIRST_COMPLETED)
                for task in (talking, waiting):
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await talking  # a fault of ours is raised
    heard, said = recorder.frames["<"], recorder.frames[">"]
    print(f"{output}: {relay.connections} connections, {heard} frames from the device, {said} to it", flush=True)
    return Exit.OK if recorder.complete else Exit.FAULT


def _tell(text: str) -> None:
    import sys

    print(text, file=sys.stderr, flush=True)
