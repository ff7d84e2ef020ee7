"""Puts a new configuration into effect while the daemon runs: read, judged, and then applied device by device.

One reload after the other. Whatever is wrong with the new configuration shows before anything is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import structlog

from bridge import configured
from bridge.calls import Answer, Calls
from bridge.claims import Claims
from bridge.fleet import Fleet
from bridge.herald import Herald
from bridge.housekeeping import DISABLED, REMOVED, Housekeeping
from bridge.maker import Maker
from bridge.model import Outcome
from bridge.mqtt import Filter, Message
from bridge.reload import Configuration, Difference, compare, digests, effective
from bridge.runner import Runner
from bridge.settings import ConfigurationError, Settings
from bridge.signs import Signs
from bridge.topics import Topics
from bridge.uplink import Uplink

VERB = "reload"
ASKING = 5.0  # seconds to wait for the broker's word on new devices, before they are started anyway
CHANGED = "its configuration was changed"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the daemon a reload changes, and whom it tells."""

    topics: Topics
    claims: Claims
    fleet: Fleet
    housekeeping: Housekeeping
    maker: Maker
    uplink: Uplink
    herald: Herald
    signs: Signs


class Reconfigure:
    """`read` gives the configuration as it stands now (None: there is none to read), and is called in a thread.

    `apply` is told what is in effect, for all that is no device's.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings] | None,
        parts: Parts,
        apply: Callable[[Settings], None],
        answer: Answer,
    ) -> None:
        self._present = Configuration(settings, digests(settings))
        self._read, self._parts, self._apply = read, parts, apply
        self._calls = Calls(VERB, answer)
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- who asks --------------------------------------------------------------------------------------

    def ask(self, call: Message | None = None) -> None:
        """Soon. `call`: a message that is to be answered. Whoever asks while one is under way gets the next."""
        if call is None or self._calls.add(call):
            self._asked.set()

    def open(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self._run(), name="reload")

    async def close(self) -> None:
        """The bridge stops: nothing is begun any more, and whoever waits is told."""
        self._calls.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._calls.begin()
            self._parts.signs.reloading()
            try:
                difference = await self._reload()
            except ConfigurationError as error:
                self._refuse(error.lines)
            else:
                self._applied(difference)

    def _refuse(self, problems: list[str]) -> None:
        for problem in problems:
            log.error("the new configuration cannot be used; nothing was changed", problem=problem)
        self._parts.herald.reload_refused(problems)
        self._parts.signs.reloaded("the new configuration cannot be used")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self._calls.settle(Outcome.REJECTED, problems[0] + more, {"problems": list(problems)})
        self._parts.herald.publisher.flush()

    def _applied(self, difference: Difference) -> None:
        data: dict[str, list[str]] = {key: list(names) for key, names in asdict(difference).items()}
        log.info("configuration reloaded", **{key: names for key, names in data.items() if names})
        if difference.needs_restart:
            log.warning("only a restart brings these into effect", options=list(difference.needs_restart))
        self._parts.herald.reloaded(self._present.settings, data)
        self._parts.signs.reloaded("a restart is needed for some options" if difference.needs_restart else "")
        self._calls.settle(Outcome.DONE, difference.sentence(), data)
        self._parts.herald.publisher.flush()

    # --- what is done ----------------------------------------------------------------------------------

    async def _reload(self) -> Difference:
        """ConfigurationError: nothing was changed."""
        new = await self._new()
        configured.broker(new.settings, self._parts.topics)  # only a restart uses it; that it fails shows now
        difference = compare(self._present, new)
        settings = effective(self._present.settings, new.settings)
        make = self._parts.maker.make
        made = {name: make(name, settings) for name in (*difference.added, *difference.changed)}
        there = new.settings.devices
        removed = {name: DISABLED if name in there else REMOVED for name in difference.removed}
        await self._retire(dict.fromkeys(difference.changed, CHANGED) | removed)
        await self._meet(difference.added, made)
        self._present = Configuration(settings, _in_effect(self._present.files, new.files))
        self._replace(difference.changed, removed, made)
        self._apply(settings)
        self._parts.fleet.review()
        return difference

    async def _new(self) -> Configuration:
        if self._read is None:
            raise ConfigurationError(["this bridge was not started from a configuration that can be read again"])
        try:
            settings = await asyncio.to_thread(self._read)  # it reads files, and may import a driver
            return Configuration(settings, await asyncio.to_thread(digests, settings))
        except ConfigurationError:
            raise
        except Exception as error:  # a driver's options are somebody else's code
            log.exception("the new configuration cannot be read by a fault of ours or of a driver's")
            raise ConfigurationError([f"the configuration cannot be read: {type(error).__name__}"]) from None

    async def _retire(self, reasons: Mapping[str, str]) -> None:
        await asyncio.gather(*(self._parts.fleet.retire(name, reason) for name, reason in reasons.items()))

    async def _meet(self, added: tuple[str, ...], made: Mapping[str, Runner]) -> None:
        """What the broker keeps of them, and who has the new ones: none is started that another bridge has."""
        if not made:
            return
        parts = self._parts
        for name in added:
            parts.claims.add(name)
        links = [Filter(parts.topics.device(name).link, retained=True) for name in added]
        commands = [Filter(topic) for topic in parts.topics.filters(list(added))] if added else []
        documents = parts.housekeeping.meet(runner.device for runner in made.values())
        await parts.uplink.ask([*links, *commands, *documents], ASKING)

    def _replace(self, changed: tuple[str, ...], removed: Mapping[str, str], made: Mapping[str, Runner]) -> None:
        """In one go: nobody sees a fleet that is neither the old nor the new one."""
        parts = self._parts
        for name in changed:
            parts.fleet.remove(name)
        for name, reason in removed.items():
            ours = name not in parts.fleet.conflicts
            parts.fleet.remove(name)
            parts.claims.remove(name)
            if ours:
                parts.housekeeping.removed(name, reason)
        for runner in made.values():
            parts.maker.restore(runner)
            parts.fleet.add(runner.device, runner)


def _in_effect(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The broker's connection goes on with the files that it has read."""
    kept = {option: digest for option, digest in old.items() if option.startswith("mqtt.")}
    return kept | {option: digest for option, digest in new.items() if not option.startswith("mqtt.")}
