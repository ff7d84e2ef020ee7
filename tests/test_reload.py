"""What a new configuration changes: device by device, with all that it inherits; and what needs a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.reload import INHERITED, LIVE, Configuration, Difference, compare, digests, effective
from bridge.settings import Settings
from bridge.settings_device import DeviceSettings
from bridge.settings_models import BridgeSettings

IO = {"driver": "evok", "url": "ws://10.0.0.5/ws"}
CELL = {"driver": "im7", "url": "ws://10.0.0.7:1994/default"}
SECURE = {"driver": "evok", "url": "wss://10.0.0.5/ws"}


def settings(devices: dict[str, Any] | None = None, **sections: Any) -> Settings:
    bridge = {"id": "here", **sections.pop("bridge", {})}
    found = {"io": IO, "cell": CELL} if devices is None else devices
    return Settings.model_validate({"bridge": bridge, "devices": found, **sections})


def difference(new: Settings, old: Settings | None = None) -> Difference:
    before = settings() if old is None else old
    return compare(Configuration(before, digests(before)), Configuration(new, digests(new)))


def test_the_same_configuration_changes_nothing() -> None:
    found = difference(settings())
    assert found == Difference(unchanged=("io", "cell"))
    assert found.sentence() == "nothing changed"


def test_devices_come_go_and_change() -> None:
    found = difference(settings({"io": {**IO, "rate": 3.0}, "new": CELL}))
    assert found == Difference(added=("new",), changed=("io",), removed=("cell",))
    assert found.sentence() == "added new; changed io; removed cell"


def test_a_disabled_device_is_as_if_it_stood_not_there() -> None:
    off = {**CELL, "enabled": False}
    assert difference(settings({"io": IO, "cell": off})).removed == ("cell",)
    assert difference(settings(), settings({"io": IO, "cell": off})).added == ("cell",)


@pytest.mark.parametrize(
    "keys",
    [
        {"password": "s3cret", "username": "me"},
        {"headers": {"X-Api-Key": "s3cret"}},
        {"token": "s3cret"},
        {"points": {"di/*": {"invert": True}}},
        {"presets": {"bell": {"action": "pulse"}}},
        {"allow": ["do/*"]},
        {"poll": 12.0},
        {"url": "ws://10.0.0.6/ws"},
        {"open_timeout": 3.0},
    ],
)
def test_every_key_of_a_device_counts(keys: dict[str, Any]) -> None:
    old, new = settings(), settings({"io": {**IO, **keys}, "cell": CELL})
    for found in (difference(new, old), difference(old, new)):
        assert (found.changed, found.unchanged) == (("io",), ("cell",))


def test_another_secret_of_the_same_length_counts() -> None:
    one, other = ({"io": {**IO, "username": "me", "password": secret}} for secret in ("one", "two"))
    assert difference(settings(one), settings(other)).changed == ("io",)


@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_inherited_counts_only_where_it_is_in_effect(read_only: bool) -> None:
    devices = {"io": {**IO, "read_only": read_only}, "cell": CELL}
    found = difference(settings(devices, bridge={"read_only": True}), settings(devices))
    assert found.changed == (("cell",) if read_only else ("io", "cell"))
    assert found.applied == ("bridge.read_only",)


def test_a_limit_of_its_own_outweighs_the_bridges() -> None:
    devices = {"io": {**IO, "backlog": 3}, "cell": CELL}
    assert difference(settings(devices, bridge={"backlog": 5}), settings(devices)).changed == ("cell",)


@pytest.mark.parametrize(
    ("sections", "options"),
    [
        ({"bridge": {"root": "other"}}, ["bridge.root"]),
        ({"bridge": {"state_dir": "/nowhere"}}, ["bridge.state_dir"]),
        ({"bridge": {"id": "there"}}, ["bridge.id"]),
        ({"bridge": {"response_prefix": "answers/"}}, ["bridge.response_prefix"]),
        ({"mqtt": {"host": "broker", "username": "me", "password": "x"}}, ["host", "username", "password"]),
        ({"mqtt": {"tls": {}}}, ["tls", "port"]),
        ({"home_assistant": {"discovery": False}}, ["home_assistant.discovery"]),
    ],
)
def test_what_no_device_has_needs_a_restart_and_is_not_half_applied(
    sections: dict[str, Any], options: list[str]
) -> None:
    old, new = settings(), settings(**sections)
    found = difference(new)
    assert sorted(found.needs_restart) == sorted(name if "." in name else f"mqtt.{name}" for name in options)
    assert (found.changed, found.applied) == ((), ())
    assert effective(old, new) == old
    assert f"needs a restart: {found.needs_restart[0]}" in found.sentence()


def test_what_is_in_effect_is_the_new_where_it_can_be() -> None:
    bridge = {"expires": 9.0, "log_level": "debug", "min_interval": 1.0, "root": "other"}
    old, new = settings(), settings({"cell": CELL}, bridge=bridge, mqtt={"port": 1})
    now = effective(old, new)
    assert now.devices == new.devices
    assert (now.bridge.expires, now.bridge.log_level, now.bridge.min_interval) == (9.0, "debug", 1.0)
    assert (now.bridge.root, now.mqtt.port) == ("lab2mqtt", 1883)
    again = difference(new, now)
    assert again.needs_restart == ("bridge.root", "mqtt.port")  # as long as it is not in effect
    assert (again.changed, again.applied) == ((), ())


def test_certificates_may_change_while_their_names_stay(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("one")
    found = settings({"io": {**SECURE, "tls": {"ca": ca}}, "cell": CELL}, mqtt={"tls": {"ca": ca}})
    old = Configuration(found, digests(found))
    assert compare(old, Configuration(found, digests(found))) == Difference(unchanged=("io", "cell"))
    ca.write_text("two")
    changed = compare(old, Configuration(found, digests(found)))
    assert (changed.changed, changed.unchanged) == (("io",), ("cell",))
    assert changed.needs_restart == ("mqtt.tls.ca (another file of the same name)",)
    ca.unlink()
    assert compare(old, Configuration(found, digests(found))).changed == ("io",)


def test_every_key_of_the_bridge_is_applied_or_needs_a_restart() -> None:
    """A new option must be put into one of the sets, or needs a restart; what devices inherit is not forgotten."""
    assert set(BridgeSettings.model_fields) >= LIVE | INHERITED
    own = set(DeviceSettings.model_fields) & set(BridgeSettings.model_fields)
    assert own <= INHERITED
