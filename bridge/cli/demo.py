"""`lab2mqtt demo`: a broker, simulated instruments and the daemon in one process, and a view of their traffic."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from bridge.cli import Exit, client
from bridge.cli.monitor import add_view
from bridge.cli.simulate import INSTRUMENTS, Instrument
from bridge.cli.stop import port

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from bridge.cli.watch import Watch
    from bridge.settings import Settings
    from bridge.simulators.server.listener import Server

ID, HOST, PORT = "demo", "127.0.0.1", 1883
CALM = 0.5  # seconds between two publications of one value

_EPILOG = """\
examples:
  lab2mqtt demo                                          until Ctrl-C, with a live table
  lab2mqtt demo --for 20                                 for scripts: plain lines where there is no terminal
  lab2mqtt demo --mqtt mqtt://broker.local               through your own broker, which is cleaned up at the end
  lab2mqtt demo --mqtt mqtt://broker.local --home-assistant     ... and shown by the Home Assistant that uses it

Nothing is installed, configured or left behind. While it runs it prints commands to try in another terminal.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="everything at once: simulated instruments, broker, bridge, live table",
        description="Starts a small MQTT broker, the simulators of all instruments and the bridge, and shows what "
        "goes over MQTT.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    broker = parser.add_mutually_exclusive_group()
    broker.add_argument(
        "--port", type=port, metavar="N", help=f"port of our broker ({PORT}, or a free one if that is taken)"
    )
    broker.add_argument(
        "--mqtt",
        type=client.broker_url,
        metavar="URL",
        help="use this broker: mqtt://[user[:password]@]host[:port], mqtts:// with TLS; the password better comes "
        "from LAB2MQTT_MQTT__PASSWORD",
    )
    parser.add_argument("--root", metavar="TOPIC", help="the topic above all others (lab2mqtt)")
    parser.add_argument(
        "--home-assistant",
        action="store_true",
        help="announce the instruments to Home Assistant, if one uses this broker, until the demo ends",
    )
    add_view(parser)
    parser.set_defaults(run=_run, config=None, secrets=None, wrong_use=parser.error)


def _run(options: argparse.Namespace) -> int:
    return client.run(_demo(options))


async def _demo(options: argparse.Namespace) -> int:
    from pathlib import Path
    from tempfile import TemporaryDirectory
    from time import monotonic

    from bridge import log
    from bridge.cli.lines import summary
    from bridge.cli.stop import Stop
    from bridge.cli.watch import Watch, look, shown
    from bridge.mqtt import MqttError

    begun = monotonic()
    log.configure("warning", "console")
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(Stop(options.seconds))
        state = stack.enter_context(TemporaryDirectory(prefix="lab2mqtt-demo-"))
        own = options.mqtt is None
        if own:
            options.mqtt = await _broker(stack, options)
        servers = {driver: await _simulated(stack, instrument) for driver, instrument in INSTRUMENTS.items()}
        settings = _settings(options, servers, Path(state))
        watch = Watch(
            client.connection(settings, "demo-table"), settings.bridge.root, settings.bridge.response_prefix
        )
        taken = f" ({PORT} is taken)" if own and options.port is None and settings.mqtt.port != PORT else ""
        title = f"lab2mqtt demo (Ctrl-C ends it), broker {settings.mqtt.host}:{settings.mqtt.port}{taken}"
        hints = _hints(settings, servers)
        async with _running(settings) as daemon:
            show = shown(watch, title, hints, plain=options.plain, everything=options.all, first=False)
            if show.covers:
                log.configure("error", "console", stream=_Notes(watch))  # the table tells of links itself
            await look(watch, show, stop, daemon)
        if not own:
            try:
                await _clear(settings)
            except (OSError, MqttError) as error:
                print(f"lab2mqtt: the broker still keeps what the demo published: {error}", file=sys.stderr)
    print(*summary(watch.picture, monotonic() - begun), sep="\n", flush=True)
    return Exit.OK


# --- the parts ---------------------------------------------------------------------------------------------


async def _broker(stack: AsyncExitStack, options: argparse.Namespace) -> str:
    """Start our broker; its URL. That the usual port is taken is no obstacle, unless `--port` asked for it."""
    from bridge.simulators.mqtt_broker import Broker

    wanted = PORT if options.port is None else options.port
    try:
        broker = await stack.enter_async_context(Broker(HOST, wanted))
    except OSError as error:
        if options.port is not None:
            options.wrong_use(f"--port {wanted}: {error.strerror or error}")
        broker = await stack.enter_async_context(Broker(HOST))
    return f"mqtt://{HOST}:{broker.port}"


