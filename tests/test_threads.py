"""What runs in a thread is done as usual, and what hangs in one does not keep the process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from concurrent.futures import Future
from typing import Any

import pytest

from bridge.threads import ENDLESS, Threads


def fails() -> None:
    raise OSError("no such name")


@pytest.mark.asyncio
async def test_results_and_errors_come_back() -> None:
    asyncio.get_running_loop().set_default_executor(Threads())
    assert await asyncio.to_thread(lambda: 6 * 7) == 42
    with pytest.raises(OSError, match="no such name"):
        await asyncio.to_thread(fails)
    addresses = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    assert addresses


HANGS = """
import asyncio, socket, sys, time
from bridge import threads

def lookup(*args): time.sleep(30)

def work():
    time.sleep(1)
    print("done")

async def main():
    threads.ENDLESS = (lookup,)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(threads.Threads())
    loop.run_in_executor(None, lookup)
    loop.run_in_executor(None, work)
    await asyncio.sleep(0)

asyncio.run(main())
"""


def test_a_process_ends_without_a_look_up_that_hangs_and_not_without_work_that_ends() -> None:
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=20.0, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert time.monotonic() - begun < 10.0


@pytest.mark.asyncio
async def test_name_look_ups_of_the_loop_are_told_from_other_work() -> None:
    executor = Threads()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    loop.set_debug(False)
    seen = []

    class Recorder(Threads):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            seen.append(fn)
            return super().submit(fn, *args, **kwargs)

    loop.set_default_executor(Recorder())
    await loop.getaddrinfo("127.0.0.1", 80)
    assert seen == [socket.getaddrinfo]
    assert seen[0] in ENDLESS
