"""The journal's file: SQLite on disk, opened, loaded, written and set aside.

Everything here blocks on the disk and belongs to one thread at a time. What is right is decided in journal.py;
the file is a copy of what stands there.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from errno import ENOENT
from os.path import samestat
from pathlib import Path
from time import gmtime, strftime
from typing import TypeAlias

import msgspec
from msgspec import Struct

from bridge.model import Json

NAME = "journal.db"  # in the state directory
SCHEMA = 1  # in user_version; a file of another schema is set aside
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE memory (device TEXT, key TEXT, value BLOB NOT NULL, PRIMARY KEY (device, key)) WITHOUT ROWID;
CREATE TABLE commands (
    id TEXT PRIMARY KEY, topic TEXT NOT NULL, digest BLOB NOT NULL, received REAL NOT NULL,
    final INTEGER NOT NULL, answer BLOB NOT NULL, touched REAL NOT NULL
);
CREATE TABLE occurrences (
    seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, time REAL NOT NULL
);
PRAGMA user_version = 1;
COMMIT;
"""

MemoryKey: TypeAlias = tuple[str, str]  # device, key


class Occurrence(Struct, frozen=True):
    """One message of which each one matters, ready to be published."""

    topic: str
    payload: bytes
    time: float  # seconds since the epoch
    properties: Mapping[str, Json] = {}  # of MQTT 5, by name

    @property
    def size(self) -> int:
        """Bytes counted against the journal's bound."""
        return len(self.topic) + len(self.payload)


class CommandRecord(Struct, frozen=True):
    """A command that was taken, and what was answered so far."""

    id: str
    topic: str
    digest: bytes  # of the payload
    received: float  # seconds since the epoch, as is `touched`
    touched: float  # when it was received or last answered: its age counts from here
    final: bool = False
    answer_json: bytes = b"null"

    @property
    def answer(self) -> Json:
        """What was answered last; None: nothing yet."""
        answer: Json = msgspec.json.decode(self.answer_json)
        return answer


class Contents:
    """All that the journal holds, each in the order in which it came (ordered dicts: the oldest go in no time)."""

    def __init__(self) -> None:
        self.memory: dict[MemoryKey, bytes] = {}  # values as JSON: nobody can change them under us
        self.open: dict[str, CommandRecord] = {}  # commands without a final answer
        self.final: OrderedDict[str, CommandRecord] = OrderedDict()
        self.occurrences: OrderedDict[int, Occurrence] = OrderedDict()


class Batch:
    """Changes to be written in one transaction; a later change to the same thing takes the place of the earlier.

    So a batch stays as small as the journal's own bounds, however long the disk is away.
    """

    def __init__(self, everything: Contents | None = None) -> None:
        self.anew = everything is not None  # empty the tables first: the batch is all there is
        contents = everything or Contents()
        self.memory: dict[MemoryKey, bytes | None] = {**contents.memory}
        self.commands: dict[str, CommandRecord | None] = {**contents.open, **contents.final}
        self.added: dict[int, Occurrence] = {**contents.occurrences}
        self.gone: set[int] = set()

    def __len__(self) -> int:
        return len(self.memory) + len(self.commands) + len(self.added) + len(self.gone)

    def put_command(self, record: CommandRecord) -> None:
        """At the end, even if it was here: the rows keep the order in which commands were last touched."""
        self.commands.pop(record.id, None)
        self.commands[record.id] = record

    def remove(self, seq: int) -> None:
        """An occurrence goes; one that never reached the disk leaves no trace there."""
        if self.added.pop(seq, None) is None:
            self.gone.add(seq)


class UnreadableError(Exception):
    """The file is no journal of this schema, or damaged."""


