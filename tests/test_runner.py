"""Keeps one device connected: what its link, its log and its counters say about how sessions end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from bridge.device import Device, Profile
from bridge.journal import Journal
from bridge.memory import Memory
from bridge.model import Result
from bridge.outbox import Outbox
from bridge.runner import Runner
from bridge.session import Tools
from bridge.settings_device import DeviceSettings
from bridge.topics import DeviceTopics
from tests.installed_driver import install
from tests.toy.bench import Bell
from tests.toy.instrument import Instrument

FAULTY = """
from dataclasses import replace

from tests.toy.driver import Toy, plugin


class Faulty(Toy):
    def receive(self, frame, now):
        if "alarm" in frame:
            raise ZeroDivisionError("a mistake of ours")
        return super().receive(frame, now)


plugin = replace(plugin, driver=Faulty)
"""


@pytest_asyncio.fixture
async def instrument() -> AsyncIterator[Instrument]:
    async with Instrument().running() as running:
        yield running


class Rig:
    """A runner as the daemon makes it."""

    def __init__(self, **settings: Any) -> None:
        self.bell = Bell()
        self.device = Device(
            Profile("toy", "test"), DeviceTopics("lab2mqtt", "toy"), Outbox(), lambda ticket, reply: None
        )
        tools = Tools(
            Memory(Journal.open(None, time()), lambda: None), self._no_worker, self._no_result, self.bell.ring
        )
        self.runner = Runner(self.device, DeviceSettings.model_validate({"driver": "toy", **settings}), tools)

    def _no_worker(self, call: Callable[..., object], args: tuple[object, ...]) -> asyncio.Future[object]:
        raise NotImplementedError

    async def _no_result(self, device: str, result: Result) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, source="from tests.toy.driver import plugin")


@pytest.mark.asyncio
async def test_a_device_is_connected_and_connected_again(instrument: Instrument) -> None:
    rig = Rig(url=instrument.url, key="s3cret")
    async with rig.running():
        await rig.bell.until(lambda: rig.device.ready)
        assert instrument.headers["X-Toy-Key"] == "s3cret"
        instrument.push("bye", reason="restarting")
        await rig.bell.until(lambda: rig.runner.connections == 2 and rig.device.ready)
        assert rig.device.link.attempt == 0
    assert not rig.device.ready
    assert rig.device.link.reason == "this bridge is stopping"


@pytest.mark.asyncio
async def test_the_link_says_why_and_when_it_is_tried_again(instrument: Instrument) -> None:
    rig = Rig(url=instrument.url)
    async with rig.running():
        await rig.bell.until(lambda: rig.device.ready)
        with capture_logs() as entries:
            before = time()
            instrument.raw("garbage")
            await rig.bell.until(lambda: rig.device.link.next_try)
        link = rig.device.link
        assert "not the toy's language" in link.reason
        assert link.next_try is not None
        assert before < link.next_try < time() + 1.0
        (entry,) = entries
        assert (entry["log_level"], entry["device"], entry["verdict"]) == ("warning", "toy", "passing")


@pytest.mark.asyncio
async def test_a_usual_state_of_affairs_has_its_own_word_and_no_warning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there any more
    rig = Rig(url=f"ws://127.0.0.1:{port}")
    with capture_logs() as entries:
        async with rig.running():
            await rig.bell.until(lambda: rig.device.link.shown)
    assert (rig.device.link.shown, rig.device.link.reason) == ("asleep", "the toy is switched off")
    assert [entry["log_level"] for entry in entries] == ["info"]


@pytest.mark.asyncio
async def test_a_bug_is_counted_and_told_with_the_last_frames_and_without_secrets(
    instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    install(other, monkeypatch, name="faulty", source=FAULTY)
    rig = Rig(url=instrument.url, driver="faulty", headers={"X-Key": "quite-secret"}, key="the toy's own")
    async with rig.running():
        await rig.bell.until(lambda: rig.device.ready)
        with capture_logs() as entries:
            instrument.push("alarm", type="quite-secret, and the toy's own")
            await rig.bell.until(lambda: rig.runner.bugs)
    (entry,) = [entry for entry in entries if entry["log_level"] == "error"]
    assert isinstance(entry["exc_info"], ZeroDivisionError)
    frames = "\n".join(entry["last_frames"])
    assert "alarm" in frames
    assert "quite-secret" not in frames
    assert "the toy's own" not in frames


@pytest.mark.parametrize(
    "settings", [{"url": "wss://127.0.0.1:9", "tls": {"ca": "/nowhere.pem"}}, {"headers": {"Upgrade": "h2c"}}]
)
@pytest.mark.asyncio
async def test_settings_that_cannot_work_are_told_before_anything_runs(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.pem|belongs to the WebSocket handshake"):
        Rig(**{"url": "ws://127.0.0.1:9", **settings})
