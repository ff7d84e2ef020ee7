"""What must survive a restart: what drivers remember, commands and their answers, occurrences not yet published.

What is right stands in this process and is answered at once; a thread copies every change to disk in group
commits. So nobody waits for the disk who does not ask to (`committed`, `flush`), and when the disk fails the
bridge goes on from memory, says so, and writes everything anew once it can (docs/decisions/0006-journal.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from bridge.journal_file import Batch, CommandRecord, Contents, Occurrence, UnreadableError, open_journal
from bridge.journal_writer import Writer
from bridge.model import Json, Outcome

__all__ = ["Appended", "CommandRecord", "Journal", "Limits", "Occurrence", "digest"]

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Limits(Struct, frozen=True):
    """How much is kept; over it the oldest go, counted."""

    occurrences: int = 10_000
    occurrence_bytes: int = 16 << 20
    commands: int = 10_000
    command_age: float = 600.0  # seconds from the last answer; open ones do not age


_DEFAULT = Limits()


class Appended(Struct, frozen=True):
    """The numbers of the new occurrences, and what had to go for them (maybe some of the new ones too)."""

    seqs: range
    dropped: Mapping[int, Occurrence] = {}


def digest(payload: bytes) -> bytes:
    """What tells a command's payload from another's: 16 bytes."""
    return hashlib.blake2b(payload, digest_size=16).digest()


@contextmanager
def _in_memory_only() -> Iterator[Batch]:
    yield Batch()


class Journal:
    """Made by `open`, used by one thread (the event loop's), ended by `close`.

    `unfinished`: the commands an earlier process left open, as they were; they are final and unknown by now.
    `dropped`, `forgotten`: occurrences and commands lost to the limits.
    """

    @classmethod
    def open(cls, path: Path | None, now: float, limits: Limits = _DEFAULT, *, full_sync: bool = False) -> Journal:
        """Load what is there. Blocks for the disk, about 0.1 s for 30 MB; never raises for it.

        None as `path`: all is kept in memory only, as it is when the file cannot be opened (`trouble` says why).
        `now`: wall time in seconds since the epoch, here and everywhere below.
        `full_sync`: a commit also survives a power cut (one fsync each), not only the end of the process.
        """
        if path is None:
            return cls(limits, now)
        try:
            opened = open_journal(path, full_sync=full_sync)
        except (sqlite3.Error, OSError, UnreadableError) as error:
            why = "another process has it open" if "locked" in str(error) else str(error)
            log.error("the journal cannot be opened; going on without it", path=str(path), error=why)
            return cls(limits, now, trouble=f"the journal cannot be opened: {why}")
        if opened.fresh:
            log.error(opened.fresh, path=str(path))
        writer = Writer(path, opened.file, opened.contents, full_sync=full_sync, fresh=opened.fresh)
        return cls(limits, now, opened.contents, writer)

    def __init__(
        self,
        limits: Limits,
        now: float,
        contents: Contents | None = None,
        writer: Writer | None = None,
        trouble: str | None = None,
    ) -> None:
        self._limits, self._contents, self._writer = limits, contents or Contents(), writer
        self._changing = writer.changing if writer else _in_memory_only
        self._trouble = trouble
        self.dropped = self.forgotten = 0
        self._bytes = sum(occurrence.size for occurrence in self._contents.occurrences.values())
        self._next_seq = 1 + next(reversed(self._contents.occurrences), 0)
        self._shrink()
        self.unfinished = tuple(self._contents.open.values())
        for record in self.unfinished:
            self.answer_command(record.id, _lost(record.id), now)
        self.prune(now)

    @property
    def durable(self) -> bool:
        """What is committed now would survive the end of this process."""
        return self._writer is not None and self._writer.failing is None

    @property
    def on_disk(self) -> bool:
        """There is a file, whether it takes anything now or not."""
        return self._writer is not None

    @property
    def trouble(self) -> str | None:
        """What a person should know: an unreadable file that was set aside, a disk that takes nothing."""
        if self._writer is None:
            return self._trouble
        return "; ".join(filter(None, (self._writer.failing, self._writer.fresh))) or None

    @property
    def failures(self) -> int:
        """How often the disk refused a transaction."""
        return 0 if self._writer is None else self._writer.failures

    @property
    def turns_at(self) -> float:
        """For bridge.progress: when the thread that writes does something at the latest, on the loop's clock."""
        return math.inf if self._writer is None else self._writer.turns_at

    # --- waiting for the disk --------------------------------------------------------------------------

    async def committed(self) -> bool:
        """Wait until all that was done so far is on disk (50 ms and the disk's time); False: in memory only."""
        return await self._written(hurry=False)

    async def flush(self) -> bool:
        """The same at once, for one who cannot wait for others: about 0.2 ms and the disk's."""
        return await self._written(hurry=True)

    async def _written(self, *, hurry: bool) -> bool:
        return self._writer is not None and await asyncio.wrap_future(self._writer.written(hurry=hurry))

    async def close(self, within: float = 2.0) -> bool:
        """Write what is left, for at most `within` seconds; False: not all of it is on disk. Ends the journal."""
        if self._writer is None:
            return False
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._writer.close()), within)
        except TimeoutError:
            log.error("the journal could not be closed in time", seconds=within)
            return False

    # --- what drivers remember -------------------------------------------------------------------------

    def memory(self, device: str) -> dict[str, Json]:
        memory = self._contents.memory.items()
        return {key: msgspec.json.decode(value) for (owner, key), value in memory if owner == device}

    def remember(self, device: str, key: str, value: Json) -> None:
        """None forgets. TypeError when the value is no JSON."""
        where, encoded = (device, key), None if value is None else msgspec.json.encode(value)
        if self._contents.memory.get(where) == encoded:
            return
        with self._changing() as batch:
            if encoded is None:
                del self._contents.memory[where]
            else:
                self._contents.memory[where] = encoded
            batch.memory[where] = encoded

    # --- commands and their answers --------------------------------------------------------------------

    def find_command(self, command_id: str) -> CommandRecord | None:
        return self._contents.open.get(command_id) or self._contents.final.get(command_id)

    def record_command(self, command_id: str, topic: str, payload_digest: bytes, now: float) -> None:
        """A command was taken. ValueError: one with this id is known."""
        if self.find_command(command_id) is not None:
            raise ValueError(f"command {command_id!r} is known already")
        self._put_command(CommandRecord(command_id, topic, payload_digest, now, now))
        self.prune(now)

    def answer_command(self, command_id: str, answer: Json, now: float, *, final: bool = True) -> None:
        """Keep the answer for repetitions, unless the command is forgotten. TypeError: the answer is no JSON."""
        if (record := self.find_command(command_id)) is not None:
            encoded = msgspec.json.encode(answer)
            self._put_command(msgspec.structs.replace(record, answer_json=encoded, final=final, touched=now))
        self.prune(now)

    def prune(self, now: float) -> None:
        """Forget commands past their age, and the oldest ones over the bound. Done with every command."""
        contents, limits = self._contents, self._limits
        while contents.final and next(iter(contents.final.values())).touched < now - limits.command_age:
            self._forget(next(iter(contents.final)))
        while len(contents.final) + len(contents.open) > limits.commands:
            self._forget(next(iter(contents.final or contents.open)))
            self.forgotten += 1

    def _put_command(self, record: CommandRecord) -> None:
        with self._changing() as batch:
            self._contents.open.pop(record.id, None)
            self._contents.final.pop(record.id, None)
            (self._contents.final if record.final else self._contents.open)[record.id] = record
            batch.put_command(record)

    def _forget(self, command_id: str) -> None:
        with self._changing() as batch:
            if self._contents.final.pop(command_id, None) is None:
                del self._contents.open[command_id]
            batch.commands[command_id] = None

    # --- occurrences -----------------------------------------------------------------------------------

    def append(self, occurrences: Iterable[Occurrence]) -> Appended:
        """Keep them until `acknowledge`. TypeError when properties are no JSON."""
        new = tuple(occurrences)
        for occurrence in new:
            msgspec.json.encode(occurrence.properties)  # a mistake shows here, and not in the thread
        seqs = range(self._next_seq, self._next_seq + len(new))
        self._next_seq = seqs.stop
        dropped: dict[int, Occurrence] = {}
        with self._changing() as batch:
            for seq, occurrence in zip(seqs, new, strict=True):
                if occurrence.size > self._limits.occurrence_bytes:  # the others need not go for it
                    dropped[seq] = occurrence
                else:
                    self._contents.occurrences[seq] = batch.added[seq] = occurrence
                    self._bytes += occurrence.size
        self.dropped += len(dropped)
        return Appended(seqs, self._shrink() | dropped)

    def acknowledge(self, seq: int) -> None:
        """The broker has it. One that is not there any more is no error."""
        self._remove(seq)

    def replay(self) -> Iterator[tuple[int, Occurrence]]:
        """What is not acknowledged as of now, oldest first; what goes in the meantime is left out."""
        for seq in tuple(self._contents.occurrences):
            if (occurrence := self._contents.occurrences.get(seq)) is not None:
                yield seq, occurrence

    @property
    def waiting(self) -> int:
        """Occurrences not yet acknowledged."""
        return len(self._contents.occurrences)

    def _remove(self, seq: int) -> Occurrence | None:
        with self._changing() as batch:
            if (occurrence := self._contents.occurrences.pop(seq, None)) is not None:
                self._bytes -= occurrence.size
                batch.remove(seq)
            return occurrence

    def _shrink(self) -> dict[int, Occurrence]:
        dropped: dict[int, Occurrence] = {}
        waiting, limits = self._contents.occurrences, self._limits
        while len(waiting) > limits.occurrences or self._bytes > limits.occurrence_bytes:
            seq = next(iter(waiting))
            if (occurrence := self._remove(seq)) is not None:
                dropped[seq] = occurrence
        self.dropped += len(dropped)
        return dropped


def _lost(command_id: str) -> Json:
    """The answer (CONTRACT.md, "Answers") of a command whose process ended before it did."""
    return {
        "id": command_id,
        "outcome": Outcome.UNKNOWN.value,
        "final": True,
        "detail": "the bridge ended while this was under way: look before repeating",
    }
