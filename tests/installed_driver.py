"""A driver as another package brings it: a module and the metadata of a distribution on the import path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOY = """
from pydantic import BaseModel, ConfigDict, SecretStr

from bridge.driver import Plugin


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scan: float = 1.0
    motto: str = ""
    words: tuple[str, ...] = ()
    pin: SecretStr | None = None
    token: str = ""


def driver(options, memory, carried):
    raise NotImplementedError


plugin = Plugin(Options, driver)
"""


def install(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str = "toy",
    source: str = TOY,
    attribute: str = "plugin",
) -> None:
    """Make `name` a driver whose module has this source, until the test ends."""
    module = f"{name}_driver_of_a_test"
    site = directory / f"site-{name}"
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[lab2mqtt.drivers]\n{name} = {module}:{attribute}\n")
    (site / f"{module}.py").write_text(source)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(str(site))
