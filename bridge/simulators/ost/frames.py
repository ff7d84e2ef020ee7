"""The frames of OST as text: the root keys literally, keys in alphabetical order, numbers as Qt writes them."""

import json
import math
from datetime import datetime
from typing import Final

JsonObject = dict[str, object]

# The second half of a key is part of it, and some end in a space.
VALUES: Final = "ea"
STATE: Final = "ps-only property state"
PROPERTY: Final = "ap-dump all property data"
MODULE: Final = "aa-dump all data"
PROPERTY_GONE: Final = "dp-delete/remove property"
MODULE_GONE: Final = "dm-delete/remove module"
ELEMENT_GONE: Final = "de-delete/remove element"
LINE_NEW: Final = "gc-grid new line "
LINE_CHANGED: Final = "gu-grid update line"
LINE_GONE: Final = "gd-grid delete line"
GRID_EMPTY: Final = "gr-grid reset"
LIST: Final = "lc-lov create"
GLOBAL_LIST: Final = "lu-lov update"
PROFILE_SAVED: Final = "fs-profile saved"
PROFILE_LOADED: Final = "fl-profile loaded"
PROFILE_CHANGED: Final = "fc-profile changed"
CONTROLLER: Final = "uc-update controller data"


def encoded(frame: JsonObject) -> str:
    text = json.dumps(_plain(frame), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="replace").decode()  # a client can have said half a surrogate pair


def _plain(value: object) -> object:
    """Qt writes a whole number without a point, and null for what is no number."""
    match value:
        case float():
            if not math.isfinite(value):
                return None
            return int(value) if value.is_integer() and abs(value) < 1e15 else value
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
    return value


def now(separator: str = "T") -> str:
    """Local time without a zone, in milliseconds."""
    return datetime.now().isoformat(separator, timespec="milliseconds")
