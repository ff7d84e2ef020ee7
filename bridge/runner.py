"""Keeps one device connected: makes its sessions, and says on its link how they end."""

from __future__ import annotations

from collections.abc import Callable
from time import time

import structlog

from bridge import plugins
from bridge.access import Limit, Rules
from bridge.device import Device, Profile
from bridge.driver import Verdict
from bridge.ends import explain, trouble
from bridge.heartbeat import Pings
from bridge.keeper import End, keep
from bridge.link import State
from bridge.overlay import Overlay, Preset
from bridge.session import Session, Tools
from bridge.settings import Settings
from bridge.settings_device import DeviceSettings
from bridge.settings_models import DeviceTlsSettings
from bridge.tls import client_context
from bridge.transcript import Redaction
from bridge.websocket import Target

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Runner:
    """`noticed(data)` takes what is said about the link on the bridge's event topic.

    ValueError when the settings cannot work: a certificate's file that is not there, a header that is none.
    """

    def __init__(
        self, device: Device, settings: DeviceSettings, tools: Tools, noticed: Callable[[dict[str, object]], None]
    ) -> None:
        self.device, self._settings, self._tools, self._noticed = device, settings, tools, noticed
        self._plugin = plugins.load(settings.driver)
        self._target = self._make_target()
        secrets = [settings.password, *settings.headers.values()]
        self._redaction = Redaction(secret.get_secret_value() for secret in secrets if secret is not None)
        self._session: Session | None = None
        self._log = log.bind(device=device.name)
        self.connections = 0
        self.bugs = 0

    async def run(self) -> None:
        """For ever; cancellation ends it, and then the device is offline and its commands are answered."""
        await keep(self._attempt, self._ended)

    async def _attempt(self) -> None:
        self.connections += 1
        self._session = Session(
            self.device,
            self._plugin,
            self._settings.options,
            self._target,
            self._pings(),
            self._tools,
        )
        await self._session.run()

    def _make_target(self) -> Target:
        settings, tls = self._settings, None
        if settings.url.startswith("wss:"):
            given = settings.tls or DeviceTlsSettings()
            tls = client_context(
                ca=given.ca,
                certificate=given.certificate,
                key=given.key,
                minimum_version=given.minimum_version,
                insecure=given.insecure,
                fingerprint=given.fingerprint,
            )
        own = {name: value.get_secret_value() for name, value in settings.headers.items()}
        return Target(
            url=settings.url,
            headers={**self._plugin.headers(settings.options), **own},
            username=settings.username,
            password=None if settings.password is None else settings.password.get_secret_value(),
            tls=tls,
            server_name=settings.tls.server_name if settings.tls else None,
            open_timeout=settings.open_timeout,
            frame_limit=settings.frame_limit or self._plugin.frame_limit,
        )

    def _pings(self) -> Pings:
        def chosen(own: float | None, default: float | None) -> float | None:
            return (default if own is None else own) or None

        return Pings(
            chosen(self._settings.ping_interval, self._plugin.ping),
            chosen(self._settings.ping_timeout, self._plugin.ping_timeout),
        )

    def _ended(self, end: End) -> None:
        """Say why, and when the next try is: on the link, as an event, and once in the log."""
        reason, wall = explain(end.error), time()
        kind = trouble(end.error)
        known = self._plugin.explain.get(kind) if kind is not None else None
        if known is not None:
            reason = known.reason
        self.device.enter(State.OFFLINE, wall, reason, known.state if known else "", wall + end.wait)
        self._tools.flush()
        if end.first:
            self._noticed({"device": self.device.name, "state": "offline", "reason": reason})
        if end.verdict is Verdict.BUG:
            self.bugs += 1
            frames = self._session.recent.lines(self._redaction) if self._session else []
            self._log.error("device ended by a fault of ours", exc_info=end.error, last_frames=frames)
        elif end.first or end.verdict is Verdict.STUBBORN:
            tell = self._log.info if known is not None and known.normal else self._log.warning
            tell("no connection", reason=reason, verdict=end.verdict.value, retry_in=round(end.wait, 1))
        else:
            self._log.debug("no connection", reason=reason, retry_in=round(end.wait, 1))


def profile(name: str, settings: Settings) -> Profile:
    """What the configuration says of a device, as its shell wants it."""
    device = settings.devices[name]
    return Profile(
        name=name,
        bridge=settings.bridge.id,
        rules=Rules(
            read_only=device.read_only or settings.bridge.read_only,
            allow=device.allow,
            deny=device.deny,
            limits={key: Limit(limit.minimum, limit.maximum) for key, limit in device.limits.items()},
            rate=device.rate,
            burst=device.burst or 10,
        ),
        overlays={
            pattern: Overlay(
                name=point.name,
                device_class=point.device_class,
                shown_as=point.shown_as,
                invert=point.invert,
                enabled=point.enabled,
                scale=point.scale,
                unit=point.unit,
                policy=point.policy,
            )
            for pattern, point in device.points.items()
        },
        presets={key: Preset(preset.action, preset.args, preset.name) for key, preset in device.presets.items()},
        policies=(settings.bridge.policy, device.policy),
        plain=device.payload == "plain",
        backlog=device.backlog or settings.bridge.backlog,
        touches=plugins.load(device.driver).touches,
    )
