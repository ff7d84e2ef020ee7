"""Drivers are found by name, imported when asked for, and a broken one is one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bridge import plugins
from bridge.driver import Plugin
from bridge.plugins import PluginError
from bridge.settings_device import COMMON_KEYS
from tests.installed_driver import TOY, install


def test_a_driver_of_another_package_is_found_and_imported_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    assert "toy" in plugins.names()
    assert "toy_driver_of_a_test" not in sys.modules
    assert plugins.load("toy").options.model_fields.keys() >= {"scan", "pin"}


def test_an_unknown_driver_is_told_which_ones_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    with pytest.raises(PluginError, match=r"^unknown driver 'tow' \(installed: .*toy.*\)$"):
        plugins.load("tow")


@pytest.mark.parametrize(
    ("source", "attribute", "reason"),
    [
        ("raise RuntimeError('no licence')", "plugin", "cannot be imported: RuntimeError: no licence"),
        ("import no_such_module_anywhere", "plugin", "cannot be imported: ModuleNotFoundError"),
        ("plugin = 3", "plugin", "is broken: its entry point is no Plugin but int"),
        (TOY, "driver_", "cannot be imported: AttributeError"),
        (TOY.replace("driver)", "driver, contract=99)"), "plugin", "was written for contract 99"),
    ],
)
def test_a_broken_driver_is_one_sentence(
    source: str, attribute: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, source=source, attribute=attribute)
    with pytest.raises(PluginError) as caught:
        plugins.load("toy")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_packages_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "toy")
    other = tmp_path / "site-toy" / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[lab2mqtt.drivers]\ntoy = elsewhere:plugin\n")
    with pytest.raises(PluginError, match="offered more than once: elsewhere:plugin, toy_driver"):
        plugins.load("toy")


@pytest.mark.parametrize("name", ["evok", "im7", "ost", "zeiss_inspect"])
def test_the_built_in_drivers_come_through_the_same_door(name: str) -> None:
    plugin = plugins.load(name)
    assert isinstance(plugin, Plugin)
    assert plugin.options.model_config.get("extra") == "forbid"
    assert not plugin.options.model_fields.keys() & COMMON_KEYS, "a key cannot belong to the device and its driver"
