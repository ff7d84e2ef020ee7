"""`lab2mqtt` and `python -m bridge`."""

from __future__ import annotations

import sys

from bridge.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
