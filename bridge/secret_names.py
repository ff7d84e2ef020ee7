"""By which names a secret is known wherever one may turn up: in a log line, an error, a transcript."""

from __future__ import annotations

import re

# Parts of names, and rather one too many than one too few. For patterns without regard to case.
WORDS = "passw|passphrase|secret|token|credential|authorization|cookie|api[_-]?key|private[_-]?key"
NAME = re.compile(WORDS, re.IGNORECASE)
