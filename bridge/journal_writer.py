"""The thread that copies the journal to disk: changes gathered into transactions, and begun anew after a failure.

One thread changes the contents and this one writes them; all they share is guarded by `_changed`, which is never
held while the disk works.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import structlog

from bridge.journal_file import Batch, Contents, JournalFile, UnreadableError, open_journal

GROUP_SECONDS = 0.05  # a change waits this long for others to share its transaction,
GROUP_ENTRIES = 256  # or until there are so many
RETRY_SECONDS = 5.0  # after the disk failed
PATIENCE = 60.0  # seconds: a disk that neither writes nor fails for so long hangs
# ValueError: a text that is no UTF-8. It cannot be written, and that must not stop the thread.
_FAILURES = (sqlite3.Error, OSError, UnreadableError, ValueError)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Writer:
    """Started by its constructor with the file as it was loaded; ended by `close`."""

    def __init__(
        self, path: Path, file: JournalFile, contents: Contents, *, full_sync: bool, fresh: str | None = None
    ) -> None:
        self._path, self._full_sync = path, full_sync
        self._file: JournalFile | None = file  # None: the disk failed; the thread's alone
        self._contents = contents
        self.failures = 0
        self.failing: str | None = None  # why the disk is behind the contents
        self.fresh = fresh  # why the file was begun anew
        self._changed = threading.Condition()
        self._batch = Batch()  # to be written next
        self._next = _promise()  # of this batch: True when it is on disk, False when in memory only
        self._last = _known(True)  # of the batch before it
        self._hurry = self._closing = False
        self._writing_since = math.inf  # on the loop's clock
        self._ended = _promise()
        threading.Thread(target=self._run, name="journal", daemon=True).start()

    @contextmanager
    def changing(self) -> Iterator[Batch]:
        """Hold the contents still while they and the batch are changed."""
        with self._changed:
            idle = not self._batch
            yield self._batch
            if idle or len(self._batch) >= GROUP_ENTRIES:
                self._changed.notify()

    def written(self, *, hurry: bool) -> Future[bool]:
        """Done when all changes so far are on disk (True), or it is known that they are in memory only (False)."""
        with self._changed:
            if self.failing is not None:
                return _known(False)
            if not self._batch:
                return self._last
            if hurry:
                self._hurry = True
                self._changed.notify()
            return self._next

    def close(self) -> Future[bool]:
        """Write what is left and end; the future is done when the file is closed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        return self._ended

    @property
    def turns_at(self) -> float:
        """When a write under way is over at the latest; long ago if the thread ended by a fault of ours."""
        ended = self._ended.done() and not self._closing
        return -math.inf if ended else self._writing_since + PATIENCE

    # --- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._turn():
                pass
        finally:
            self._end()

    def _turn(self) -> bool:
        """Wait for changes and write them once; True: these were the last."""
        with self._changed:
            if self.failing is None:
                self._changed.wait_for(lambda: self._batch or self._closing)
                self._changed.wait_for(self._due, GROUP_SECONDS)
                batch = self._batch
            else:  # the disk lacks something: all of it goes there, or nothing
                self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)
                batch = Batch(self._contents)
            self._batch, self._hurry = Batch(), False
            promise = self._last = self._next
            self._next = _promise()
            closing = self._closing
        self._writing_since = monotonic()
        promise.set_result(self._write(batch))
        self._writing_since = math.inf
        return closing

    def _due(self) -> bool:
        return self._hurry or self._closing or len(self._batch) >= GROUP_ENTRIES

    def _write(self, batch: Batch) -> bool:
        try:
            if self._file is None:
                opened = open_journal(self._path, full_sync=self._full_sync)
                self._file = opened.file
                if opened.fresh:
                    log.error(opened.fresh, path=str(self._path))
                    self.fresh = opened.fresh
            self._file.write(batch)
        except _FAILURES as error:
            self._failed(error)
            return False
        if self.failing is not None:
            log.info("the journal is on disk again", path=str(self._path))
            self.failing = None
        return True

    def _failed(self, error: Exception) -> None:
        """Those who wait for what came meanwhile hear it too. Said once, until it works again."""
        if self.failing is None:
            log.error(
                "the journal cannot be written; going on from memory", path=str(self._path), error=str(error)
            )
        self.failures += 1
        if self._file is not None:
            self._file.close()
            self._file = None
        with self._changed:
            self.failing = f"the journal cannot be written: {error}"
            self._next.set_result(False)
            self._next = _promise()

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        with self._changed:
            complete = self.failing is None and self._last.done()
            self.failing = self.failing or "the journal is closed"
            for promise in (self._last, self._next):
                if not promise.done():
                    promise.set_result(False)
        self._ended.set_result(complete)


def _promise() -> Future[bool]:
    """A future that no waiter can cancel: others wait for it too."""
    future: Future[bool] = Future()
    future.set_running_or_notify_cancel()
    return future


def _known(written: bool) -> Future[bool]:
    future = _promise()
    future.set_result(written)
    return future
