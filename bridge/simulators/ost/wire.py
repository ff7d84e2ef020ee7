"""What the server says, and to whom: broadcasts to every connection, logs, and a record of what was executed."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol

from bridge.simulators.ost.frames import JsonObject, encoded, now
from bridge.simulators.ost.words import logged

LOG_LIMIT = 1000  # entries that a dump shows


class Listener(Protocol):
    """A connection, as far as it is talked to."""

    remote: str

    def send(self, message: str) -> None: ...


@dataclass(slots=True)
class Wire:
    """All connected clients with their languages. Who is not logged in hears the broadcasts, too."""

    clients: dict[Listener, str] = field(default_factory=dict)
    logs: deque[JsonObject] = field(default_factory=lambda: deque(maxlen=LOG_LIMIT))
    executed: deque[JsonObject] = field(default_factory=lambda: deque(maxlen=10_000))
    executions: Counter[str] = field(default_factory=Counter)  # by module/property/element
    sent: Counter[str] = field(default_factory=Counter)  # frames by root key

    def broadcast(self, root: str, body: object) -> None:
        self.frame({root: body})

    def frame(self, frame: JsonObject) -> None:
        self.sent[min(frame)] += 1
        if self.clients:
            text = encoded(frame)
            for client in self.clients:
                client.send(text)

    def log(self, origin: str, level: int, text: str, only: Listener | None = None) -> None:
        """Level 0 debug, 1 info, 2 warning, 3 error; to everybody in his language, or to one client."""
        self.logs.append({"c": origin, "d": now(" "), "l": level, "t": text})
        for client, language in self.clients.items():
            if only is None or client is only:
                entry = {"c": origin, "d": now(), "l": level, "t": logged(text, language)}
                client.send(encoded({"l": entry}))

    def record(self, module: str, prop: str, element: str, value: object, command: str) -> None:
        """Remember that a set was executed (not that it was asked for)."""
        self.executions["/".join(filter(None, (module, prop, element)))] += 1
        self.executed.append(
            {
                "module": module,
                "property": prop,
                "element": element,
                "value": value,
                "command": command,
                "time": time.time(),
            }
        )
