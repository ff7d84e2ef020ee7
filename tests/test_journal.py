"""The journal against a plain model, a crash, a kill, a damaged file and a disk that takes nothing."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge import journal_writer
from bridge.journal import Journal, Limits, Occurrence
from bridge.model import Json

NOW = 1_000_000.0
T = TypeVar("T")


def happened(number: int, size: int = 10) -> Occurrence:
    return Occurrence(f"lab2mqtt/io/event/{number}", bytes(size), NOW + number, {"content_type": "x"})


def topics(journal: Journal) -> list[str]:
    return [occurrence.topic for _, occurrence in journal.replay()]


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


def threads() -> int:
    return sum(thread.name == "journal" for thread in threading.enumerate())


# --- the model -----------------------------------------------------------------------------------------

LIMITS = Limits(occurrences=6, occurrence_bytes=400, commands=5, command_age=100.0)
keys = st.sampled_from(["a", "b", "ü/1"])
values: st.SearchStrategy[Json] = st.one_of(
    st.none(), st.integers(-5, 5), st.text(max_size=3), st.just({"end": [1.5, None]})
)


class JournalMachine(RuleBasedStateMachine):
    """Everything that a plain program in memory would know, the journal knows too, also after each kind of end."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-test-"))
        self.runner = asyncio.Runner()
        self.number = 0
        self.now = NOW
        self.memory: dict[tuple[str, str], Json] = {}
        self.commands: dict[str, tuple[float, bool, Json]] = {}  # by age: touched, final, answer
        self.occurrences: list[Occurrence] = []
        self.dropped = self.expected_dropped = 0
        self.abandoned: list[Journal] = []

    def run(self, awaitable: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await awaitable

        return self.runner.run(waiting())

    @initialize(on_disk=st.booleans())
    def start(self, on_disk: bool) -> None:
        self.path = self.directory / "0" / "journal.sqlite" if on_disk else None
        self.journal = Journal.open(self.path, self.now, LIMITS)
        assert self.journal.durable is on_disk

    @rule(device=keys, key=keys, value=values)
    def remember(self, device: str, key: str, value: Json) -> None:
        self.journal.remember(device, key, value)
        self.memory[device, key] = value

    @rule(seconds=st.sampled_from([0.0, 1.0, 60.0]))
    def record(self, seconds: float) -> None:
        self.number += 1
        self.now += seconds
        self.journal.record_command(str(self.number), "set/x", b"digest", self.now)
        self.commands[str(self.number)] = (self.now, False, None)
        self.forget()

    @rule(data=st.data(), answer=values, final=st.booleans())
    def answer(self, data: st.DataObject, answer: Json, final: bool) -> None:
        if waiting := [key for key, (_, done, _) in self.commands.items() if not done]:
            key = data.draw(st.sampled_from(waiting))
            self.journal.answer_command(key, answer, self.now, final=final)
            del self.commands[key]
            self.commands[key] = (self.now, final, answer)

    def forget(self) -> None:
        for key, (touched, final, _) in tuple(self.commands.items()):
            if final and touched < self.now - LIMITS.command_age:
                del self.commands[key]
        while len(self.commands) > LIMITS.commands:
            final_ones = (key for key, (_, final, _) in self.commands.items() if final)
            del self.commands[next(final_ones, next(iter(self.commands)))]

    @rule(sizes=st.lists(st.sampled_from([0, 10, 100, 150, 500]), max_size=4))
    def append(self, sizes: list[int]) -> None:
        new = []
        for size in sizes:
            self.number += 1
            new.append(happened(self.number, size))
        appended = self.journal.append(new)
        assert len(appended.seqs) == len(new)
        kept = [o for o in new if o.size <= LIMITS.occurrence_bytes]
        lost = len(new) - len(kept)
        self.occurrences += kept
        while len(self.occurrences) > LIMITS.occurrences or sum(o.size for o in self.occurrences) > 400:
            del self.occurrences[0]
            lost += 1
        assert len(appended.dropped) == lost
        self.dropped += lost
        assert self.journal.dropped == self.dropped

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        if waiting := [seq for seq, _ in self.journal.replay()]:
            index = data.draw(st.integers(0, len(waiting) - 1))
            self.journal.acknowledge(waiting[index])
            self.journal.acknowledge(waiting[index])  # again: no error
            del self.occurrences[index]

    @rule()
    def wait(self) -> None:
        assert self.run(self.journal.committed()) is (self.path is not None)

    @rule()
    def close_and_reopen(self) -> None:
        if self.path is not None:
            assert self.run(self.journal.close())
            self.reopened(self.path)

    @rule()
    def crash_and_reopen(self) -> None:
        """After a commit nothing more is done, and the files are taken as they are."""
        if self.path is not None:
            assert self.run(self.journal.flush())
            self.abandoned.append(self.journal)
            old = self.path.parent
            new = old.with_name(str(int(old.name) + 1))
            shutil.copytree(old, new)
            self.path = new / self.path.name
            self.reopened(self.path)

    def reopened(self, path: Path) -> None:
        self.journal = Journal.open(path, self.now, LIMITS)
        self.dropped = 0
        left_open = [key for key, (_, final, _) in self.commands.items() if not final]
        assert sorted(record.id for record in self.journal.unfinished) == sorted(left_open)
        for record in sorted(self.journal.unfinished, key=lambda record: left_open.index(record.id)):
            del self.commands[record.id]
            known = self.journal.find_command(record.id)
            assert known is not None
            answer = known.answer
            assert isinstance(answer, dict)
            assert answer["outcome"] == "unknown"
            self.commands[record.id] = (self.now, True, answer)
        self.forget()

    @invariant()
    def knows_the_same(self) -> None:
        for device in ("a", "b", "ü/1"):
            expected = {key: value for (owner, key), value in self.memory.items() if owner == device}
            assert self.journal.memory(device) == {k: v for k, v in expected.items() if v is not None}
        for number in range(self.number + 1):
            known = self.journal.find_command(str(number))
            assert (known and (known.touched, known.final, known.answer)) == self.commands.get(str(number))
        assert [occurrence for _, occurrence in self.journal.replay()] == self.occurrences
        assert self.journal.waiting == len(self.occurrences)
        assert self.journal.trouble is None

    def teardown(self) -> None:
        for journal in (*self.abandoned, self.journal):
            self.run(journal.close())
        self.runner.close()
        shutil.rmtree(self.directory)


class TestModel(JournalMachine.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )


# --- commits -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_commit_waits_for_others_and_a_flush_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "GROUP_SECONDS", 3600.0)
    journal = Journal.open(tmp_path / "j", NOW)
    journal.remember("io", "key", 1)
    alone = asyncio.create_task(journal.committed())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(alone), 0.05)
    assert await asyncio.wait_for(journal.flush(), 5)
    assert await alone
    journal.append(happened(number) for number in range(journal_writer.GROUP_ENTRIES))
    assert await asyncio.wait_for(journal.committed(), 5)  # full
    assert await asyncio.wait_for(journal.committed(), 5)  # nothing to wait for
    journal.remember("io", "key", 2)
    assert await asyncio.wait_for(journal.close(), 5)
    await until(lambda: threads() == 0)


