"""What is heard as a table on the terminal, drawn again in place by rich (the extra `demo`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bridge.cli.picture import Device, Picture, Point

FRESH = 1.5  # seconds that a change is bright
LEAST = 16  # lines for what changes, however many stand above it
WIDE = 100  # columns from which on there is room for names and ages
BARS = "▁▂▃▄▅▆▇█"
KINDS = {"link": "yellow", "event": "magenta", "command": "cyan", "answer": "green"}
STATES = {"ready": "green", "online": "green", "offline": "red", "gone": "red"}


class Screen:
    """The whole terminal, until `close` gives it back. `wall`: the picture's clock as seconds since the epoch.

    `above` stands still, so that it can be selected and copied; what lies below is written anew by each `refresh`.
    """

    covers: ClassVar[bool] = True

    def __init__(
        self,
        picture: Picture,
        wall: Callable[[float], float],
        title: str,
        above: Sequence[str] = (),
        *,
        everything: bool = False,
        console: Console | None = None,
    ) -> None:
        self._picture, self._wall, self._everything = picture, wall, everything
        self._title, self._above = title, above
        self._console = console or Console()
        self._size: tuple[int, int] | None = None
        self._top = 0  # the first line that changes
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def refresh(self, now: float) -> None:
        """Draw what is known now."""
        self._picture.changed.clear()
        console = self._console
        if self._size != (size := (console.width, console.height)):
            self._size = size
            console.clear()
            text = [part for line in self._above for part in folded(line, console.width)]
            above = console.render_lines(Text("\n".join([*text, ""] if text else [])))
            self._top = min(len(above), max(console.height - LEAST, 0)) if text else 0
            if 0 < self._top < len(above):
                more = _line(f"… and {len(above) - self._top} lines more, in a higher window", "dim")
                above[self._top - 1 :] = console.render_lines(more)
            console.update_screen_lines(above[: self._top])
        height = console.height - self._top
        options = console.options.update(height=None)
        console.update_screen_lines(console.render_lines(self.drawn(now, height), options)[:height], 0, self._top)

    def close(self, now: float) -> None:
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)

    def drawn(self, now: float, height: int) -> Group:
        """So many lines: links, points, and what happened last."""
        head, happened = self._head(now), self._happened(6 if height >= LEAST + 4 else 3)
        frame = 3  # an empty line, the names of the columns, and a rule
        return Group(*head, self._table(now, max(height - len(head) - len(happened) - frame, 1)), *happened)

    def _head(self, now: float) -> list[Text]:
        picture = self._picture
        title = _line(self._title, "bold")
        for bridge, status in sorted(picture.bridges.items()):
            title.append(f"   bridge {bridge} ", "dim").append(status, STATES.get(status, "yellow"))
        title.append(f"   {picture.rate(now):.0f} messages/s, {picture.messages} in all", "dim")
        return [title, *(_device(name, device) for name, device in sorted(picture.devices.items()))]

    def _table(self, now: float, room: int) -> Table:
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1), show_edge=False)
        wide = self._console.width >= WIDE
        table.add_column("point", no_wrap=True, ratio=4)
        if wide:
            table.add_column("name", no_wrap=True, ratio=3, style="dim")
        table.add_column("value", no_wrap=True, ratio=2, justify="right")
        table.add_column("trend", no_wrap=True, width=16 if wide else 8, style="blue")
        if wide:
            table.add_column("changed", no_wrap=True, width=10, justify="right", style="dim")
        rows = chosen(self._picture.points.values(), room, everything=self._everything)
        for point in rows:
            age = None if point.changed is None else now - point.changed
            style = "yellow" if point.quality != "good" else "bold green" if (age or FRESH) < FRESH else ""
            table.add_row(
                Text(f"{point.device}/", "dim").append(point.key, "default not dim"),
                *([Text(point.name)] if wide else []),
                Text(point.text, style),
                bars(point.trail)[-16 if wide else -8 :],
                *(["" if age is None else ago(age)] if wide else []),
            )
        for _ in range(room - len(rows)):  # so that what stands below keeps its place
            table.add_row()
        return table

    def _happened(self, count: int) -> list[Text]:
        last = list(self._picture.recent)[-count:]
        lines = [Text("")]
        for happening in last:
            moment = datetime.fromtimestamp(self._wall(happening.at)).astimezone()
            line = _line(f"{moment:%H:%M:%S} ", "dim")
            lines.append(line.append(happening.text, KINDS.get(happening.kind, "dim")))
        return lines + [Text("")] * (count - len(last))


def chosen(points: Iterable[Point], room: int, *, everything: bool = False) -> list[Point]:
    """The points that get a row: what changed last, then the others; each in its place, so that rows stand still.

    Points that a device does not show by default are left out, unless `everything` is asked for.
    """
    known = sorted(
        (point for point in points if point.heard and (point.enabled or everything)), key=lambda point: point.order
    )
    known.sort(key=lambda point: (point.changed is None, -(point.changed or 0.0), point.value is None))
    return sorted(known[:room], key=lambda point: point.order)


def folded(line: str, width: int) -> list[str]:
    """A command (it is indented) in lines that a shell still takes as one when they are copied."""
    if len(line) <= width or not line.startswith("  "):
        return [line]
    lines = [""]
    for word in re.findall(r"'[^']*'|\S+", line):
        parts = re.split(r"(?<=,) ", word) if word.startswith("'{") else [word]  # JSON may have a new line here
        for number, part in enumerate(parts):
            if len(lines[-1]) + len(part) + 4 > width and lines[-1].strip():
                lines[-1] += "" if number else " \\"
                lines.append("    " + part)
            else:
                lines[-1] += (" " if lines[-1] else "  ") + part
    return lines


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
