"""The process that takes secrets out of a recording and writes it: `python -m bridge.cli.record.writing`.

A process of its own, because looking for secrets takes 0.3 s per megabyte, and traffic must not wait for that.
Standard input: one JSON line `{"secrets": […], "limit": bytes}`, then the lines of a transcript. Standard output
is the file, a write for each line. It ends with its input, so that nothing is lost when the recorder is killed.
Exit codes: 0 all written, FULL the limit was reached, 1 it cannot be written (standard error says why).
"""

from __future__ import annotations

import json
import sys
from typing import BinaryIO

from bridge.transcript import Redaction, decode_line, encode, note

FULL = 3
ROOM = 200  # bytes for the last note


def copy(source: BinaryIO, target: BinaryIO) -> int:
    """The exit code; OSError when the target takes no more."""
    head = json.loads(source.readline())
    redaction, left = Redaction(head["secrets"]), head["limit"] - ROOM
    for line in source:
        entry = redaction(decode_line(line))
        clean = encode(entry).encode() + b"\n"
        left -= len(clean)
        if left < 0:
            target.write(encode(note(entry.t, "the recording ends here: the file is full")).encode() + b"\n")
            return FULL
        target.write(clean)
    return 0


def main() -> int:
    with open(1, "wb", buffering=0, closefd=False) as target:
        try:
            return copy(sys.stdin.buffer, target)
        except OSError as error:
            print(error.strerror or error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
