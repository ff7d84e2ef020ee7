"""What in a recording answers what: which replies followed a request, and which pong belongs to a ping."""

from bridge.simulators.replay.matching import Ids, alike, exactly, ids_of
from bridge.simulators.replay.recording import MESSAGES, Line, Recording

SOON = 1.0  # seconds after a request in which its answers come, where nothing says it better


class Score:
    """The lines of a connection, and what is asked about them. Indices are those of `lines`."""

    def __init__(self, recording: Recording) -> None:
        self.lines = recording.lines
        self.requests = [i for i, line in enumerate(self.lines) if line.dir == ">" and line.kind in MESSAGES]
        self.pings = self._pings()
        self._answers: dict[int, list[int]] = {}

    def find(self, message: str | bytes, among: list[int]) -> tuple[int, Ids] | None:
        """The first of these requests that is this message; one with the same ids is better than one with others."""
        for index in among:
            if exactly(self.lines[index].data, message):
                return index, {}
        for index in among:
            if (ids := alike(self.lines[index].data, message)) is not None:
                return index, ids
        return None

    def nearest(self, message: str | bytes, position: int) -> tuple[int, Ids] | None:
        """The same request anywhere: the latest one before this position, else the first behind it."""
        before = [index for index in self.requests if index < position]
        return self.find(message, before[::-1]) or self.find(message, self.requests[len(before) :])

    def answers(self, request: int) -> list[int]:
        """The messages that answer a request: those with its id, or those that followed it at once."""
        if request not in self._answers:
            ids = ids_of(self.lines[request].data)
            self._answers[request] = self._with(ids, request) if ids else self._behind(request)
        return self._answers[request]

    def _with(self, ids: dict[str, object], request: int) -> list[int]:
        return [
            index
            for index in range(request + 1, len(self.lines))
            if self._is_message(index) and ids.items() <= ids_of(self.lines[index].data).items()
        ]

    def _behind(self, request: int) -> list[int]:
        """Up to the next request; to the pong of a ping that followed, as that is a fence; or for a moment."""
        found: list[int] = []
        fence: int | None = None
        for index in range(request + 1, len(self.lines)):
            line = self.lines[index]
            if line.dir == ">" and line.kind in MESSAGES or index == fence:
                break
            if fence is None and line.dir == ">" and line.kind == "ping":
                fence = self.pings[index]
            if fence is None and line.at > self.lines[request].at + SOON:
                break
            if self._is_message(index):
                found.append(index)
        return found

    def _is_message(self, index: int) -> bool:
        line: Line = self.lines[index]
        return line.dir == "<" and line.kind in MESSAGES

    def _pings(self) -> dict[int, int | None]:
        """The client's pings, each with its pong if there is one."""
        found: dict[int, int | None] = {}
        waiting: dict[object, list[int]] = {}
        for index, line in enumerate(self.lines):
            if line.kind == "ping" and line.dir == ">":
                found[index] = None
                waiting.setdefault(line.data, []).append(index)
            elif line.kind == "pong" and line.dir == "<" and waiting.get(line.data):
                found[waiting[line.data].pop(0)] = index
        return found
