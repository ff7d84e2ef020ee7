"""What systemd is told, and that nothing happens where there is no systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bridge import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_states_arrive_in_one_datagram(abstract: bool, tmp_path: Path) -> None:
    name = f"lab2mqtt-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        systemd.settimeout(5)
        environ = {"NOTIFY_SOCKET": "@" + name if abstract else name}
        assert notify.notify(notify.READY, notify.status("3 of 4\ndevices"), environ=environ)
        assert systemd.recv(1024) == b"READY=1\nSTATUS=3 of 4 devices"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/such/socket"}])
def test_without_a_listener_nothing_happens(environ: dict[str, str]) -> None:
    assert not notify.notify(notify.WATCHDOG, environ=environ)


def test_a_reload_carries_the_clock() -> None:
    head, clock = notify.reloading().split("\n")
    assert head == "RELOADING=1"
    assert int(clock.removeprefix("MONOTONIC_USEC=")) > 0


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_interval(environ: dict[str, str], seconds: float | None) -> None:
    assert notify.watchdog_interval(environ) == seconds
