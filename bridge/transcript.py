"""(being written)"""

from collections import deque


class Recent:
    def __init__(self, limit: int) -> None:
        self._items: deque[tuple[float, str, str | bytes]] = deque(maxlen=limit)

    def add(self, now: float, direction: str, frame: str | bytes) -> None:
        self._items.append((now, direction, frame))

    def render(self) -> list[str]:
        return [f"{at:.3f} {way} {frame[:200]!r}" for at, way, frame in self._items]
