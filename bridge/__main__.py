"""`lab2mqtt` and `python -m bridge`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """One command; its exit code. `health` is asked every few seconds and does not pay for the others."""
    if sys.argv[1:2] == ["health"]:
        from bridge.cli.health import main as health  # noqa: PLC0415

        return health(sys.argv[2:])
    from bridge.cli.main import main as any_command  # noqa: PLC0415

    return any_command()


if __name__ == "__main__":
    sys.exit(main())
