"""A world per module (or per test that needs one alone), on the embedded broker and on a real mosquitto."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge.simulators.mqtt_broker import Broker
from tests.contract.bench import World, world
from tests.system.mosquitto import Mosquitto, mosquitto_program

REQUIRED = os.environ.get("LAB2MQTT_REQUIRE_MOSQUITTO") == "1"
BROKERS = [
    "embedded",
    pytest.param(
        "mosquitto",
        marks=pytest.mark.skipif(
            mosquitto_program() is None and not REQUIRED, reason="mosquitto is not installed"
        ),
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _toy_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toy as a driver that another package brings."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "toy-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[lab2mqtt.drivers]\ntoy = tests.toy.driver:plugin\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BROKERS)
async def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """The port of a broker."""
    if request.param == "embedded":
        async with Broker() as embedded:
            yield embedded.port
    else:
        with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as real:
            yield real.port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(request: pytest.FixtureRequest, broker: int) -> AsyncIterator[World]:
    """A running bridge with the module's DEVICES; its tests use outputs of their own."""
    devices: dict[str, dict[str, Any]] = request.module.DEVICES
    async with world(broker, devices, **getattr(request.module, "SETTINGS", {})) as made:
        await made.start()
        yield made


class Alone:
    """Makes worlds for one test; a broker of its own, for nothing retained must be left to others."""

    def __init__(self, stack: AsyncExitStack, kind: str, directory: Path) -> None:
        self._stack, self._kind, self._directory = stack, kind, directory
        self.state_dir = directory / "state"

    async def __call__(
        self, devices: dict[str, dict[str, Any]], *, durable: bool = False, **settings: Any
    ) -> World:
        """`durable`: with a state directory."""
        if self._kind == "embedded":
            port = (await self._stack.enter_async_context(Broker())).port
        else:
            port = self._stack.enter_context(Mosquitto(self._directory)).port
        made = world(port, devices, self.state_dir if durable else None, **settings)
        return await self._stack.enter_async_context(made)


@pytest_asyncio.fixture(loop_scope="module", params=BROKERS)
async def alone(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Alone]:
    async with AsyncExitStack() as stack:
        yield Alone(stack, request.param, tmp_path)
