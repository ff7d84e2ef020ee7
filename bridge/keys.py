"""The keys of points: their levels escaped for MQTT, reversibly."""

from __future__ import annotations

import re
from urllib.parse import unquote


def point_key(*levels: str) -> str:
    """The key of a point: its levels percent-escaped, reversibly, and joined by "/".

    It is the one form of a key: in topics, in the configuration and in the code. Escaped are what MQTT or this
    joining would misread (+ # / % and control characters) and a leading _ or $; an empty level is a bare %.
    """
    return "/".join(_escape(level) for level in levels)


def key_levels(key: str) -> tuple[str, ...]:
    """The levels that `point_key` was given."""
    return tuple("" if level == "%" else unquote(level, errors="surrogatepass") for level in key.split("/"))


_SPECIAL = re.compile(r"[+#/%\x00-\x1f\x7f-\x9f\ud800-\udfff]|^[_$]")


def _escape(level: str) -> str:
    return _SPECIAL.sub(lambda found: _percent(found[0]), level) or "%"


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
