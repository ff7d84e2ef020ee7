"""Takes what is to be recorded, at once, and passes it on to the process that writes it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from bridge.cli.record.writing import FULL
from bridge.model import Json
from bridge.transcript import Direction, Entry, encode

WAITING = 256 << 20  # bytes that may wait to be written
DATA = ("text", "binary")


class Recorder:
    """`async with Recorder(file, secrets, limit, tell) as recorder: recorder.add(…)`; OSError: no such file.

    The file must not exist yet. `tell` hears in a sentence why recording ended early, if it did.
    """

    def __init__(self, file: Path, secrets: Sequence[str], limit: int, tell: Callable[[str], None]) -> None:
        self._file, self._secrets, self._limit, self._tell = file, secrets, limit, tell
        self._begun = asyncio.get_running_loop().time()
        self.frames: Counter[str] = Counter()  # by direction
        self.running = False
        self.complete = True  # or ended by the limit, which was asked for
        self._lost = 0

    async def __aenter__(self) -> Self:
        target = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._process: Process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "bridge.cli.record.writing"),
                stdin=PIPE,
                stdout=target,
                stderr=PIPE,
                start_new_session=True,  # a Ctrl-C is for us: it ends when all is written
            )
        finally:
            os.close(target)
        self._input = cast(asyncio.StreamWriter, self._process.stdin)
        self._input.write(json.dumps({"secrets": list(self._secrets), "limit": self._limit}).encode() + b"\n")
        self.running = True
        self._watch = asyncio.create_task(self._ended(), name="recording")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all of it is written."""
        self._tell_losses()
        with suppress(OSError):
            self._input.close()
        try:
            await self._watch
        finally:
            if self._process.returncode is None:
                self._process.kill()
            if self._file.stat().st_size == 0:
                self._file.unlink()

    @property
    def now(self) -> float:
        """Seconds since the recording began."""
        return asyncio.get_running_loop().time() - self._begun

    def add(self, direction: Direction, kind: str, data: Json | bytes, conn: int, at: float | None = None) -> None:
        """Never waits. What comes faster than it can be written is counted, and a note says how much it was."""
        if not self.running:
            return
        if kind in DATA:
            self.frames[direction] += 1
        if self._room():
            self._tell_losses()
            self._write(Entry(self.now if at is None else at, direction, kind, data, None, conn))
        else:
            self._lost += 1

    def _room(self) -> bool:
        return self._input.transport.get_write_buffer_size() < WAITING

    def _tell_losses(self) -> None:
        if self._lost and self.running:
            text = f"{self._lost} frames are missing here: they came faster than they could be written"
            self._lost = 0
            self._write(Entry(self.now, "!", "note", text))

    def _write(self, entry: Entry) -> None:
        self._input.write(encode(entry).encode() + b"\n")

    async def _ended(self) -> None:
        said = await cast(asyncio.StreamReader, self._process.stderr).read()
        code = await self._process.wait()
        self.running = False
        if code == FULL:
            self._tell(f"{self._file} is full ({self._limit >> 20} MiB): recording has ended, the traffic goes on")
        elif code != 0:
            self.complete = False
            why = said.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {code}"
            self._tell(f"recording has ended, because {self._file} cannot be written: {why}")
