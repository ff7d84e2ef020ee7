"""`lab2mqtt run`: the daemon."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bridge.settings import Settings


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "run",
        help="run the daemon",
        description="Connect the configured devices with the broker until SIGTERM or SIGINT.",
    )
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="the configuration (TOML)")
    parser.add_argument("--secrets", type=Path, metavar="DIR", help="a directory of secrets, one file each")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import structlog

    from bridge import log, settings, settings_advice

    def read() -> Settings:
        """As it stands at that moment; what is doubtful is said again."""
        found = settings.load(options.config, secrets=options.secrets)
        doubts(found)
        return found

    def doubts(found: Settings) -> None:
        for doubt in settings_advice.advice(found, options.config, options.secrets):
            structlog.get_logger(__name__).warning("configuration", doubt=doubt)

    configuration = settings.load(options.config, secrets=options.secrets)
    log.configure(configuration.bridge.log_level, configuration.bridge.log_format)
    doubts(configuration)
    return serve(configuration, read)


def serve(configuration: Settings, read: Callable[[], Settings]) -> int:
    """Run the daemon until a signal asks it to stop; SIGHUP has it read the configuration again."""
    import asyncio
    import gc
    import signal

    from bridge.app import Daemon
    from bridge.threads import Threads

    async def main() -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Threads())
        daemon = Daemon(configuration, read)
        if task is not None:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, lambda: task.cancelling() or task.cancel())
            loop.add_signal_handler(signal.SIGHUP, daemon.reload)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # bridge.__main__ had it wait
        gc.collect()
        gc.freeze()  # what is there now stays: full collections need not look at it (they cost 30 ms)
        try:
            await daemon.run()
        except asyncio.CancelledError:
            pass
        finally:
            late = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}  # after the first, whatever comes
            signal.pthread_sigmask(signal.SIG_BLOCK, late)

    _runner()(main())
    return Exit.OK


def _runner() -> Callable[[Coroutine[object, object, None]], None]:
    """asyncio's, or uvloop's where it is installed (the extra `speed`)."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run
    run: Callable[[Coroutine[object, object, None]], None] = uvloop.run
    return run
