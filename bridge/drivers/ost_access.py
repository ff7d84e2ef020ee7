"""Who we are to an OST server: grants, logins, and what a refused command leads to.

A grant belongs to the network address, not to the connection: another client of the same address takes it away by
connecting, logging in or leaving. With a login it is asked for again; without one only a new connection helps, and
only where everybody may write (server grant 0).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bridge.driver import Close, Effect, Hold, Send, Verdict
from bridge.drivers import ost_frames as frames
from bridge.drivers.ost_model import Dump
from bridge.drivers.ost_options import OstOptions
from bridge.drivers.ost_turns import RETRY, Turn
from bridge.drivers.ost_values import text
from bridge.model import Command, Condition, Outcome, Reply

_ALL = "1"  # the grant to write; "0" and "" read only, "-1" nothing
_CARRIED = 10.0  # seconds for a new connection to try a refused command again
_LOST = (
    "OST took the right to write away: another client of the same network address connected, left or logged in "
    "(OST keeps grants per address)"
)
_READ_ONLY = "OST lets this connection only read"
_NO_LOGIN = f"{_READ_ONLY}: give login_user and login_password"
_NEEDS_LOGIN = "OST shows nothing without a login: give login_user and login_password"


class Access:
    """`asking`: a login is on its way."""

    def __init__(self, options: OstOptions, carried: Sequence[Command]) -> None:
        self._options = options
        self._carried = list(carried)  # refused on the last connection
        self._again: list[tuple[Command, float]] = []  # to be tried once more, and until when
        self._asked: list[bool] = []  # dumps on their way; True: as the answer to a login
        self.grant = ""
        self._server = ""
        self._condition = ""
        self._reconnect = False

    @property
    def asking(self) -> bool:
        return any(self._asked) or self._reconnect

    def begin(self, now: float) -> list[Effect]:
        self._again = [(command, now + _CARRIED) for command in self._carried]
        return self.ask()

    def ask(self) -> list[Effect]:
        self._asked.append(False)
        return [Send(frames.dump(self._options.language))]

    def _log_in(self) -> list[Effect]:
        user, password = self._options.login_user, self._options.login_password
        if user is None or password is None or any(self._asked):
            return []
        self._asked.append(True)
        return [Send(frames.login(user, password.get_secret_value(), self._options.language))]

    @property
    def _has_login(self) -> bool:
        return self._options.login_user is not None

    # --- dumps tell the grant --------------------------------------------------------------------------

    def dumped(self, dump: Dump) -> list[Effect]:
        """A dump came, of its own or as the answer to a login."""
        login = self._asked.pop(0) if self._asked else False
        had = self.grant
        self.grant, self._server = text(dump.grant), text(dump.grant_server)
        if self.grant != _ALL and not login and self._has_login:
            return self._log_in()
        if dump.modules is None:
            return self._shut_out(login)
        if self.grant == _ALL:
            return self._tell("", "")
        if self._was_lost(had):
            return self._tell("grant_lost", _LOST)
        reason = f"{_READ_ONLY}, also as {self._options.login_user}" if self._has_login else _NO_LOGIN
        return self._tell("read_only", reason)

    def _was_lost(self, had: str) -> bool:
        """We could write before, or everybody can."""
        return not self._has_login and (had == _ALL or self._server == "0")

    def _shut_out(self, login: bool) -> list[Effect]:
        reason = f"OST refused the login of {self._options.login_user}" if login else _NEEDS_LOGIN
        failed = [Reply(command.id, Outcome.FAILED, reason) for command, _ in self._again]
        self._again.clear()
        return [*failed, Close(reason, Verdict.STUBBORN)]

    def _tell(self, condition: str, reason: str) -> list[Effect]:
        if condition == self._condition:
            return []
        self._condition = condition
        return [Condition(condition, reason)]

    # --- commands that need one ------------------------------------------------------------------------

    def refusal(self) -> str | None:
        """Why a command need not be sent; None: it may work."""
        if self._condition != "read_only":
            return None
        return _READ_ONLY if self._has_login else _NO_LOGIN

    def denied(self, turn: Turn, now: float) -> list[Effect]:
        """The server refused a command for want of a grant: one more try, if it is fresh."""
        command = turn.command
        if turn.again or now - turn.sent_at > RETRY:
            twice = " twice" if turn.again else ""
            return [Reply(command.id, Outcome.FAILED, f"OST refused it{twice}: {turn.denied}"[:500])]
        if self._has_login:
            self._again.append((command, now + RETRY))
            return [*self._tell("grant_lost", _LOST), *self._log_in()]
        if self._server == "0":
            self._reconnect = True
            return [*self._tell("grant_lost", _LOST), Hold(command.id, now + _CARRIED)]
        return [
            *self._tell("read_only", _NO_LOGIN),
            Reply(command.id, Outcome.FAILED, f"OST refused it: {turn.denied}"[:500]),
        ]

    def conclude(self) -> list[Effect]:
        """No command is on its way any more: connect again, if that gives the grant back."""
        return [Close(_LOST, Verdict.AGAIN)] if self._reconnect else []

    def retries(self) -> tuple[list[Command], list[Effect]]:
        """Commands to be tried once more, if we may; answers for them, if not."""
        commands = [command for command, _ in self._again]
        self._again.clear()
        if self.grant == _ALL:
            return commands, []
        return [], [Reply(command.id, Outcome.FAILED, f"OST refused it: {_LOST}") for command in commands]

    def expired(self, now: float) -> Iterator[Reply]:
        """Answers for commands that are too old to be tried once more: they never were carried out."""
        for command, until in [entry for entry in self._again if entry[1] <= now]:
            self._again.remove((command, until))
            yield Reply(
                command.id, Outcome.FAILED, "OST refused it; it took too long to get the right to write back"
            )

    @property
    def due(self) -> float:
        return min((until for _, until in self._again), default=math.inf)
