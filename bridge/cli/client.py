"""What the tools share of MQTT: which broker, one connection to it, and what it keeps."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Self

from bridge.cli import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from types import TracebackType

    from bridge.mqtt import ConnectionSettings, Filter, Message, Meta, Mqtt
    from bridge.settings import Settings

NO_ANSWER = 15  # exit code: no bridge, or not even a broker, answered
PREFIX = "LAB2MQTT_MQTT__"
KEPT = 3.0  # seconds for the broker to deliver what it keeps
TOOLS = "lab2mqtt"  # the level under the response prefix at which all tools take their answers
LARGEST = 64 << 20  # bytes of a packet: parts of results are as large as the broker takes


class NoAnswerError(Exception):
    """Nobody is there: one sentence."""


# --- which broker ------------------------------------------------------------------------------------------


def add_broker(parser: argparse.ArgumentParser) -> None:
    """`-c FILE` or `--mqtt URL`, and `--root`; `settings` takes what they give."""
    configuration.add_options(parser)
    parser.add_argument(
        "--mqtt",
        type=broker_url,
        metavar="URL",
        help="instead of -c: mqtt://[user@]host[:port], or mqtts://… with TLS. The password comes from "
        "LAB2MQTT_MQTT__PASSWORD (in the URL others could read it). With neither, and no variables that say "
        "more: mqtt://localhost",
    )
    parser.add_argument("--root", metavar="TOPIC", help="the topic above all others (lab2mqtt)")
    parser.set_defaults(wrong_use=parser.error)


def broker_url(text: str) -> str:
    """Checks a broker's URL on the command line."""
    try:
        _variables(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _variables(url: str) -> dict[str, str]:
    """A broker's URL as the variables of the environment that say the same; ValueError when it is none."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    port = parts.port
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise ValueError("expected mqtt://[user[:password]@]host[:port] or mqtts://…")
    given = {"HOST": parts.hostname, "PORT": str(port or (8883 if parts.scheme == "mqtts" else 1883))}
    if parts.username is not None:
        given["USERNAME"] = unquote(parts.username)
    if parts.password is not None:
        given["PASSWORD"] = unquote(parts.password)
    if parts.scheme == "mqtts":
        given["TLS"] = "{}"
    return {PREFIX + name: value for name, value in given.items()}


def settings(options: argparse.Namespace) -> Settings:
    """The configuration, or as much of one as a tool needs; ConfigurationError if it cannot be used."""
    from bridge.settings import load

    environ = dict(os.environ)
    if options.config is None and (options.mqtt or "LAB2MQTT_BRIDGE__ID" not in environ):
        environ = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
        environ["LAB2MQTT_BRIDGE__ID"] = "tool"
    elif options.mqtt:
        options.wrong_use("the broker comes from a configuration or from --mqtt, not from both")
    if options.mqtt:
        given = _variables(options.mqtt)
        is_plain = PREFIX + "TLS" not in given
        environ = {n: v for n, v in environ.items() if not (is_plain and n.startswith(PREFIX + "TLS"))} | given
    if options.root:
        environ["LAB2MQTT_BRIDGE__ROOT"] = options.root
    return load(options.config, environ, options.secrets)


def connection(settings: Settings, tool: str) -> ConnectionSettings:
    """How a tool connects: like the daemon, under a name of its own, and without a session that outlives it.

    ConfigurationError when a certificate's file is wrong.
    """
    import secrets
    from dataclasses import replace

    from bridge import configured
    from bridge.topics import Topics

    daemons = configured.broker(settings, Topics(settings.bridge.root, settings.bridge.id))
    own = f"lab2mqtt-{tool}-{secrets.token_hex(4)}"
    return replace(daemons, client_id=own, will=None, session_expiry=0, packet_limit=LARGEST)


# --- one connection ----------------------------------------------------------------------------------------


class Client:
    """`async with Client(connection) as client`; OSError or MqttError when the broker does not take us."""

    def __init__(
        self, connection: ConnectionSettings, prefix: str, hear: Callable[[Message], None] = lambda message: None
    ) -> None:
        self.connection = connection
        self.answers = f"{prefix}{TOOLS}/{connection.client_id}"  # where answers to us may be published
        self._hear = hear
        self._mark: str | None = None
        self._kept: dict[str, bytes] | None = None

    async def __aenter__(self) -> Self:
        import asyncio

        from bridge.mqtt import Mqtt

        self._marked = asyncio.Event()
        self.mqtt: Mqtt = Mqtt(self.connection, self._message)
        await self.mqtt.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.mqtt.disconnect(within=1.0)

    async def subscribe(self, filters: Sequence[Filter]) -> list[str]:
        """The filters that the broker refused."""
        from bridge.mqtt import Refused

        try:
            await self.mqtt.subscribe(filters)
        except Refused as error:
            if not error.refused:
                raise
            return [item.topic for item in error.refused]
        return []

    async def kept(self, topics: Sequence[str]) -> Mapping[str, bytes]:
        """What the broker keeps (retained) on these topics, by topic.

        Nothing says that all of it has come, so a mark is sent after the subscription: when it is back, all has.
        An account that may not write there waits for KEPT seconds instead.
        """
        import asyncio
        import secrets

        from bridge.mqtt import Filter

        self._kept, self._mark = {}, f"{self.answers}/mark/{secrets.token_hex(4)}"
        self._marked.clear()
        await self.subscribe([Filter(self._mark), *(Filter(topic, retained=True) for topic in topics)])
        self.mqtt.publish(self._mark, b"", qos=1)
        try:
            async with asyncio.timeout(KEPT):
                await self._marked.wait()
        except TimeoutError:
            pass
        found, self._kept = self._kept, None
        return {topic: payload for topic, payload in found.items() if payload}

    def publish(self, topic: str, payload: bytes, meta: Meta | None = None) -> None:
        self.mqtt.publish(topic, payload, 1, meta=meta)

    def _message(self, message: Message) -> None:
        if message.topic == self._mark:
            self._marked.set()
        elif self._kept is not None:
            self._kept[message.topic] = message.payload
        else:
            self._hear(message)


def run(work: Coroutine[object, object, int]) -> int:
    """asyncio.run for a tool: nobody there is an exit code and a sentence."""
    import asyncio

    try:
        return asyncio.run(work)
    except NoAnswerError as error:
        print(f"lab2mqtt: {error}", file=sys.stderr)
        return NO_ANSWER
