"""What the pages for people name is there: links, commands, options, variables, configurations, topics.

A fenced `toml` block with `bridge.id` is a whole configuration. Any other is a fragment: it is put where its page
means it (bare keys into the page's device, a device without driver or url gets those) and must be valid there too.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent
from urllib.parse import unquote

import pytest

from bridge import plugins
from bridge.cli.main import parser
from bridge.settings import OTHER_VARIABLES, Settings, load

TOP = Path(__file__).parents[1]
PAGES = sorted(
    [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("config/**/*.md"), *TOP.glob("requirements/*.md")]
)
DRIVERS = {"evok": "evok", "im7": "im7", "ost": "ost", "zeiss-inspect": "zeiss_inspect"}  # by the page's name
WORDS_OF_SCRIPT = {"test"}  # commands of ./lab2mqtt that the program itself does not know

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?<![\w/.-])(?:\./)?lab2mqtt ([a-z]+)\b([^\n|;#>]*)")
PATH = re.compile(r"(?:bridge|config|docs|requirements|systemd|tests)/[\w./-]*\w")
DEVICE = r"(?:[a-z0-9_]+|\{device\}|\+|DEVICE)"
BRANCH = r"(?:status|link|points|state|event|data|job|set|call|reply)"
OF_BRIDGE = r"(?:status|info|health|canary|event|call|reply)"
TOPIC = re.compile(
    rf"(?:#|{DEVICE}(?:/(?:#|{BRANCH}(?:/.*)?))?|_bridge(?:/(?:#|[^/]+(?:/(?:#|{OF_BRIDGE}(?:/.*)?))?))?)$"
)


@cache
def blocks(page: Path) -> list[tuple[str, str]]:
    """The page's fenced blocks with their languages."""
    text = re.sub(r"(?<=[{[]) ?… ?(?=[]}])", "", page.read_text(encoding="utf-8"))  # what a reader is to fill in
    return [(name, dedent(body)) for _, name, body in FENCE.findall(text)]


def fenced(page: Path, language: str) -> list[str]:
    return [body for name, body in blocks(page) if name == language]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def code(page: Path) -> Iterator[str]:
    """Everything that is set as code, in blocks and in lines; wrapped commands in one piece."""
    for _, body in blocks(page):
        yield body.replace("\\\n", " ")
    yield from re.findall(r"`([^`\n]+)`", prose(page))


def of_each_page(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, PAGES, ids=[str(page.relative_to(TOP)) for page in PAGES])


# --- links ---------------------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", prose(page)) + "\n" + re.sub(r"`([^`\n]*)`", r"\1", prose(page))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:", link)]


