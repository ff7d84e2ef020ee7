"""What the server's plain-text answers mean. Only their constant beginnings count: the rest echoes the request."""

from __future__ import annotations

from bridge.model import Outcome

EXCERPT = 500  # characters of an answer that are kept; one that echoes a message may have a million

# Before the server gives these, it has done nothing. Whatever else it calls an error may have had an effect.
_REJECTED = (
    "Error: Malformed JSON message.",
    "Error: Missing parameter '",
    "Error: Unknown request:",
    "Error: Image file ",
    "Error: Elements file ",
)


def outcome(text: str, success: str) -> Outcome:
    """Done only for the exact text of success; unknown for what neither is that nor calls itself an error."""
    if text == success:
        return Outcome.DONE
    if text.startswith(_REJECTED):
        return Outcome.REJECTED
    return Outcome.FAILED if text.startswith("Error:") else Outcome.UNKNOWN


def excerpt(text: str) -> str:
    """On one line, and not too long."""
    line = " ".join(text[: 4 * EXCERPT].split())
    return line if len(line) <= EXCERPT else f"{line[:EXCERPT]}…"
