"""The order of the checks: what needs what, what runs side by side, and how long each may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path

from bridge import alive
from bridge.cli import client
from bridge.cli.doctor import broker, devices, kept, machine
from bridge.cli.doctor.findings import Finding, Verdict, skipped
from bridge.cli.doctor.line import Line
from bridge.cli.doctor.rights import rights
from bridge.ends import explain
from bridge.mqtt import MqttError
from bridge.settings import ConfigurationError, Settings
from bridge.settings_advice import advice
from bridge.topics import Topics

LONGEST = 60.0  # seconds for all that concerns the broker


class Examination:
    """`tell` hears each finding as soon as it is there; `run` returns all of them, in the same order."""

    def __init__(
        self,
        settings: Settings,
        file: Path | None,
        only: Sequence[str] | None,
        wait: float,
        tell: Callable[[Finding], None],
    ) -> None:
        self._settings, self._file, self._wait, self._tell = settings, file, wait, tell
        self._names = list(only or settings.devices)
        self._topics = Topics(settings.bridge.root, settings.bridge.id)
        self._found: list[Finding] = []
        self._kept: kept.Kept | None = None
        self._holder: machine.Holder | None = None

    async def run(self) -> list[Finding]:
        self._report(
            [Finding("configuration.ok", "configuration", f"it can be used (digest {self._settings.digest()})")]
        )
        self._report(
            Finding("configuration.advice", "configuration", line) for line in advice(self._settings, self._file)
        )
        found, self._holder = machine.state(self._settings.bridge.state_dir)
        self._report([machine.versions(), machine.clock(), *found])
        self._report(await self._within(self._broker(), "broker", LONGEST))
        online = None if self._kept is None else self._kept.online
        if self._holder is not None:
            self._report([machine.held(self._holder, online=online)])
        await self._devices(daemon_here=self._holder is not None)
        return self._found

    def _report(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._found.append(finding)
            self._tell(finding)

    # --- the broker ------------------------------------------------------------------------------------

    async def _broker(self) -> list[Finding]:
        settings, topics = self._settings, self._topics
        try:
            connection = client.connection(settings, "doctor")
        except ConfigurationError as error:
            return [Finding("tls.files", "broker", f"{error.lines[0]}: correct it")]
        line = Line(connection)
        try:
            found = await broker.reach(line, settings)
            self._report(found)
            if any(finding.verdict is Verdict.FAULT for finding in found) or not line.mqtt.up:
                return [skipped("broker", "the broker does not let us in")]
            if connection.protocol == "5":
                self._report(broker.limits(line.mqtt.limits))
            self._kept = await kept.listen(line, settings, topics)
            self._report(await rights(line, settings, topics, daemon=self._kept.online))
            self._report(kept.findings(self._kept, settings))
            return await self._impostor(line) if self._kept.online and not self._kept.quarrel else []
        except (OSError, MqttError) as error:
            return [
                Finding(
                    "network.lost",
                    "broker",
                    f"the broker ended the connection ({explain(error)}): look at its log",
                )
            ]
        finally:
            await line.mqtt.disconnect(within=0.5)

    async def _impostor(self, line: Line) -> list[Finding]:
        """A daemon of our name is online: is it the one that uses our journal?"""
        name, directory = self._settings.bridge.id, self._settings.bridge.state_dir
        if directory is None or not machine.has_journal(directory):
            return []
        if self._holder is None:
            why = f"none uses the journal in {directory}"
        elif machine.disconnected(self._holder, directory):
            await line.listen(alive.INTERVAL + 1.0)  # it may have been on its way
            if not machine.disconnected(self._holder, directory) or line.last(self._topics.status) != b"online":
                return []
            why = f"the one that runs here (process {self._holder.pid}) is not connected"
        else:
            return []
        return [
            Finding(
                "bridge.duplicate",
                "bridge",
                f"a daemon called {name} is online, and {why}: two bridges must not share an id, so stop the "
                "other one, or give it another bridge.id",
            )
        ]

    # --- the devices -----------------------------------------------------------------------------------

    async def _devices(self, *, daemon_here: bool) -> None:
        """Side by side, reported in the configuration's order."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._device(name, daemon_here)) for name in self._names]
            for task in tasks:
                self._report(await task)

    async def _device(self, name: str, daemon_here: bool) -> list[Finding]:
        own, subject = self._settings.devices[name], f"device {name}"
        if not own.enabled:
            return [Finding("device.disabled", subject, "enabled = false: it is not used")]
        if self._kept is not None and name in self._kept.rivals:
            return [Finding("device.elsewhere", subject, "left alone, because another bridge has it")]
        if self._kept is not None and self._kept.online:
            link = self._kept.links[name]
            if link.get("bridge") == self._topics.bridge and link.get("state") not in (None, "", "offline"):
                return [devices.held(name, link)]
        elif daemon_here and self._kept is None:
            return [
                Finding(
                    "device.elsewhere",
                    subject,
                    "left alone, because the daemon that runs here may have it (the broker cannot be asked): "
                    "stop the daemon to check it",
                )
            ]
        return await self._within(devices.examine(self._settings, name, self._wait), subject, self._longest(name))

    def _longest(self, name: str) -> float:
        return self._wait + 3 * self._settings.devices[name].open_timeout + 5

    async def _within(
        self, check: Coroutine[object, object, list[Finding]], subject: str, limit: float
    ) -> list[Finding]:
        """What the check finds; its being too slow or wrong is a finding, too, and does not end the others."""
        try:
            async with asyncio.timeout(limit):
                return await check
        except TimeoutError:
            return [
                Finding(
                    "doctor.unfinished",
                    subject,
                    f"this check did not end within {limit:g} s: try again, or look at the network",
                )
            ]
        except Exception as error:
            return [
                Finding(
                    "doctor.bug",
                    subject,
                    f"{type(error).__name__}: {explain(error)}: a fault of lab2mqtt; please report it",
                )
            ]
