"""The frames of the toy instrument, as its driver reads them."""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bridge.model import Scalar
from tests.toy.points import COLUMNS


class Run(Struct):
    state: str = ""
    rows: int = 0


class Inventory(Struct):
    serial: str
    modules: dict[str, str]
    values: dict[str, Scalar]
    jobs: dict[str, Run]


class Message(Struct):
    """Any frame; what does not belong to its kind is absent."""

    id: str = ""
    ok: msgspec.Raw = msgspec.Raw(b"")
    error: str = ""
    push: str = ""
    name: str = ""
    title: str = ""
    value: Scalar = None
    tag: str = ""
    state: str = ""
    offset: int = 0
    rows: msgspec.Raw = msgspec.Raw(b"0")
    type: str = ""
    on: bool = False
    reason: str = ""


read = msgspec.json.Decoder(Message).decode
Rows = list[tuple[float, float]]


def decoded(body: bytes) -> NDArray[np.float64]:
    """A result's rows; ValueError when its columns are not of one length."""
    return np.frombuffer(body, "<f8").reshape(len(COLUMNS), -1).T
