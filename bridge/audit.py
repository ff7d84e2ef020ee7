"""The audit log: every command and its outcome, on a logger of its own."""

from __future__ import annotations

import structlog

from bridge.commands import Ticket
from bridge.intake import Origin
from bridge.model import Reply

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


def audit(ticket: Ticket, reply: Reply) -> None:
    """One line for each answer, those that are not final among them; told as what it was asked, with its value."""
    asked = [origin.asked for origin in ticket.origins if isinstance(origin, Origin)]
    log.info(
        "command",
        id=reply.id,
        topic=asked[0] if asked else ticket.point.key,
        value=ticket.command.value,
        args=ticket.command.args or None,
        outcome=reply.outcome.value,
        detail=reply.detail,
    )
