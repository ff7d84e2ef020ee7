"""What docs/devices/ost.md tells people to use is there: its topics and entities, beside a running observatory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.ost_world import USUAL, World
from tests.system.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "devices" / "ost.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def entities(world: World, module: str) -> set[str]:
    """The ids that Home Assistant forms from the names that a module is announced with."""
    (topic,) = [topic for topic in world.announced(module) if topic.startswith("homeassistant/")]
    told = [one.json for one in world.observer.seen if one.topic == topic][-1]
    device = told["device"]["name"]
    found = told["components"].values()
    parts = [(one["platform"], f"{device} {one.get('name') or ''}".strip().lower()) for one in found]
    return {f"{platform}.{re.sub('[^a-z0-9]+', '_', name)}" for platform, name in parts}


def test_topics_and_entities_of_the_page(tmp_path: Path) -> None:
    with World(tmp_path, ("--dry", "0"), 'name = "Observatory"') as world:
        world.until_link("ready")
        named = set(re.findall(r"\b\w+\.observatory_\w+", PAGE))
        assert named
        assert named <= {one for module in USUAL for one in entities(world, f"My{module}")}
        points = {
            key: point["kind"]
            for module in USUAL
            for key, point in world.observer.document(f"dome/points/My{module}")["points"].items()
        }
        called = set(re.findall(r"\bMy\w+/actions/(?!status)\w+", PAGE))
        assert {key: points.get(key) for key in called} == dict.fromkeys(called, "action")
        written = set(re.findall(r"dome/set/(\S+)", PAGE))
        assert {points.get(key) for key in written} <= {"number", "choice"}
        for key in re.findall(r"`(My\w+/\w+/\w+)`", PAGE):
            assert key in points or "/actions/" in key, key
