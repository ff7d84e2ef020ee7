"""What is heard as a table on the terminal, drawn again in place by rich (the extra `demo`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bridge.cli.picture import Picture, Point

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

FRESH = 1.5  # seconds that a change is bright
HAPPENINGS = 6  # lines
BARS = "▁▂▃▄▅▆▇█"
COLOURS = {"link": "yellow", "event": "magenta", "command": "cyan", "answer": "green", "note": "dim"}
STATES = {"ready": "green", "online": "green", "offline": "red", "gone": "red"}


class Table_:
    pass


class Live:
    """Rows keep their places: only points that changed come in, and the longest quiet ones make room for them."""

    def __init__(
        self, picture: Picture, title: str, below: Sequence[str] = (), *, everything: bool = False
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._picture, self._title, self._below, self._everything = picture, title, below, everything
        self._console: Console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def refresh(self, now: float) -> None:
        self._picture.changed.clear()
        self._live.update(self._drawn(now), refresh=True)

    def close(self, now: float) -> None:
        """Give the screen back as it was."""
        self._live.stop()

    def _drawn(self, now: float) -> RenderableType:
        from rich.console import Group

        head, tail = self._head(now), [*self._happened(now), *self._tail()]
        room = self._console.size.height - len(head) - len(tail) - 4
        return Group(*head, self._points(now, max(room, 3)), *tail)

    def _head(self, now: float) -> list[Text]:
        from rich.text import Text

        picture = self._picture
        title = Text(self._title, "bold")
        title.append(f"   {picture.rate(now):.0f} messages/s, {picture.messages} in all", "dim")
        for bridge, status in sorted(picture.bridges.items()):
            title.append(f"   bridge {bridge} ").append(status, STATES.get(status, "yellow"))
        lines = [title]
        for name, device in sorted(picture.devices.items()):
            line = Text(f"{name} ", "bold").append(device.state, STATES.get(device.state, "yellow"))
            if device.state != "ready" and device.reason:
                line.append(f"  {device.reason}", "dim")
            if device.round_trip is not None:
                line.append(f"  round trip {device.round_trip:.1f} ms", "dim")
            for group, status in sorted(device.groups.items()):
                line.append(f"  {group} ", "dim").append("●", STATES.get(status, "yellow"))
            lines.append(line)
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines

    def _points(self, now: float, room: int) -> Table:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1))
        table.add_column("point", no_wrap=True, ratio=3)
        table.add_column("name", no_wrap=True, ratio=3, style="dim")
        table.add_column("value", no_wrap=True, ratio=2, justify="right")
        table.add_column("trend", no_wrap=True, width=16, style="blue")
        table.add_column("changed", no_wrap=True, width=10, justify="right", style="dim")
        for point in chosen(self._picture.points.values(), room, everything=self._everything):
            age = None if point.changed is None else now - point.changed
            style = "bold green" if age is not None and age < FRESH else ""
            if point.quality != "good":
                style = "yellow"
            table.add_row(
                f"[dim]{point.device}/[/]{point.key}",
                point.name,
                f"[{style}]{point.text}[/]" if style else point.text,
                bars(point.trail),
                "" if age is None else ago(age),
            )
        return table
