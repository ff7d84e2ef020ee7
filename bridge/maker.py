"""Makes devices and their runners from the configuration, at the start and at a reload."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from bridge import configured
from bridge.commands import Ticket
from bridge.device import Device
from bridge.journal import Journal
from bridge.model import Reply
from bridge.outbox import Outbox
from bridge.runner import Runner
from bridge.session import Tools
from bridge.settings import ConfigurationError, Settings
from bridge.topics import Topics

JOBS = "_jobs/"  # before a device's name: the journal's name for its job documents; no device is called so
DRIVERS = "_drivers"  # the same for which driver each device had

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Maker:
    """`answer` and `changed` are given to every device."""

    def __init__(
        self,
        topics: Topics,
        outbox: Outbox,
        journal: Journal,
        tools: Tools,
        answer: Callable[[Ticket, Reply], None],
        changed: Callable[[Device], None],
    ) -> None:
        self._topics, self._outbox, self._journal, self._tools = topics, outbox, journal, tools
        self._answer, self._changed = answer, changed

    def make(self, name: str, settings: Settings) -> Runner:
        """A device and what keeps it connected; nothing of it runs, and nothing is published.

        ConfigurationError for what only shows when it is used: a certificate's file that is not there.
        """
        profile, topics = configured.profile(name, settings), self._topics.device(name)
        remember_job = partial(self._journal.remember, f"{JOBS}{name}")
        device = Device(profile, topics, self._outbox, self._answer, self._changed, remember_job)
        try:
            return Runner(device, settings.devices[name], self._tools)
        except ValueError as error:
            raise ConfigurationError([f"devices.{name}: {error}"]) from None
        except Exception as error:  # what a driver makes of its options is somebody else's code
            log.exception("a device cannot be made by a fault of its driver", device=name)
            what = f"devices.{name}: the driver fails with these options: {type(error).__name__}"
            raise ConfigurationError([what]) from None

    def restore(self, runner: Runner) -> None:
        """Its job documents, as whoever had this name before left them; nothing of another driver."""
        name, journal = runner.device.name, self._journal
        jobs = f"{JOBS}{name}"
        if journal.memory(DRIVERS).get(name, runner.driver) != runner.driver:
            for owner in (jobs, name):
                for key in journal.memory(owner):
                    journal.remember(owner, key, None)
        journal.remember(DRIVERS, name, runner.driver)
        runner.device.jobs.restore(journal.memory(jobs))
