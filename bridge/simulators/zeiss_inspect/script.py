"""What the script makes of a text message: a request, an answer in its own words, or an exception of Python's.

The script looks into whatever JSON gave it with Python's `in` and `[]`, and that shows: a list is asked for the
word `image`, a number breaks it. Where it breaks, the connection is closed with 1011 and nothing was imported.
"""

import json
from dataclasses import dataclass

MALFORMED = "Error: Malformed JSON message."


class Refused(Exception):
    """The script answers with an error, which is the text of this exception."""


class Broken(Exception):
    """The script raises where nobody catches: the connection ends with 1011."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Import an image into a measurement series; the script checks no types."""

    file: object
    series: object
    focal_length: object


@dataclass(frozen=True, slots=True)
class ElementsRequest:
    """Import elements; neither the type nor the value of the mode is checked."""

    file: object
    mode: object


Request = ImageRequest | ElementsRequest


def understood(text: str) -> Request | str:
    """The request that a message holds, or the answer of a message that asks for no import.

    Of several requests in one message the image is the one that counts. Raises Refused or Broken, and
    RecursionError for what is nested too deep.
    """
    message = decoded(text)
    if _holds(message, "image"):
        return ImageRequest(*_parameters(message, "image", "file", "name", "focal_length"))
    if _holds(message, "elements"):
        return ElementsRequest(*_parameters(message, "elements", "file", "import_mode"))
    if _holds(message, "quit"):
        return "bye"  # and that is all: only the plain text ends anything
    raise Refused(f"Error: Unknown request:\n{message}")


def decoded(text: str) -> object:
    """JSON as Python reads it: NaN is a number, and of equal keys the last one counts."""
    try:
        message: object = json.loads(text)
        str(message).encode()  # the script prints it, and a lone surrogate ends that
        return message
    except json.JSONDecodeError:
        raise Refused(MALFORMED) from None
    except ValueError:  # that, or a whole number with too many digits
        raise Broken from None


def _parameters(message: object, kind: str, *keys: str) -> list[object]:
    if not isinstance(message, dict):
        raise Broken  # ["image"]["image"]
    parameters = message[kind]
    for key in keys:
        if not _holds(parameters, key):
            raise Refused(f"Error: Missing parameter '{key}' in '{kind}' request.")
    if not isinstance(parameters, dict):
        raise Broken
    return [parameters[key] for key in keys]


def _holds(container: object, key: str) -> bool:
    """Python's `key in container`."""
    if isinstance(container, dict | list | str):
        return key in container
    raise Broken
