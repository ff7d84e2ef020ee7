"""`acl`: the rules for exactly this configuration, and that the committed example agrees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paho.mqtt.client import topic_matches_sub

import bridge
from bridge.cli.acl import bridge_role, mosquitto, others
from bridge.cli.main import main
from bridge.discovery import bridge_payload
from bridge.settings import Settings, load
from bridge.topics import Topics

CONFIG = Path(bridge.__file__).parent.parent / "config"


def settings(**bridge_keys: object) -> Settings:
    devices = {
        "io": {"driver": "evok", "url": "ws://10.0.0.5/ws"},
        "spare": {"driver": "evok", "url": "ws://10.0.0.6/ws", "enabled": False},
    }
    return Settings.model_validate({"bridge": {"id": "gw", **bridge_keys}, "devices": devices})


def rules(lines: list[str]) -> dict[str, set[str]]:
    """User -> rules; order plays no part, as mosquitto takes them."""
    found: dict[str, set[str]] = {}
    user = ""
    for line in lines:
        if line.startswith("user "):
            user = line.removeprefix("user ")
        elif line.startswith("topic "):
            found.setdefault(user, set()).add(line.removeprefix("topic "))
    return found


def test_the_example_agrees() -> None:
    example = load(CONFIG / "lab2mqtt.example.toml", environ={})
    printed = mosquitto(example, [bridge_role(example, "gateway1"), *others(example)])
    committed = (CONFIG / "mosquitto.acl.example").read_text(encoding="utf-8").splitlines()
    assert rules(list(printed)) == rules(committed)


def test_the_bridge_has_its_own_branches_and_no_more() -> None:
    own = settings(root="site7/{bridge}", response_prefix="answers/")
    assert {(rule.access, rule.topic) for rule in bridge_role(own, "gw").rules} == {
        ("readwrite", "site7/gw/_bridge/gw/#"),
        ("read", "site7/gw/_bridge/+/status"),
        ("read", "site7/gw/+/link"),
        ("readwrite", "site7/gw/io/#"),
        ("write", "answers/#"),
        ("readwrite", "homeassistant/device/+/config"),
        ("read", "homeassistant/status"),
    }


def test_home_assistant_may_press_all_that_it_is_shown() -> None:
    """mosquitto drops what is not allowed without a word."""
    own = settings()
    (home,) = [role for role in others(own) if role.user == "homeassistant"]
    allowed = [rule.topic for rule in home.rules if rule.access == "write"]
    shown = json.loads(bridge_payload(Topics(own.bridge.root, own.bridge.id)))["components"].values()
    pressed = [component["command_topic"] for component in shown if "command_topic" in component]
    assert pressed
    for topic in [*pressed, "lab2mqtt/io/set/do/1_01", "lab2mqtt/io/call/pulse"]:
        assert any(topic_matches_sub(pattern, topic) for pattern in allowed), topic
    assert not any(topic_matches_sub(pattern, "lab2mqtt/_bridge/gw/call/reload") for pattern in allowed)


def test_without_discovery_there_is_no_home_assistant() -> None:
    quiet = Settings.model_validate({"bridge": {"id": "gw"}, "home_assistant": {"discovery": False}})
    text = "\n".join(mosquitto(quiet, [bridge_role(quiet, "gw"), *others(quiet)]))
    assert "homeassistant" not in text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lab2mqtt.toml"
    file.write_text('[bridge]\nid = "gw"\n[mqtt]\nusername = "me"\n')
    assert main(["acl", "-c", str(file)]) == 0
    assert list(rules(capsys.readouterr().out.splitlines())) == [
        "me", "homeassistant", "operator", "dashboard", "administrator",
    ]  # fmt: skip
    assert main(["acl", "-c", str(file), "--user", "you"]) == 0
    assert list(rules(capsys.readouterr().out.splitlines())) == ["you"]
