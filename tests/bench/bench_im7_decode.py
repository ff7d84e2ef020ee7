"""How fast the IM7 driver decodes a result of 1e6 rows: python tests/bench/bench_im7_decode.py

The yardstick is a bare base64 decoding and numpy.frombuffer in the same run; at least half its speed is wanted.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

import numpy as np

from bridge.drivers.im7_data import from_bytes, job_data
from bridge.drivers.im7_frames import parse
from bridge.drivers.im7_long import Outline, decode_piece

ROWS, COLUMNS, ROUNDS = 1_000_000, 4, 7


def reply(content: str) -> str:
    columns = {"dimensions": ["time", "voltage", "current", "shunt"], "units": ["s", "V", "A", "index"]}
    header = {"type": "LIVE_DATA_HEADER", "header": {"columns": columns}}
    events = [header, {"type": "LIVE_DATA_ROWS", "data": content}, {"type": "LIVE_DATA_FINISHED"}]
    data = [{"type": "EVENT", "event": event} for event in events]
    return json.dumps({"type": "REPLY", "status": "SUCCESS", "request_id": "r", "data": data})


def at_once(frame: str) -> None:
    assert len(job_data(parse(frame)).rows) == ROWS


def in_pieces(frame: str) -> None:
    """As the daemon does it, but in one process."""
    outline = Outline(frame)
    decoding = outline.decoding()
    while (piece := decoding.piece) is not None:
        decoding.take(decode_piece(*piece))
    assert len(job_data(decoding.finish(outline.message)).rows) == ROWS


def best(run: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def main() -> None:
    binary = np.random.default_rng(1).random(ROWS * COLUMNS).tobytes()
    content = base64.b64encode(binary).decode()
    frame = reply(content)
    yardstick = best(lambda: np.frombuffer(base64.b64decode(content)))
    print(f"{len(frame) / 1e6:.0f} MB, {ROWS} rows of {COLUMNS} columns")
    for name, seconds in (
        ("bare base64 and frombuffer", yardstick),
        ("a reply, at once", best(lambda: at_once(frame))),
        ("a reply, in pieces", best(lambda: in_pieces(frame))),
        ("its outline alone", best(lambda: Outline(frame))),
        ("a binary frame", best(lambda: from_bytes(binary, COLUMNS))),
    ):
        print(f"{name:28} {seconds * 1e3:9.3f} ms   {yardstick / seconds:8.2f} of the bare speed")


if __name__ == "__main__":
    main()