async def _simulated(stack: AsyncExitStack, instrument: Instrument) -> Server:
    from bridge.simulators.server import serve

    return await stack.enter_async_context(serve(instrument.simulator(**instrument.demo), HOST))


def _settings(options: argparse.Namespace, servers: Mapping[str, Server], state: Path) -> Settings:
    from bridge.settings import Settings

    found = client.settings(options)
    devices = {
        INSTRUMENTS[driver].device: {
            "driver": driver,
            "url": server.url + INSTRUMENTS[driver].path,
            "name": INSTRUMENTS[driver].title,
            "min_interval": CALM,
        }
        for driver, server in servers.items()
    }
    bridge = {"id": ID, "root": found.bridge.root, "state_dir": state}
    # Nobody's Home Assistant is to remember these instruments, unless it is asked to.
    home_assistant = {"discovery": options.home_assistant}
    return Settings.model_validate(
        {"bridge": bridge, "mqtt": found.mqtt, "home_assistant": home_assistant, "devices": devices}
    )


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """The daemon, ended in order; a fault of ours in it is raised here."""
    import asyncio

    from bridge.app import Daemon

    daemon = asyncio.create_task(Daemon(settings).run(), name="daemon")
    try:
        yield daemon
    finally:
        daemon.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await daemon


async def _clear(settings: Settings) -> None:
    """Somebody else's broker gets rid of what the demo had it keep, but of no device that another bridge has."""
    import json

    from bridge.topics import Topics

    topics = Topics(settings.bridge.root, ID)
    mine = [topics.own]
    async with client.Client(client.connection(settings, "demo-end"), settings.bridge.response_prefix) as end:
        links = {topics.device(name).link: topics.device(name).base for name in settings.devices}
        kept = await end.kept(list(links))
        kept = {link: text for link, text in kept.items() if json.loads(text).get("bridge") == ID}
        mine += [links[link] for link in kept]
        if settings.home_assistant.discovery:
            await _withdraw(settings, end, list(kept))
        for topic in await end.kept([f"{base}/#" for base in mine]):
            end.mqtt.publish(topic, b"", retain=True)


async def _withdraw(settings: Settings, end: client.Client, links: list[str]) -> None:
    """Home Assistant forgets the demo and those of its devices that have these links."""
    from bridge import discovery

    prefix = settings.home_assistant.prefix
    devices = [link.split("/")[-2] for link in links]
    own = tuple(f"{discovery.slug(name)}{after}" for name in devices for after in ("/", "-"))
    for topic in await end.kept([f"{prefix}/device/+/config"]):
        named = topic.removeprefix(f"{prefix}/device/")
        if named.startswith(own) or topic == discovery.bridge_topic(prefix, ID):
            end.mqtt.publish(topic, b"", retain=True)


class _Notes(io.StringIO):
    """Where the log goes while the table covers the terminal: among what happened."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            self._watch.note(line)
        return len(text)


# --- what to try -------------------------------------------------------------------------------------------


def _hints(settings: Settings, servers: Mapping[str, Server]) -> list[str]:
    """Commands for another terminal, ready to be copied."""
    mqtt, root = settings.mqtt, settings.bridge.root
    where = f"-h {mqtt.host} -p {mqtt.port}"
    if mqtt.username is not None:
        where += f" -u {shlex.quote(mqtt.username)} -P …"
    if mqtt.tls is not None:
        where += " --tls-use-os-certs"
    lines = ["Try in another terminal:", f"  mosquitto_sub {where} -v -t {shlex.quote(root + '/+/state/#')}"]
    for driver, server in servers.items():
        instrument = INSTRUMENTS[driver]
        for verb, payload in instrument.tries:
            topic = shlex.quote(f"{root}/{instrument.device}/{verb}")
            lines.append(f"  mosquitto_pub {where} -t {topic} -m {shlex.quote(payload)}")
        lines.append(f"  curl {server.url.replace('ws', 'http', 1)}/_fault/drop")
        effects = f"{instrument.effects}; " if instrument.effects else ""
        lines.append(f"{instrument.device}: {effects}the last line cuts its connection.")
    return lines
