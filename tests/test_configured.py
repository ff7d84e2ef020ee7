"""From the configuration to what the core works with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge import configured, plugins
from bridge.access import Limit
from bridge.heartbeat import Pings
from bridge.model import Command, Policy
from bridge.overlay import Preset
from bridge.settings import ConfigurationError, Settings
from bridge.settings_device import DeviceSettings
from bridge.topics import Topics


def settings(bridge: dict[str, Any] | None = None, mqtt: dict[str, Any] | None = None, **device: Any) -> Settings:
    return Settings.model_validate(
        {
            "bridge": {"id": "here", **(bridge or {})},
            "mqtt": mqtt or {},
            "devices": {"io": {"driver": "evok", "url": "ws://10.0.0.5/ws", **device}},
        }
    )


def device(**keys: Any) -> DeviceSettings:
    return settings(**keys).devices["io"]


PLUGIN = plugins.load("evok")


def test_the_broker_as_the_contract_says() -> None:
    connection = configured.broker(settings(), Topics("lab2mqtt", "here"))
    assert (connection.host, connection.port, connection.client_id) == ("localhost", 1883, "lab2mqtt-here")
    assert (connection.protocol, connection.keepalive, connection.session_expiry) == ("5", 15, 30)
    assert (connection.receive_maximum, connection.tls, connection.password) == (100, None, None)
    will = connection.will
    assert will is not None
    assert (will.topic, will.payload, will.qos, will.retain, will.delay) == (
        "lab2mqtt/_bridge/here/status",
        b"offline",
        1,
        True,
        5,
    )


def test_the_broker_as_configured() -> None:
    mqtt = {
        "host": "broker", "port": 1884, "protocol": "3.1.1", "username": "u", "password": "p", "client_id": "c",
        "keepalive": 5, "session_expiry": 60, "will_delay": 1, "receive_maximum": 7, "timeout": 2.0,
    }  # fmt: skip
    connection = configured.broker(settings(mqtt=mqtt), Topics("r", "here"))
    assert (connection.host, connection.port, connection.protocol) == ("broker", 1884, "3.1.1")
    assert (connection.username, connection.password, connection.client_id) == ("u", "p", "c")
    assert (connection.keepalive, connection.session_expiry, connection.receive_maximum) == (5, 60, 7)
    assert connection.timeout == 2.0
    assert connection.will is not None
    assert connection.will.delay == 1


def test_tls_of_the_broker() -> None:
    connection = configured.broker(settings(mqtt={"tls": {}}), Topics("r", "here"))
    assert connection.tls is not None
    assert connection.port == 8883


@pytest.mark.parametrize("name", ["ca", "certificate"])
def test_a_file_that_is_not_there_is_an_error_of_the_configuration(tmp_path: Path, name: str) -> None:
    missing = settings(mqtt={"tls": {name: tmp_path / "missing.pem"}})
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        configured.broker(missing, Topics("r", "here"))


def test_where_a_device_is() -> None:
    target = configured.target(device(), PLUGIN)
    assert (target.url, target.tls, target.username, target.open_timeout) == ("ws://10.0.0.5/ws", None, None, 10.0)
    assert target.frame_limit == PLUGIN.frame_limit


def test_where_a_device_is_as_configured() -> None:
    keys = device(
        url="wss://user:secret@host/ws",
        headers={"X-Key": "k"},
        open_timeout=2,
        frame_limit=4096,
        tls={"insecure": True, "server_name": "unipi"},
    )
    target = configured.target(keys, PLUGIN)
    assert (target.url, target.username, target.password) == ("wss://host/ws", "user", "secret")
    assert target.headers == {"X-Key": "k"}
    assert (target.open_timeout, target.frame_limit, target.server_name) == (2, 4096, "unipi")
    assert target.tls is not None


def test_a_wss_device_is_verified_without_being_told() -> None:
    target = configured.target(device(url="wss://host/ws"), PLUGIN)
    assert target.tls is not None
    assert target.tls.check_hostname


def test_the_drivers_headers_and_the_configured_ones() -> None:
    both = device(token="t", headers={"X-Key": "k"})
    assert configured.target(both, PLUGIN).headers == {"Authorization": "Bearer t", "X-Key": "k"}
    own = device(token="t", headers={"Authorization": "mine"})
    assert configured.target(own, PLUGIN).headers == {"Authorization": "mine"}


@pytest.mark.parametrize(
    ("keys", "pings"),
    [
        ({}, Pings(PLUGIN.ping, PLUGIN.ping_timeout)),
        ({"ping_interval": 5}, Pings(5, PLUGIN.ping_timeout)),
        ({"ping_interval": 0, "ping_timeout": 0}, Pings(None, None)),
        ({"ping_timeout": 7}, Pings(PLUGIN.ping, 7)),
    ],
)
def test_pings_are_the_drivers_unless_configured_and_0_is_never(keys: dict[str, float], pings: Pings) -> None:
    assert configured.pings(device(**keys), PLUGIN) == pings


# --- the profile -----------------------------------------------------------------------------------------


def test_a_profile_without_any_wishes() -> None:
    profile = configured.profile("io", settings())
    assert (profile.name, profile.bridge, profile.plain, profile.backlog) == ("io", "here", False, 32)
    assert profile.rules.rate is None
    assert not profile.rules.read_only
    assert profile.touches(Command("id", "pulse", args={"point": "ro/1"}))[0].key == "ro/1"


def test_a_profile_has_what_bridge_and_device_say() -> None:
    profile = configured.profile(
        "io",
        settings(
            bridge={"min_interval": 1, "backlog": 5},
            payload="plain",
            allow=["ro/*"],
            deny=["ro/1"],
            limits={"ao/*": {"maximum": 5}},
            rate=2,
            burst=3,
            deadband=0.5,
            presets={"bell": {"action": "pulse", "args": {"seconds": 1}, "name": "Bell"}},
            points={"ro/*": {"name": "R", "class": "switch", "as": "light", "invert": True, "max_silence": 9}},
        ),
    )
    assert (profile.plain, profile.backlog) == (True, 5)
    rules = profile.rules
    assert (rules.allow, rules.deny, rules.rate, rules.burst) == (("ro/*",), ("ro/1",), 2, 3)
    assert rules.limits == {"ao/*": Limit(None, 5)}
    assert profile.policies == (Policy(min_interval=1), Policy(deadband=0.5))
    assert profile.presets == {"bell": Preset("pulse", {"seconds": 1}, "Bell")}
    overlay = profile.overlays["ro/*"]
    assert (overlay.name, overlay.device_class, overlay.shown_as, overlay.invert) == ("R", "switch", "light", True)
    assert overlay.policy == Policy(max_silence=9)


@pytest.mark.parametrize("where", ["bridge", "device"])
def test_read_only_of_either_counts(where: str) -> None:
    chosen = settings(bridge={"read_only": True}) if where == "bridge" else settings(read_only=True)
    assert configured.profile("io", chosen).rules.read_only


def test_the_devices_own_backlog_wins() -> None:
    assert configured.profile("io", settings(bridge={"backlog": 5}, backlog=9)).backlog == 9
