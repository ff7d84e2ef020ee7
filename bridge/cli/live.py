"""What is heard as a table on the terminal, drawn again in place by rich (the extra `demo`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bridge.cli.picture import Device, Picture, Point

FRESH = 1.5  # seconds that a change is bright
HAPPENINGS = 6  # lines for what happened last
BARS = "▁▂▃▄▅▆▇█"
KINDS = {"link": "yellow", "event": "magenta", "command": "cyan", "answer": "green"}
STATES = {"ready": "green", "online": "green", "offline": "red", "gone": "red"}


class Screen:
    """The whole terminal, until `close` gives it back. `wall`: the picture's clock as seconds since the epoch."""

    covers: ClassVar[bool] = True

    def __init__(
        self,
        picture: Picture,
        wall: Callable[[float], float],
        title: str,
        below: Sequence[str] = (),
        *,
        everything: bool = False,
    ) -> None:
        self._picture, self._wall, self._everything = picture, wall, everything
        self._title, self._below = title, below
        self._live = Live(console=Console(), screen=True, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def refresh(self, now: float) -> None:
        """Draw what is known now."""
        self._picture.changed.clear()
        self._live.update(self.drawn(now, self._live.console.size.height), refresh=True)

    def close(self, now: float) -> None:
        self._live.stop()

    def drawn(self, now: float, height: int) -> Group:
        head, tail = self._head(now), [*self._happened(), *self._hints()]
        frame = 3  # an empty line, the table's head and its rule
        room = height - len(head) - len(tail) - frame
        return Group(*head, self._table(now, max(room, 1)), *tail)

    def _head(self, now: float) -> list[Text]:
        picture = self._picture
        title = _line(self._title, "bold")
        for bridge, status in sorted(picture.bridges.items()):
            title.append(f"   bridge {bridge} ", "dim").append(status, STATES.get(status, "yellow"))
        title.append(f"   {picture.rate(now):.0f} messages/s, {picture.messages} in all", "dim")
        return [title, *(_device(name, device) for name, device in sorted(picture.devices.items()))]

    def _table(self, now: float, room: int) -> Table:
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1), show_edge=False)
        table.add_column("point", no_wrap=True, ratio=3)
        table.add_column("name", no_wrap=True, ratio=3, style="dim")
        table.add_column("value", no_wrap=True, ratio=2, justify="right")
        table.add_column("trend", no_wrap=True, width=16, style="blue")
        table.add_column("changed", no_wrap=True, width=10, justify="right", style="dim")
        rows = chosen(self._picture.points.values(), room, everything=self._everything)
        for point in rows:
            age = None if point.changed is None else now - point.changed
            style = "yellow" if point.quality != "good" else "bold green" if (age or FRESH) < FRESH else ""
            table.add_row(
                Text(f"{point.device}/", "dim").append(point.key, "default not dim"),
                Text(point.name),
                Text(point.text, style),
                bars(point.trail),
                "" if age is None else ago(age),
            )
        for _ in range(room - len(rows)):  # so that what stands below keeps its place
            table.add_row()
        return table

    def _happened(self) -> list[Text]:
        last = list(self._picture.recent)[-HAPPENINGS:]
        lines = [Text("")]
        for happening in last:
            moment = datetime.fromtimestamp(self._wall(happening.at)).astimezone()
            line = _line(f"{moment:%H:%M:%S} ", "dim")
            lines.append(line.append(happening.text, KINDS.get(happening.kind, "dim")))
        return lines + [Text("")] * (HAPPENINGS - len(last))

    def _hints(self) -> list[Text]:
        return [Text(""), *(_line(hint, "") for hint in self._below)] if self._below else []


def chosen(points: Iterable[Point], room: int, *, everything: bool = False) -> list[Point]:
    """The points that get a row: what changed last, then the others; each in its place, so that rows stand still.

    Points that a device does not show by default are left out, unless `everything` is asked for.
    """
    known = sorted(
        (point for point in points if point.heard and (point.enabled or everything)), key=lambda point: point.order
    )
    known.sort(key=lambda point: float("-inf") if point.changed is None else point.changed, reverse=True)
    return sorted(known[:room], key=lambda point: point.order)


def bars(numbers: Iterable[float]) -> str:
    """A trend as little bars between the least and the greatest of these numbers; "" for one that stands still."""
    values = list(numbers)
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    if low == high:
        return ""
    return "".join(BARS[min(int((value - low) / (high - low) * len(BARS)), len(BARS) - 1)] for value in values)


def ago(age: float) -> str:
    """An age in seconds as a person says it."""
    if age < FRESH:
        return "now"
    return (
        f"{age:.0f} s ago" if age < 60 else f"{age / 60:.0f} min ago" if age < 3600 else f"{age / 3600:.0f} h ago"
    )


def _device(name: str, device: Device) -> Text:
    line = _line(f"{name} ", "bold").append(device.state, STATES.get(device.state, "yellow"))
    if device.state != "ready" and device.reason:
        line.append(f"  {device.reason}", "dim")
    elif device.round_trip is not None:
        line.append(f"  round trip {device.round_trip:.1f} ms", "dim")
    for group, status in sorted(device.groups.items()):
        line.append(f"  {group} ", "dim").append("●", STATES.get(status, "yellow"))
    return line


def _line(text: str, style: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    return line.append(text, style)
