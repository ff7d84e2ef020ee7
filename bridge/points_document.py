"""The retained document under `points`: what users are told of a group, and what may be done with each point."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bridge import payload
from bridge.model import Argument, Category, Point


class Entry(Struct, omit_defaults=True):
    """One point, as users see it; without what is as usual."""

    kind: str
    name: str
    access: str = "read"  # read, write, call, event, or denied
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    urgent: bool = False
    dangerous: bool = False
    category: str = Category.PRIMARY.value
    enabled: bool = True


class PointsDocument(Struct, omit_defaults=True):
    """One group; `bridge.ghosts` reads it back in a later life."""

    group: str
    points: Mapping[str, Entry]  # by key
    name: str = ""  # of the group
    former: Mapping[str, str] = {}  # kinds by key: not declared any more, and not yet cleared

    def encode(self) -> bytes:
        return payload.json(self)


def entry(point: Point, access: str) -> Entry:
    """`access` comes from the rules, which a point does not know."""
    return Entry(
        kind=point.kind.value,
        name=point.name,
        access=access,
        unit=point.unit,
        minimum=point.minimum,
        maximum=point.maximum,
        step=point.step,
        choices=point.choices,
        arguments=point.arguments,
        urgent=point.urgent,
        dangerous=point.guarded,
        category=point.category.value,
        enabled=point.enabled,
    )
