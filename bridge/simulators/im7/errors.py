"""The errors of the IM7, which its client knows by number: a code, a template and what belongs into it."""

from dataclasses import dataclass

JsonObject = dict[str, object]
Scalar = str | int | float | bool

# Code: (number, template). The numbers are the vendor's; of the templates only two are known, "no error occoured"
# (sic) and the one that tells of a missing result.
ERRORS: dict[str, tuple[int, str]] = {
    "NONE": (0, "no error occoured"),
    "JSON_MALFORMED": (8192, "malformed JSON: {0}"),
    "JSON_OBJECT_EXPECTED": (8193, "a JSON object is expected"),
    "ENDPOINT_NOT_FOUND": (8194, "endpoint '{0}' not found"),
    "TYPE_NAME_UNKNOWN": (8195, "type name '{0}' is unknown"),
    "PARAMETER_MISSING": (16384, "parameter '{0}' is missing"),
    "PARAMETER_FORMAT_INVALID": (16385, "parameter '{0}' has an invalid format"),
    "PARAMETER_FORMAT_INVALID_HINT": (16386, "parameter '{0}' has an invalid format: {1}"),
    "PARAMETER_IS_NOT_A_NUMBER": (16387, "parameter '{0}' is not a number"),
    "PARAMETER_VALUE_TOO_HIGH": (16388, "parameter '{0}' is {1}, the maximum is {2}"),
    "PARAMETER_VALUE_TOO_LOW": (16389, "parameter '{0}' is {1}, the minimum is {2}"),
    "PARAMETER_RELATIVE_CONSTRAINT_VIOLATED": (16390, "parameter '{0}' must not be greater than '{1}'"),
    "PARAMETER_CONSTRAINT_VIOLATED": (16391, "parameter '{0}' must be one of {1}"),
    "RAMP_ODR_CONSTRAINT_VIOLATED": (16392, "scan rate {0} and output data rate {1} give more than {2} per row"),
    "PARAMETER_VALUES_TOO_CLOSE": (16394, "parameters '{0}' and '{1}' are too close"),
    "PARAMETER_STRING_LENGTH_INVALID": (16395, "parameter '{0}' has {1} characters, the maximum is {2}"),
    "PARAMETER_VECTOR_SIZE_INVALID": (16396, "parameter '{0}' has {1} elements, allowed are {2} to {3}"),
    "PARAMETER_SYMBOLIC_PATH_INVALID": (16397, "parameter '{0}': there is no '{1}'"),
    "PROPERTY_OBJECT_MISSING": (16398, "there is no property '{1}' at '{0}'"),
    "INVALID_PARAMETER": (16399, "parameter '{0}' is invalid"),
    "ID_NOT_FOUND": (16400, "could not find {0} with {1} '{2}'"),
    "SETTINGS_NOT_APPLIED": (32768, "there is no setting '{0}'"),
    "STOP_CONDITION_MISCONFIGURED": (65536, "stop condition {0} is misconfigured: {1}"),
    "STOP_CONDITION_TRIGGERED": (65537, "stop condition {0} on {1} triggered"),
    "STOPPED_MANUALLY_BEFORE_RUN": (65538, "manually stopped before it ran"),
    "STOPPED_MANUALLY": (65539, "manually stopped"),
    "RESOURCE_CREATION_FAILED": (131072, "resource '{0}' could not be created"),
    "RESOURCE_TYPE_MISMATCH": (131073, "resource '{0}' is not of type {1}"),
    "RESOURCE_CONTENT_INVALID": (131074, "the content of resource '{0}' is invalid"),
    "RESOURCE_NOT_WRITABLE": (131075, "resources of type {0} cannot be written"),
    "QUEUE_BYPASS_NOT_ALLOWED": (262144, "jobs of type '{0}' must not bypass the queue now"),
    "QUEUE_FULL": (262145, "the job queue is full"),
    "RESULT_DATA_DISCARDED": (262146, "the result data of job '{0}' was discarded"),
    "POT_STATUS_MISMATCH": (1048576, "potentiostat '{0}' is switched off"),
    "HARDWARE_CONFIGURATION_ISSUE": (1048579, "hardware limit exceeded at '{0}'"),
    "OUT_OF_MEMORY": (4194304, "out of memory"),
    "UNEXPECTED_EXCEPTION": (8388608, "unexpected exception: {0}"),
}


@dataclass(frozen=True, slots=True)
class Error:
    """One error with its parameters; `shape()` is what the wire carries."""

    code: str = "NONE"
    parameters: tuple[Scalar, ...] = ()

    def shape(self) -> JsonObject:
        number, template = ERRORS[self.code]
        return {
            "number": number,
            "code": self.code,
            "message": template,
            "message_parameters": list(self.parameters),
        }


class Refused(Exception):
    """A request or a job that the instrument refuses; `error` says why."""

    def __init__(self, code: str, *parameters: Scalar) -> None:
        self.error = Error(code, parameters)
        super().__init__(code, *parameters)


def code_of(number: int) -> str:
    """The code of an error number; ValueError when there is none."""
    for code, (known, _) in ERRORS.items():
        if known == number:
            return code
    raise ValueError(f"no error has the number {number}")
