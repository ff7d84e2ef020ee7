"""Finds a driver by its name among the entry points of the group `lab2mqtt.drivers`, and imports only that one."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, TypeAlias

from bridge.driver import CONTRACT, Plugin

if TYPE_CHECKING:
    from pydantic import BaseModel

GROUP = "lab2mqtt.drivers"

AnyPlugin: TypeAlias = "Plugin[BaseModel]"


class PluginError(ValueError):
    """A driver is unknown, cannot be imported, or was written for another contract. One sentence, for the user."""


def names() -> list[str]:
    """The drivers that are installed, ours and others', by name; none of them is imported."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load(name: str) -> AnyPlugin:
    """The driver of this name; PluginError says why there is none."""
    plugin = _import(_entry(name))
    if not isinstance(plugin, Plugin):
        raise PluginError(f"driver {name!r} is broken: its entry point is no Plugin but {type(plugin).__name__}")
    if plugin.contract != CONTRACT:
        raise PluginError(
            f"driver {name!r} was written for contract {plugin.contract}; this bridge has {CONTRACT}"
        )
    return plugin


def _entry(name: str) -> EntryPoint:
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    match list(found.values()):
        case [entry]:
            return entry
        case []:
            raise PluginError(f"unknown driver {name!r} (installed: {', '.join(names()) or 'none'})")
        case _:
            raise PluginError(f"driver {name!r} is offered more than once: {', '.join(sorted(found))}")


def _import(entry: EntryPoint) -> object:
    try:
        plugin: object = entry.load()
    except Exception as error:  # other people's module may raise anything
        raise PluginError(f"driver {entry.name!r} cannot be imported: {type(error).__name__}: {error}") from error
    return plugin