class JournalFile:
    """One open database.

    Every method raises sqlite3.Error or OSError when the disk fails, UnreadableError when the content is wrong.
    """

    def __init__(self, path: Path, *, full_sync: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
        self._connection = sqlite3.connect(
            path, timeout=2.0, isolation_level="IMMEDIATE", check_same_thread=False, cached_statements=32
        )
        try:
            self._prepare(full_sync)
            self._path, self._is = path, path.stat()
        except sqlite3.DatabaseError as error:
            self.close()
            raise _damage_or_disk(error) from error
        except BaseException:
            self.close()
            raise

    def _prepare(self, full_sync: bool) -> None:
        # Exclusive: a second bridge on the same directory is noticed, and no shared memory file is needed.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if full_sync else 'NORMAL'}")
        self._connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            self._connection.executescript(_TABLES)
        elif version != SCHEMA:
            raise UnreadableError(f"its schema is {version}, not {SCHEMA}")

    def close(self) -> None:
        self._connection.close()

    def load(self) -> Contents:
        """All rows. Reads the whole file, so damage shows here: about 0.1 s for 30 MB."""
        contents = Contents()
        try:
            contents.memory.update(self._memory())
            for record in self._commands():
                (contents.final if record.final else contents.open)[record.id] = record
            contents.occurrences.update(self._occurrences())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnreadableError(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise _damage_or_disk(error) from error
        return contents

    def _memory(self) -> Iterator[tuple[MemoryKey, bytes]]:
        for device, key, value in self._connection.execute("SELECT device, key, value FROM memory"):
            msgspec.json.decode(value)  # damage shows now, not when a driver asks
            yield (device, key), value

    def _commands(self) -> Iterator[CommandRecord]:
        rows = self._connection.execute(  # a row that was replaced is a new one, with the highest rowid
            "SELECT id, topic, digest, received, touched, final, answer FROM commands ORDER BY rowid"
        )
        for command_id, topic, payload_digest, received, touched, final, answer in rows:
            msgspec.json.decode(answer)
            yield CommandRecord(command_id, topic, payload_digest, received, touched, bool(final), answer)

    def _occurrences(self) -> Iterator[tuple[int, Occurrence]]:
        rows = self._connection.execute(
            "SELECT seq, topic, payload, time, properties FROM occurrences ORDER BY seq"
        )
        for seq, topic, payload, time, properties in rows:
            yield seq, Occurrence(topic, payload, time, msgspec.json.decode(properties))

    def write(self, batch: Batch) -> None:
        """One transaction: all of the batch or nothing. 0.1 ms to 100 ms, with the disk.

        FileNotFoundError: somebody removed the file meanwhile, and what is written to it is lost.
        """
        try:
            with self._connection:
                if batch.anew:
                    for table in ("memory", "commands", "occurrences"):
                        self._connection.execute(f"DELETE FROM {table}")  # noqa: S608
                self._write_memory(batch)
                self._write_commands(batch)
                self._write_occurrences(batch)
            if not samestat(self._path.stat(), self._is):
                raise FileNotFoundError(ENOENT, "another file is in its place", str(self._path))
        except sqlite3.DatabaseError as error:
            raise _damage_or_disk(error) from error

    def _write_memory(self, batch: Batch) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO memory (device, key, value) VALUES (?, ?, ?)",
            ((device, key, value) for (device, key), value in batch.memory.items() if value is not None),
        )
        self._connection.executemany(
            "DELETE FROM memory WHERE device = ? AND key = ?",
            (where for where, value in batch.memory.items() if value is None),
        )

    def _write_commands(self, batch: Batch) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO commands (id, topic, digest, received, touched, final, answer)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (r.id, r.topic, r.digest, r.received, r.touched, r.final, r.answer_json)
                for r in batch.commands.values()
                if r is not None
            ),
        )
        self._connection.executemany(
            "DELETE FROM commands WHERE id = ?",
            ((command_id,) for command_id, record in batch.commands.items() if record is None),
        )

    def _write_occurrences(self, batch: Batch) -> None:
        encode = msgspec.json.encode
        self._connection.executemany(
            "INSERT INTO occurrences (seq, topic, payload, time, properties) VALUES (?, ?, ?, ?, ?)",
            ((seq, o.topic, o.payload, o.time, encode(o.properties)) for seq, o in batch.added.items()),
        )
        self._connection.executemany("DELETE FROM occurrences WHERE seq = ?", ((seq,) for seq in batch.gone))


def _damage_or_disk(error: sqlite3.DatabaseError) -> Exception:
    """Damage is told from a disk that is full, read-only or taken: only damage is a reason for a fresh file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    lacking = code == sqlite3.SQLITE_ERROR  # a table or column is missing: not our file
    return UnreadableError(str(error)) if code in _CORRUPT or lacking else error


class Opened(Struct, frozen=True):
    file: JournalFile
    contents: Contents
    fresh: str | None = None  # why it was begun anew, and where the old one is


def open_journal(path: Path, *, full_sync: bool) -> Opened:
    """Open and load; an unreadable file is set aside first. sqlite3.Error or OSError when the disk fails."""
    try:
        file = JournalFile(path, full_sync=full_sync)
        try:
            return Opened(file, file.load())
        except BaseException:
            file.close()
            raise
    except UnreadableError as error:
        aside = set_aside(path)
        fresh = f"the journal was unreadable ({error}), set aside as {aside.name} and begun anew"
        return Opened(JournalFile(path, full_sync=full_sync), Contents(), fresh)


def set_aside(path: Path) -> Path:
    """Rename the database and its write-ahead log out of the way; the new name of the former. Never deletes."""
    name = f"{path.name}.unreadable-{strftime('%Y%m%dT%H%M%SZ', gmtime())}"
    target, number = path.with_name(name), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{name}-{number}")
    for suffix in ("-wal", "-shm", ""):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(target.with_name(target.name + suffix))
    return target
