"""How findings are shown: lines for people, one JSON list for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence

from bridge.cli.doctor.findings import Finding, Verdict

WIDTH = 110
_ORDER = (Verdict.FAULT, Verdict.WARNING, Verdict.NOTE, Verdict.SKIPPED, Verdict.OK)


def lines(finding: Finding) -> list[str]:
    """The verdict and the subject in columns, the sentence behind them, the id at its end."""
    head = f"{finding.verdict:8} {finding.subject:16} "
    text = f"{_printable(finding.says)} [{finding.id}]"
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * 26,
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(_counted(counts[verdict], verdict) for verdict in _ORDER if counts[verdict])


def _counted(count: int, verdict: Verdict) -> str:
    is_noun = verdict in (Verdict.FAULT, Verdict.WARNING, Verdict.NOTE)
    return f"{count} {verdict}{'s' if is_noun and count > 1 else ''}"


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects: id, verdict, subject, says. Peers may have sent half characters, which UTF-8 has not."""
    told = [{"id": f.id, "verdict": f.verdict, "subject": f.subject, "says": f.says} for f in findings]
    return json.dumps(told, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode()


def _printable(text: str) -> str:
    """What peers sent may stand in a sentence: it must not move the cursor."""
    return "".join(character if character.isprintable() else " " for character in text)
