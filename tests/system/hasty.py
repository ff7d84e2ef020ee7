"""`lab2mqtt` with a housekeeping that does not wait a minute: `python -m tests.system.hasty run -c FILE`."""

from __future__ import annotations

import sys

from bridge import housekeeping
from bridge.cli.main import main

housekeeping.PACE = housekeeping.Pace(between=1.5, settled=0.5, patience=2.0)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
