"""`check` and `schema`, and how every command is told where its configuration is."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli import Exit

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bridge.settings import Settings

Subparsers = argparse._SubParsersAction  # its only name


def register(commands: Subparsers[argparse.ArgumentParser]) -> None:
    check = commands.add_parser(
        "check",
        help="check a configuration and print what is in effect",
        description="Reads the configuration like `run` does, prints every value in effect (secrets masked) and "
        "warns of what is valid but unwise. Nothing is connected. Exit code 78 if it cannot be used.",
    )
    add_options(check)
    check.set_defaults(run=_check)
    schema = commands.add_parser(
        "schema",
        help="print the configuration's JSON schema",
        description="Prints the JSON schema of the configuration, with the keys of every installed driver, for "
        "editors that complete and check TOML.",
    )
    schema.add_argument("--markdown", action="store_true", help="as a page for people (docs/configuration.md)")
    schema.set_defaults(run=_schema)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options by which a command is told its configuration; `read` takes what they give."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (TOML); without it everything comes from LAB2MQTT_… variables",
    )
    parser.add_argument(
        "--secrets",
        type=Path,
        metavar="DIR",
        help="directory with files such as mqtt__password (default: $LAB2MQTT_SECRETS_DIR, "
        "$CREDENTIALS_DIRECTORY, /run/secrets)",
    )


def read(options: argparse.Namespace) -> Settings:
    """The settings that `add_options` points to; ConfigurationError if they cannot be used."""
    from bridge.settings import load

    return load(options.config, secrets=options.secrets)


def _check(options: argparse.Namespace) -> int:
    from bridge.settings_advice import advice

    settings = read(options)
    print(f"# in effect, digest {settings.digest()}", *toml(settings.masked()), sep="\n")
    for line in advice(settings, options.config, options.secrets):
        print(f"warning: {line}", file=sys.stderr)
    return Exit.OK


def _schema(options: argparse.Namespace) -> int:
    from bridge import plugins
    from bridge.settings_reference import reference
    from bridge.settings_schema import schema

    models: dict[str, type[BaseModel]] = {}
    for name in plugins.names():
        try:
            models[name] = plugins.load(name).options
        except plugins.PluginError as error:
            print(f"warning: {error}", file=sys.stderr)
    document = schema(models)
    print(reference(document) if options.markdown else json.dumps(document, indent=2, ensure_ascii=False))
    return Exit.OK


# --- TOML, which the standard library reads but does not write -----------------------------------------


def toml(table: Mapping[str, object], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The lines of a TOML document; None, which TOML does not know, is left out."""
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping) and value}
    values = {key: value for key, value in table.items() if value is not None and key not in tables}
    if path and (values or not tables):
        yield ""
        yield f"[{'.'.join(_key(level) for level in path)}]"
    for key, value in values.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from toml(value, (*path, key))


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _value(text)


def _value(value: object) -> str:
    match value:
        case Mapping():
            items = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
            return f"{{ {items} }}" if items else "{}"
        case list():
            return f"[{', '.join(_value(item) for item in value)}]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")