@pytest.mark.asyncio
async def test_one_who_gives_up_waiting_does_not_disturb_the_others(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j", NOW)
    journal.remember("io", "key", 1)
    waiting = [asyncio.create_task(journal.committed()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert await asyncio.gather(*waiting[1:]) == [True, True]
    assert await journal.close()


@pytest.mark.asyncio
async def test_what_is_acknowledged_before_its_commit_never_reaches_the_disk(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j", NOW)
    for seq in journal.append(happened(number) for number in range(100)).seqs:
        journal.acknowledge(seq)
    assert await journal.close()
    with sqlite3.connect(tmp_path / "j") as database:
        assert database.execute("SELECT count(*) FROM occurrences").fetchone() == (0,)
    database.close()


@pytest.mark.asyncio
async def test_a_commit_that_is_under_way_is_waited_for(tmp_path: Path) -> None:
    limits = Limits(occurrence_bytes=1 << 30)
    journal = Journal.open(tmp_path / "0" / "j", NOW, limits)
    for number in range(5):
        journal.append([happened(0, 20_000)] * journal_writer.GROUP_ENTRIES)
        await asyncio.to_thread(threads)  # time for the writer to take them
        assert await journal.committed()
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "0", copy)
        crashed = Journal.open(copy / "j", NOW, limits)
        assert crashed.waiting == journal.waiting
        assert await crashed.close()
    assert await journal.close()


@pytest.mark.asyncio
async def test_what_is_forgotten_goes_from_the_disk_too(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j", NOW, Limits(commands=2, command_age=100))
    journal.record_command("old", "t", b"", NOW)
    journal.answer_command("old", {"outcome": "done"}, NOW)
    assert await journal.flush()
    journal.prune(NOW + 100)
    assert journal.find_command("old") is not None
    journal.prune(NOW + 101)
    for number in range(4):
        journal.record_command(str(number), "t", b"", NOW + 101)
        assert await journal.flush()
    assert journal.forgotten == 2
    assert await journal.close()
    database = sqlite3.connect(tmp_path / "j")
    assert database.execute("SELECT id FROM commands ORDER BY id").fetchall() == [("2",), ("3",)]
    database.close()


def test_mistakes_are_told_to_who_makes_them() -> None:
    journal = Journal.open(None, NOW)
    with pytest.raises(TypeError):
        journal.remember("io", "key", object())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        journal.append([Occurrence("t", b"", NOW, {"a": object()})])  # type: ignore[dict-item]
    journal.record_command("1", "t", b"", NOW)
    with pytest.raises(ValueError, match="known already"):
        journal.record_command("1", "t", b"", NOW)
    assert journal.waiting == 0
    assert journal.memory("io") == {}


def test_what_goes_during_a_replay_is_left_out() -> None:
    journal = Journal.open(None, NOW, Limits(occurrences=3))
    journal.append(happened(number) for number in range(3))
    replay = journal.replay()
    assert next(replay)[0] == 1
    journal.acknowledge(2)
    journal.append([happened(9)])
    assert [seq for seq, _ in replay] == [3]


# --- ends of all kinds ---------------------------------------------------------------------------------

KILLED = """
import asyncio, os, sys
from pathlib import Path
from bridge.journal import Journal, Occurrence

async def main():
    journal = Journal.open(Path(sys.argv[1]), 0.0)
    journal.record_command("open", "set/x", b"d", 1.0)
    for number in range(10_000):
        journal.append([Occurrence(f"event/{number}", os.urandom(200), 1.0)])
        journal.remember("io", "last", number)
        if number % 3 == 0:
            await journal.flush()
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_what_was_awaited_survives_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "j"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 60:
                process.send_signal(signal.SIGKILL)
                break
        last = int((line + process.stdout.read()).split()[-1])
    journal = Journal.open(tmp_path / "j", 2.0)
    assert journal.trouble is None
    names = topics(journal)
    assert names == [f"event/{number}" for number in range(len(names))]
    assert len(names) > last
    remembered = journal.memory("io")["last"]
    assert isinstance(remembered, int)
    assert remembered >= last
    assert [record.id for record in journal.unfinished] == ["open"]
    assert await journal.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("damage", ["garbage", "header", "middle", "newer", "foreign", "json"])
async def test_a_file_that_cannot_be_read_is_set_aside_and_kept(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal.open(path, NOW)
    journal.append(happened(number, 1000) for number in range(50))
    journal.remember("io", "key", "value")
    assert await journal.close()
    damaged(path, damage)
    content = path.read_bytes()

    journal = Journal.open(path, NOW)
    (aside,) = tmp_path.glob("journal.sqlite.unreadable-*Z")
    assert aside.read_bytes() == content
    assert journal.durable
    assert journal.trouble is not None
    assert aside.name in journal.trouble
    assert journal.waiting == 0
    journal.remember("io", "key", "new")
    assert await journal.close()
    journal = Journal.open(path, NOW)
    assert journal.trouble is None
    assert journal.memory("io") == {"key": "new"}
    assert await journal.close()


def damaged(path: Path, how: str) -> None:
    match how:
        case "garbage":
            path.write_bytes(b"no database " * 100)
        case "header":
            path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])
        case "middle":
            whole = bytearray(path.read_bytes())
            whole[8192:] = b"\xa5" * (len(whole) - 8192)
            path.write_bytes(whole)
        case _:
            statement = {
                "newer": "PRAGMA user_version = 99",
                "foreign": "PRAGMA user_version = 0",
                "json": "UPDATE memory SET value = x'7b'",
            }[how]
            database = sqlite3.connect(path, isolation_level=None)
            database.execute(statement)
            database.close()


def test_a_file_set_aside_twice_in_a_second_keeps_both(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "j").write_text(f"garbage {number} " * 50)
        (tmp_path / "j-wal").unlink(missing_ok=True)
        journal = Journal.open(tmp_path / "j", NOW)
        asyncio.run(journal.close())
    kept = {file.read_text().split()[1] for file in tmp_path.glob("j.unreadable-*")}
    assert kept == {"0", "1", "2"}


@pytest.mark.asyncio
async def test_without_a_place_for_the_file_it_works_from_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    journal = Journal.open(tmp_path / "file" / "journal.sqlite", NOW)
    assert not journal.durable
    assert journal.trouble is not None
    journal.remember("io", "key", 1)
    journal.append([happened(1)])
    assert not await journal.flush()
    assert journal.memory("io") == {"key": 1}
    assert topics(journal) == [happened(1).topic]
    assert not await journal.close()


@pytest.mark.asyncio
async def test_a_second_bridge_on_the_same_file_is_noticed(tmp_path: Path) -> None:
    first = Journal.open(tmp_path / "j", NOW)
    first.remember("io", "key", 1)
    second = Journal.open(tmp_path / "j", NOW)
    assert not second.durable
    assert "another process has it open" in (second.trouble or "")
    assert await first.close()
    assert [file.name for file in tmp_path.iterdir()] == ["j"]


@pytest.mark.asyncio
async def test_a_file_that_somebody_removed_is_noticed_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "RETRY_SECONDS", 0.02)
    path = tmp_path / "state" / "j"
    journal = Journal.open(path, NOW)
    journal.remember("io", "early", 1)
    assert await journal.flush()
    shutil.rmtree(path.parent)
    journal.remember("io", "late", 2)
    assert not await journal.flush()
    assert "another file is in its place" in (journal.trouble or "") or "No such file" in (journal.trouble or "")
    while not journal.durable:
        await asyncio.sleep(0.01)
    assert await journal.close()
    again = Journal.open(path, NOW)
    assert again.memory("io") == {"early": 1, "late": 2}
    assert await again.close()


@contextmanager
def no_file_may_grow() -> Iterator[None]:
    """A full disk without filling one: the kernel refuses every byte past this length."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.asyncio
async def test_a_full_disk_is_said_once_and_made_good_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "RETRY_SECONDS", 0.02)
    path = tmp_path / "j"
    journal = Journal.open(path, NOW)
    gone = journal.append(happened(number) for number in range(10)).seqs[0]
    assert await journal.flush()
    with no_file_may_grow():
        journal.append(happened(number, 10_000) for number in range(10, 20))
        journal.acknowledge(gone)
        journal.record_command("1", "t", b"d", NOW)
        assert not await asyncio.wait_for(journal.flush(), 5)
        assert not journal.durable
        assert "cannot be written" in (journal.trouble or "")
        await until(lambda: journal.failures > 2)
        journal.remember("io", "key", "while full")
        assert not await asyncio.wait_for(journal.committed(), 5)
    await until(lambda: journal.durable)
    assert journal.trouble is None
    journal.remember("io", "key", "afterwards")
    assert await journal.flush()
    assert await journal.close()

    journal = Journal.open(path, NOW)
    assert topics(journal) == [happened(number).topic for number in range(1, 20)]
    assert journal.memory("io") == {"key": "afterwards"}
    assert [record.id for record in journal.unfinished] == ["1"]
    assert await journal.close()


@pytest.mark.asyncio
async def test_what_was_in_a_file_damaged_meanwhile_is_in_the_fresh_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "RETRY_SECONDS", 0.02)
    path = tmp_path / "j"
    journal = Journal.open(path, NOW)
    journal.append(happened(number) for number in range(10))
    assert await journal.flush()
    with no_file_may_grow():
        journal.append([happened(10, 10_000)])
        assert not await asyncio.wait_for(journal.flush(), 5)
        damaged(path, "garbage")
        (tmp_path / "j-wal").unlink()  # it has every page, and would mend the file
    await until(lambda: journal.durable)
    assert "set aside" in (journal.trouble or "")
    assert await journal.close()
    journal = Journal.open(path, NOW)
    assert journal.waiting == 11
    assert await journal.close()


@pytest.mark.asyncio
async def test_closing_while_the_disk_fails_says_so_and_ends(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j", NOW)
    assert await journal.flush()
    with no_file_may_grow():
        journal.append([happened(1, 100_000)])
        assert not await asyncio.wait_for(journal.close(), 5)
    await until(lambda: threads() == 0)
    journal.remember("io", "key", 1)
    assert not await journal.flush()
