"""Real brokers for the system tests; without mosquitto these tests are skipped, or fail where it is required."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.mosquitto import Mosquitto, mosquitto_program

StartMosquitto = Callable[..., Mosquitto]  # the arguments of Mosquitto behind its directory


@pytest.fixture(scope="session")
def mosquitto_installed() -> None:
    """Skip without mosquitto; with LAB2MQTT_REQUIRE_MOSQUITTO=1 fail instead."""
    if mosquitto_program() is None:
        if os.environ.get("LAB2MQTT_REQUIRE_MOSQUITTO") == "1":
            pytest.fail("mosquitto is required (LAB2MQTT_REQUIRE_MOSQUITTO=1) and not installed")
        pytest.skip("mosquitto is not installed (looked on PATH, /usr/sbin and /usr/local/sbin)")


@pytest.fixture
def start_mosquitto(mosquitto_installed: None, tmp_path: Path) -> Iterator[StartMosquitto]:
    """Starts brokers with options of the test's own: `start_mosquitto(config=[...], anonymous=False)`."""
    with ExitStack() as brokers:
        yield lambda *args, **options: brokers.enter_context(Mosquitto(tmp_path, *args, **options))


@pytest.fixture
def mosquitto(start_mosquitto: StartMosquitto) -> Mosquitto:
    """One running broker with nothing special, for this test alone."""
    return start_mosquitto()
