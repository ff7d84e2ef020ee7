"""What Dockerfile, compose.yaml and config/docker say about other files is still true; no engine is needed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bridge import __version__
from bridge.cli.simulate import INSTRUMENTS
from bridge.settings import load

TOP = Path(__file__).parents[1]
DOCKERFILE = (TOP / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (TOP / "compose.yaml").read_text(encoding="utf-8")
RIGHTS = (TOP / "config/mosquitto.acl.example").read_text(encoding="utf-8")
DEMO = TOP / "config/docker/demo/lab2mqtt.toml"


def found(pattern: str, text: str) -> list[str]:
    """Every first group in the text, and at least one."""
    everything = re.findall(pattern, text, re.MULTILINE)
    assert everything, pattern
    return everything


def copied() -> list[str]:
    """What the Dockerfile takes from the repository."""
    lines = [line.split() for line in found(r"^COPY ((?!--from).+)", DOCKERFILE)]
    return [name for *names, _ in lines for name in names]


# --- the Dockerfile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", copied())
def test_what_is_copied_exists_and_is_not_ignored(name: str) -> None:
    assert (TOP / name).exists()
    assert f"!{name}" in (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_nothing_else_gets_into_the_build() -> None:
    lines = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert let_in == set(copied())


def test_its_python_is_one_that_lab2mqtt_is_for() -> None:
    (version,) = found(r"^ARG PYTHON_IMAGE=python:(3\.\d+)\.\d+-slim-\w+$", DOCKERFILE)
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    assert found(r"^FROM (\S+)", DOCKERFILE) == ["${PYTHON_IMAGE}"] * 2


def test_its_version_is_ours() -> None:
    assert found(r"^ARG VERSION=(.+)", DOCKERFILE) == [__version__]


def test_what_only_builds_is_taken_out_again() -> None:
    """All that nothing but the build backend needs, by what the lock file says of each requirement."""
    locked = (TOP / "requirements/run.txt").read_text(encoding="utf-8")
    needed_by: dict[str, set[str]] = {}
    for requirement in re.split(r"^(?=\w)", locked, flags=re.MULTILINE)[1:]:
        comments = re.findall(r"#\s+(?:via\s+)?(.+)", requirement)
        needed_by[requirement.partition("==")[0]] = {comment for comment in comments if comment != "via"}
    tools = {name for name, by in needed_by.items() if by <= {"hatchling", "lab2mqtt (pyproject.toml:build)"}}
    (removed,) = found(r"uninstall -y ([^\\\n]+)", DOCKERFILE)
    assert set(removed.split()) == tools


def test_it_runs_as_a_number_and_needs_no_outside_syntax() -> None:
    assert found(r"^USER (\d+):\d+$", DOCKERFILE)
    assert "syntax=" not in DOCKERFILE  # it would be fetched before every build


# --- compose.yaml -----------------------------------------------------------------------------------------


def services() -> list[str]:
    below = COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    return found(r"^  (\w+):$", below)


def test_mounted_files_exist() -> None:
    for name in found(r"^\s+- (\./[^:]+):", COMPOSE) + found(r":-(\./[^}]+)}", COMPOSE):
        assert (TOP / name).exists(), name


def test_volumes_are_declared() -> None:
    declared = set(found(r"^  (\w+):$", COMPOSE.partition("\nvolumes:\n")[2]))
    used = set(found(r"^\s+- (\w+):/", COMPOSE) + found(r'\["(\w+):/', COMPOSE))
    assert used == declared


def test_images_have_exact_tags() -> None:
    for image in found(r"^\s+image: (\S+)", COMPOSE):
        assert re.search(r":(\d[\w.]*|\$\{TAG:-local\})$", image), image


def test_owners_are_those_of_the_image() -> None:
    (user,) = set(found(r"^USER (\d+):", DOCKERFILE))
    assert set(found(r"(?:uid=|chown )(\d+)", COMPOSE)) == {user, "1883"}
    assert set(found(r"--chown=(\d+):", DOCKERFILE)) == {user}


def test_users_of_the_broker_are_those_with_rights() -> None:
    (users,) = found(r"for user in ([^;]+);", COMPOSE)
    assert set(users.split()) == set(found(r"^user (\w+)", RIGHTS))


def test_the_demonstration_fits_the_services_and_the_rights() -> None:
    settings = load(DEMO, environ={}, secrets=DEMO.parent)
    assert settings.mqtt.host in services()
    assert settings.mqtt.username in found(r"^user (\w+)", RIGHTS)
    assert f"topic readwrite lab2mqtt/_bridge/{settings.bridge.id}/#" in RIGHTS
    for name, device in settings.devices.items():
        assert f"topic readwrite lab2mqtt/{name}/#" in RIGHTS
        url = urlsplit(device.url)
        service = COMPOSE.partition(f"\n  {url.hostname}:\n")[2].partition("\n\n")[0]
        (instrument,) = found(r"command: \[simulate, (\w+), --host, 0\.0\.0\.0, --port, \"8080\"", service)
        assert (device.driver, url.port) == (instrument, 8080)
        assert url.path == INSTRUMENTS[instrument].path


def test_every_simulator_is_in_the_demonstration() -> None:
    assert set(found(r"command: \[simulate, (\w+)", COMPOSE)) == set(INSTRUMENTS)
