"""Tells systemd how we are (sd_notify), and does nothing where there is no systemd."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def status(text: str) -> str:
    """One line for `systemctl status`."""
    return "STATUS=" + " ".join(text.split())


def reloading() -> str:
    """To be followed by READY. systemd wants the clock to tell this reload from an earlier one."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def notify(*states: str, environ: Mapping[str, str] | None = None) -> bool:
    """Send the states in one datagram. False: nobody listens, which is no fault."""
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # Linux's abstract name space
        address = "\0" + address[1:]
    try:
        with socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        ) as sender:
            sender.sendto("\n".join(states).encode(), address)
    except OSError:
        return False
    return True


def watchdog_interval(environ: Mapping[str, str] | None = None) -> float | None:
    """Seconds between two WATCHDOG messages, half of what systemd allows; None if it expects none from us."""
    environ = os.environ if environ is None else environ
    text = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not text.isdecimal():
        return None
    return int(text) / 2e6 or None
