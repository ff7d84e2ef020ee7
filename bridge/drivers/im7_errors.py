"""What the IM7 reports as errors: a number, a message template and its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain

from msgspec import Struct

from bridge.drivers.im7_frames import mapping, plain, sequence, text, whole
from bridge.model import Json

NONE = 0
ENDPOINT_NOT_FOUND = 8194
ID_NOT_FOUND = 16400
STOP_CONDITION_TRIGGERED = 65537  # reported as an error, and the normal end of many experiments
STOPPED_BEFORE_RUN = 65538
STOPPED = 65539
BYPASS_NOT_ALLOWED = 262144
DATA_DISCARDED = 262146

_RANGES: tuple[tuple[int, str], ...] = (
    (8192, "JSON_MALFORMED JSON_OBJECT_EXPECTED ENDPOINT_NOT_FOUND TYPE_NAME_UNKNOWN"),
    (
        16384,
        "PARAMETER_MISSING PARAMETER_FORMAT_INVALID PARAMETER_FORMAT_INVALID_HINT PARAMETER_IS_NOT_A_NUMBER "
        "PARAMETER_VALUE_TOO_HIGH PARAMETER_VALUE_TOO_LOW PARAMETER_RELATIVE_CONSTRAINT PARAMETER_CONSTRAINT "
        "PARAMETER_RAMP_ODR_CONSTRAINT PARAMETER_COMBINATION_INVALID PARAMETER_VALUES_TOO_CLOSE "
        "PARAMETER_STRING_LENGTH PARAMETER_VECTOR_SIZE PARAMETER_SYMBOLIC_PATH "
        "PARAMETER_PROPERTY_OBJECT_MISSING INVALID_PARAMETER ID_NOT_FOUND",
    ),
    (32768, "SETTINGS_NOT_APPLIED SETTING_OK_BUT_NOT_COMMITTED"),
    (65536, "STOP_CONDITION_MISCONFIGURED STOP_CONDITION_TRIGGERED STOPPED_MANUALLY_BEFORE_RUN STOPPED_MANUALLY"),
    (
        131072,
        "RESOURCE_CREATION_FAILED RESOURCE_TYPE_MISMATCH RESOURCE_CONTENT_INVALID RESOURCE_NOT_WRITABLE",
    ),
    (262144, "QUEUE_BYPASS_NOT_ALLOWED QUEUE_FULL RESULT_DATA_DISCARDED"),
    (
        1048576,
        "POT_STATUS_MISMATCH PSEUDO_GAL_NEEDS_GAL COUPLING_MISMATCH HARDWARE_CONFIGURATION_ISSUE SWITCH_ON_ISSUE",
    ),
    (2097156, "CALIBRATION_PREMATURELY_STOPPED"),
    (4194304, "OUT_OF_MEMORY"),
    (8388608, "UNEXPECTED_EXCEPTION"),
    (195948557, "UNKNOWN_ERR"),
)
CODES: Mapping[int, str] = dict(chain.from_iterable(enumerate(names.split(), start) for start, names in _RANGES))
_PLACE = re.compile(r"\{(\d{1,3})\}")


class Problem(Struct, frozen=True):
    """One error. `message` has its parameters filled in."""

    number: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} ({self.code} {self.number})" if self.message else f"{self.code} {self.number}"

    def document(self) -> dict[str, Json]:
        return {"number": self.number, "code": self.code, "message": self.message}


def problem(value: object) -> Problem | None:
    """The error in an error object; None: there is none (number 0, or no such object).

    The number decides what it means; the code is only its name (protocol: "Errors").
    """
    error = mapping(value)
    found = whole(error.get("number"))
    if not error or found == NONE:
        return None
    code = text(error.get("code")) or CODES.get(found or NONE) or "UNKNOWN"
    return Problem(-1 if found is None else found, code, filled(error.get("message"), error))


def filled(template: object, error: Mapping[str, object]) -> str:
    """The message with `{0}`, `{1}`, … replaced; a place without a parameter stays as it is."""
    parameters = [plain(parameter) for parameter in sequence(error.get("message_parameters"))]

    def parameter(place: re.Match[str]) -> str:
        turn = int(place[1])
        return str(parameters[turn]) if turn < len(parameters) else place[0]

    return _PLACE.sub(parameter, text(template))


def refusal(message: Mapping[str, object]) -> Problem | None:
    """Why a reply is no success; None when it is one. The word for failure is not known: only SUCCESS is."""
    found = problem(message.get("error"))
    if found is None and message.get("status") != "SUCCESS":
        status = text(message.get("status"))
        return Problem(-1, "NO_SUCCESS", f"the instrument answered {status or 'without a status'}")
    return found
