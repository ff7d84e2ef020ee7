"""What in a recording answers what: which replies followed a request, and which pong belongs to a ping."""

from bridge.simulators.replay.matching import Ids, alike, exactly, ids_of
from bridge.simulators.replay.recording import MESSAGES, Line, Recording

SOON = 1.0  # seconds after a request in which its answers come, where nothing says it better


class Score:
    """The lines of a connection, and what is asked about them. Indices are those of `lines`."""

    def __init__(self, recording: Recording) -> None:
        self.lines = recording.lines
        self.requests = [i for i, line in enumerate(self.lines) if line.dir == ">" and line.kind in MESSAGES]
        self.pongs = self._pongs()
        self._answers: dict[int, list[int]] = {}
        self._replies: dict[tuple[str, object], list[int]] = {}  # messages of the device by the ids in them
        for index, line in enumerate(self.lines):
            if self._is_message(index):
                for id_ in ids_of(line.data):
                    self._replies.setdefault(id_, []).append(index)

    def find(self, message: str | bytes, among: list[int]) -> tuple[int, Ids] | None:
        """The first of these requests that is this message; one with the same ids comes before one with others."""
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
            known = {index for id_ in ids for index in self._replies.get(id_, ()) if index > request}
            self._answers[request] = sorted(known) or self._behind(request)
        return self._answers[request]

    def owed(self, request: int) -> int:
        """The last line that a pong behind this request waits for; -1: there is none.

        An answer that has the request's id and comes much later is made while other work goes on.
        """
        answers, at = self.answers(request), self.lines[request].at
        if ids_of(self.lines[request].data):
            answers = [index for index in answers if self.lines[index].at <= at + SOON]
        return max(answers, default=-1)

    def _behind(self, request: int) -> list[int]:
        """Up to the next request, or to the pong of a ping that followed (a fence); else one, and for a moment."""
        found: list[int] = []
        fence: int | None = None
        for index in range(request + 1, len(self.lines)):
            line = self.lines[index]
            if (line.dir == ">" and line.kind in MESSAGES) or index == fence:
                break
            if fence is None and line.dir == ">" and line.kind == "ping":
                fence = self.pongs[index]
            if found and fence is None and line.at > self.lines[request].at + SOON:
                break
            if self._is_message(index):
                found.append(index)
        return found

    def _is_message(self, index: int) -> bool:
        line: Line = self.lines[index]
        return line.dir == "<" and line.kind in MESSAGES

    def _pongs(self) -> dict[int, int]:
        """The client's pings with their pongs; the last line where there is none."""
        found: dict[int, int] = {}
        waiting: dict[object, list[int]] = {}
        for index, line in enumerate(self.lines):
            if line.kind == "ping" and line.dir == ">":
                found[index] = len(self.lines) - 1
                waiting.setdefault(line.data, []).append(index)
            elif line.kind == "pong" and line.dir == "<" and waiting.get(line.data):
                found[waiting[line.data].pop(0)] = index
        return found