@cache
def anchors(page: Path) -> set[str]:
    """The fragments that GitHub makes of the page's headings."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@of_each_page("page")
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(TOP), link
        if fragment:
            assert fragment in anchors(target), link


def test_every_page_can_be_reached_from_the_first() -> None:
    seen, waiting = set(), [TOP / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        targets = [(page.parent / unquote(link.partition("#")[0])).resolve() for link in links(page)]
        for target in targets:
            waiting += sorted(target.glob("*.md")) if target.is_dir() else [target] * (target.suffix == ".md")
    assert set(PAGES) <= seen


@of_each_page("page")
def test_every_file_that_is_named_exists(page: Path) -> None:
    for text in code(page):
        for name in [text] if PATH.fullmatch(text) else []:
            assert (TOP / name).exists() or (TOP / "docs" / name).exists(), name


# --- commands, options, variables ------------------------------------------------------------------------------


@cache
def commands() -> dict[str, argparse.ArgumentParser]:
    (subparsers,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(subparsers.choices)


@of_each_page("page")
def test_every_command_and_option_exists(page: Path) -> None:
    for name, rest in (found for text in code(page) for found in COMMAND.findall(text)):
        assert name in commands() or name in WORDS_OF_SCRIPT, name
        if name in WORDS_OF_SCRIPT | {"simulate"}:  # they hand their options on
            continue
        told = commands()[name].format_help()
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest):
            inner = [one.format_help() for one in _inner(commands()[name])]
            assert any(re.search(rf"{option}\b", help_) for help_ in (told, *inner)), f"lab2mqtt {name} {option}"


def _inner(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


@of_each_page("page")
def test_every_variable_means_something(page: Path) -> None:
    for name in re.findall(r"\bLAB2MQTT_[A-Z0-9_]*[A-Z0-9]", page.read_text(encoding="utf-8")):
        section, _, key = name.removeprefix("LAB2MQTT_").lower().partition("__")
        if name in OTHER_VARIABLES or section == "devices":
            continue
        model = Settings.model_fields[section].annotation
        assert model is not None, name
        assert key.partition("__")[0] in model.model_fields, name


# --- configurations --------------------------------------------------------------------------------------------


def whole(page: Path, block: str) -> str | None:
    """A configuration with this block in it; None if it is none (a package's file, a driver of one's own)."""
    name = next(iter(re.findall(r"^\[devices\.([a-z0-9_]+)", page.read_text(encoding="utf-8"), re.MULTILINE)), "x")
    first = next(line for line in block.splitlines() if line.strip() and not line.startswith("#"))
    table = tomllib.loads(block if first.startswith("[") else f"[devices.{name}]\n{block}")
    if "project" in table or any(d.get("driver") == "lamp" for d in table.get("devices", {}).values()):
        return None
    table.setdefault("bridge", {}).setdefault("id", "gateway1")
    for device in table.get("devices", {}).values():
        device.setdefault("driver", DRIVERS.get(page.stem, "evok"))
        device.setdefault("url", "ws://10.0.0.5/ws")
    return json.dumps(table)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page.relative_to(TOP)}-{number}")
        for page in PAGES
        for number, block in enumerate(fenced(page, "toml"))
    ],
)
def test_every_configuration_can_be_used(page: Path, block: str, tmp_path: Path) -> None:
    text = whole(page, block)
    if text is None:
        return
    loaded = json.loads(text)
    file = tmp_path / "lab2mqtt.toml"
    if tomllib.loads(block).get("bridge", {}).get("id"):
        file.write_text(block, encoding="utf-8")
        environ = {}
    else:
        environ = {f"LAB2MQTT_{section.upper()}": json.dumps(table) for section, table in loaded.items()}
        file.write_text("")
    settings = load(file, environ)
    assert set(loaded.get("devices", {})) == set(settings.devices)


@pytest.mark.parametrize("file", sorted(TOP.glob("config/**/*.toml")), ids=lambda file: str(file.relative_to(TOP)))
def test_every_configuration_file_can_be_used(file: Path) -> None:
    assert load(file, {}).devices


@of_each_page("page")
def test_every_json_block_is_json(page: Path) -> None:
    for block in fenced(page, "json"):
        json.loads(block)


# --- topics ----------------------------------------------------------------------------------------------------


@of_each_page("page")
def test_every_topic_fits_the_contract(page: Path) -> None:
    for text in code(page):
        for topic in re.findall(r"(?<![\w/.@:-])(?:lab2mqtt|\{root\})/([^\s'\"`|,;()\[\]]+)", text):
            assert TOPIC.match(topic.rstrip("/")) or topic.endswith((".yaml", ".toml")), topic


def test_the_drivers_pages_are_the_drivers() -> None:
    assert {page.stem for page in (TOP / "docs" / "devices").glob("*.md")} == set(DRIVERS)
    assert set(DRIVERS.values()) == set(plugins.names())


@pytest.mark.parametrize("page", ["docs/contract.md", "CHANGELOG.md"])
def test_the_commands_are_all_listed(page: str) -> None:
    lines = (TOP / page).read_text(encoding="utf-8").splitlines()
    assert any(set(commands()) - {"run"} <= set(re.findall(r"`(\w+)`", line)) for line in lines)
