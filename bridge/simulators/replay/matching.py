"""Is this what the client said in the recording? Ids may differ, and what was blacked out fits anything."""

import json
import re
from collections.abc import Mapping

HIDDEN = "***"  # what `record` puts in place of a secret
IDS = frozenset({"id", "request_id", "requestId", "req_id", "message_id", "msg_id", "correlation_id"})
Ids = dict[tuple[str, object], object]  # the client's ids, by the member's name and the recorded id


def exactly(recorded: object, given: str | bytes) -> bool:
    return recorded == given


def alike(recorded: object, given: str | bytes) -> Ids | None:
    """The same request but for its ids, which are returned; None: it is another."""
    if not (isinstance(recorded, str) and isinstance(given, str)):
        return None
    mine, yours = decoded(recorded), decoded(given)
    if not (isinstance(mine, Mapping) and isinstance(yours, Mapping)):
        return {} if _fits(recorded if mine is None else mine, given if yours is None else yours) else None
    if mine.keys() != yours.keys():
        return None
    ids: Ids = {}
    for name, value in mine.items():
        if name in IDS and isinstance(value, str | int) and isinstance(yours[name], str | int):
            if value != yours[name]:
                ids[name, value] = yours[name]
        elif not _fits(value, yours[name]):
            return None
    return ids


def ids_of(message: object) -> frozenset[tuple[str, object]]:
    """The ids in a message, with their names."""
    if not isinstance(message, str) or not any(f'"{name}"' in message for name in IDS):
        return frozenset()
    found = decoded(message)
    if not isinstance(found, Mapping):
        return frozenset()
    return frozenset(
        (name, value) for name, value in found.items() if name in IDS and isinstance(value, str | int)
    )


def renamed(text: str, ids: Ids) -> str:
    """A recorded answer with the client's ids in place of the recorded ones."""
    for name in {name for name, _ in ids}:

        def replaced(found: re.Match[str], name: str = name) -> str:
            recorded = decoded(found[2])
            return found[1] + json.dumps(ids.get((name, recorded), recorded))

        member = rf'("{re.escape(name)}"\s*:\s*)("(?:[^"\\]|\\.)*"|-?\d+)'
        text = re.sub(member, replaced, text, count=1)
    return text


def decoded(text: str) -> object:
    """JSON, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _fits(recorded: object, given: object) -> bool:
    match recorded, given:
        case str(), _ if recorded == HIDDEN:
            return True
        case str(), str():
            parts = map(re.escape, recorded.split(HIDDEN))
            return re.fullmatch(".*".join(parts), given, re.DOTALL) is not None
        case Mapping(), Mapping():
            return recorded.keys() == given.keys() and all(_fits(recorded[key], given[key]) for key in recorded)
        case list(), list():
            return len(recorded) == len(given) and all(map(_fits, recorded, given))
    return recorded == given
