"""`lab2mqtt` and `python -m bridge`."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """One command; its exit code.

    `health` is asked every few seconds and does not pay for the others. `run` takes a second until it can read its
    configuration again: a SIGHUP that comes sooner waits, and ends nothing.
    """
    if sys.argv[1:2] == ["health"]:
        from bridge.cli.health import main as health  # noqa: PLC0415

        return health(sys.argv[2:])
    if sys.argv[1:2] == ["run"]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from bridge.cli.main import main as any_command  # noqa: PLC0415

    return any_command()


if __name__ == "__main__":
    sys.exit(main())
