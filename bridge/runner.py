"""Keeps one device connected: makes its sessions, and says on its link how they end."""

from __future__ import annotations

import math
from time import monotonic, time

import structlog

from bridge import configured, plugins
from bridge.device import Device
from bridge.driver import Verdict
from bridge.ends import explain, trouble
from bridge.keeper import End, keep
from bridge.link import State
from bridge.session import Session, Tools
from bridge.settings_device import DeviceSettings
from bridge.settings_secrets import secrets_of
from bridge.transcript import Redaction

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Runner:
    """ValueError when the settings cannot work: a certificate's file that is not there, a header that is none."""

    def __init__(self, device: Device, settings: DeviceSettings, tools: Tools) -> None:
        self.device, self.driver, self._settings, self._tools = device, settings.driver, settings, tools
        self._plugin = plugins.load(settings.driver)
        self._target = configured.target(settings, self._plugin)
        self._pings = configured.pings(settings, self._plugin)
        self._redaction = Redaction(secrets_of(settings))
        self._session: Session | None = None
        self._log = log.bind(device=device.name)
        self._connect_by = self._retry_at = math.inf
        self.connections = 0
        self.bugs = 0

    async def run(self) -> None:
        """For ever; cancellation ends it, and then the device is offline and its commands are answered."""
        structlog.contextvars.bind_contextvars(device=self.device.name)  # on every line of this task
        await keep(self._attempt, self._ended)

    @property
    def turns_at(self) -> float:
        """When it does something at the latest, on the loop's clock: for bridge.progress."""
        match self.device.link.state:
            case State.CONNECTING:
                return self._connect_by
            case State.OFFLINE:
                return self._retry_at
        return math.inf if self._session is None else self._session.rings_at

    async def _attempt(self) -> None:
        self.connections += 1
        self._connect_by, self._retry_at = monotonic() + 2 * self._target.open_timeout, math.inf
        self._session = Session(
            self.device,
            self._plugin,
            self._settings.options,
            self._target,
            self._pings,
            self._tools,
        )
        await self._session.run()

    def _ended(self, end: End) -> None:
        """Say why, and when the next try is: on the link, as an event, and once in the log."""
        reason, wall = explain(end.error), time()
        self._retry_at = monotonic() + end.wait
        kind = trouble(end.error)
        known = self._plugin.explain.get(kind) if kind is not None else None
        if known is not None:
            reason = known.reason
        self.device.enter(State.OFFLINE, wall, reason, known.state if known else "", wall + end.wait)
        self._tools.flush()
        if end.verdict is Verdict.BUG:
            self.bugs += 1
            frames = self._session.recent.lines(self._redaction) if self._session else []
            self._log.error("device ended by a fault of ours", exc_info=end.error, last_frames=frames)
        elif end.first or end.verdict is Verdict.STUBBORN:
            tell = self._log.info if known is not None and known.normal else self._log.warning
            tell("no connection", reason=reason, verdict=end.verdict.value, retry_in=round(end.wait, 1))
        else:
            self._log.debug("no connection", reason=reason, retry_in=round(end.wait, 1))
