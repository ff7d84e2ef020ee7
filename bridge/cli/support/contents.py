"""What goes into a support archive, part by part; what cannot be had is replaced by a sentence that says why."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sqlite3
import ssl
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import cast

from bridge import plugins
from bridge.cli import client
from bridge.cli.configuration import toml
from bridge.cli.doctor import printing
from bridge.cli.doctor.examination import Examination
from bridge.ends import explain
from bridge.model import Json
from bridge.mqtt import MqttError
from bridge.settings import PREFIX, ConfigurationError, Settings
from bridge.topics import Topics
from bridge.transcript import Redaction, note

LAST = 1 << 20  # bytes of a log
LINES = 3000  # of the journal
UNITS = "lab2mqtt*"
OPTIONAL = ("numpy", "rich", "uvloop")


def versions() -> str:
    """Of all that takes part, and the names (never the values) of our variables in the environment."""
    lines = [line for line in requires("lab2mqtt") or () if "extra ==" not in line]
    names = {re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in lines} | {*OPTIONAL}
    found = {
        "lab2mqtt": version("lab2mqtt"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": _system(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "container": any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")),
        "openssl": ssl.OPENSSL_VERSION,
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in sorted(names)},
        "drivers": plugins.names(),
        "variables": sorted(name for name in os.environ if name.upper().startswith(PREFIX)),
    }
    return json.dumps(found, indent=2, default=list)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"


def configuration_of(settings: Settings, redaction: Redaction) -> str:
    """All in effect; what is called like a secret is masked at any depth, in presets too."""
    masked = redaction(note(0.0, _given(settings.masked()))).data
    return "\n".join([f"# in effect, digest {settings.digest()}", *toml(cast(Mapping[str, object], masked))])


def _given(value: object) -> Json:
    """Without what is not there: that there is no password should show."""
    if isinstance(value, Mapping):
        return {key: _given(item) for key, item in value.items() if item is not None}
    return cast(Json, value)


async def diagnosis(settings: Settings, file: Path | None, wait: float) -> str:
    examination = Examination(settings, file, None, wait, lambda finding: None)
    return printing.as_json(await examination.run())


async def retained(settings: Settings, redaction: Redaction, *, states: bool) -> str:
    """What the broker keeps of this bridge and its devices, by topic."""
    topics = Topics(settings.bridge.root, settings.bridge.id)
    wanted = [f"{topics.own}/#"]
    for base in (topics.device(name).base for name in settings.devices):
        wanted += [f"{base}/#"] if states else [f"{base}/{kind}/#" for kind in ("status", "link", "points")]
    try:
        connection = client.connection(settings, "support")
        async with client.Client(connection, settings.bridge.response_prefix) as broker:
            kept = await broker.kept(wanted)
    except (OSError, MqttError) as error:
        return json.dumps({"left out": f"the broker cannot be asked: {explain(error)}"})
    except ConfigurationError as error:
        return json.dumps({"left out": error.lines})
    found = {topic: _document(payload) for topic, payload in sorted(kept.items())}
    return json.dumps(redaction(note(0.0, found)).data, indent=2, ensure_ascii=False)


def _document(payload: bytes) -> Json:
    text = payload.decode(errors="replace")
    try:
        return cast(Json, json.loads(text))
    except (ValueError, RecursionError):
        return text


def last_lines(file: Path | None) -> str:
    """Of a log file, or of the journal if this user may read it."""
    if file is not None:
        with file.open("rb") as log:
            log.seek(max(file.stat().st_size - LAST, 0))
            if log.tell():
                log.readline()  # the first one is cut
            return log.read(LAST).decode(errors="replace")
    program = shutil.which("journalctl")
    if program is None:
        return "left out: there is no journal on this machine (give the log with --log)"
    command = [program, "--no-pager", "--quiet", "-o", "short-iso-precise", "-n", str(LINES), "-u", UNITS]
    try:
        done = subprocess.run(command, capture_output=True, timeout=20.0, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"left out: {explain(error)}"
    text = done.stdout[-LAST:].decode(errors="replace")
    return text or (
        f"left out: the journal has nothing of the units {UNITS} that this user may read "
        f"{done.stderr.decode(errors='replace').strip()}"
    )
