"""What of the settings is secret: by its type, or by its name where a driver or a preset has it as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel, SecretStr

from bridge.secret_names import WORDS

SECRET_NAME = re.compile(rf"{WORDS}|headers", re.IGNORECASE)


def secrets_of(value: object) -> Iterator[str]:
    """All secrets in settings, or in a part of them; none is empty."""
    match value:
        case SecretStr():
            yield from filter(None, [value.get_secret_value()])
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_of(getattr(value, name))
        case dict():
            for item in value.values():
                yield from secrets_of(item)
