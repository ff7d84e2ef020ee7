"""The catalogue of findings: documented, used, told well; and the judgements that need no broker."""

from __future__ import annotations

import json
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import bridge
from bridge.cli.doctor import kept, machine, peers, printing
from bridge.cli.doctor.findings import CATALOGUE, Finding, Verdict, exit_code
from bridge.journal_file import NAME
from bridge.settings import Settings

SOURCES = Path(bridge.__file__).parent / "cli" / "doctor"
PAGE = Path(bridge.__file__).parent.parent / "docs" / "doctor.md"


def test_the_page_lists_every_finding_and_nothing_else() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\w+) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, verdict, meaning) for name, (verdict, meaning) in CATALOGUE.items()]


def test_every_finding_is_used_and_every_one_used_is_known() -> None:
    text = "".join(file.read_text() for file in SOURCES.glob("*.py") if file.name != "findings.py")
    used = set(re.findall(r'Finding\(\s*"([a-z_.]+)"', text))
    assert used | {"doctor.skipped"} == CATALOGUE.keys()


def test_exit_codes() -> None:
    ok, note = Finding("broker.ok", "broker", ""), Finding("bridge.offline", "bridge", "")
    warning, fault = Finding("limits.qos", "broker", ""), Finding("limits.retain", "broker", "")
    assert [exit_code(found) for found in ([], [ok, note], [ok, warning], [warning, fault])] == [0, 0, 20, 30]
    assert exit_code([fault, Finding("configuration.invalid", "configuration", "")]) == 78


def test_what_is_printed_is_safe_and_fits() -> None:
    finding = Finding("broker.stranger", "broker", "it said \x1b[2J\nand more: " + "word " * 40)
    lines = printing.lines(finding)
    assert lines[0].startswith("fault    broker           it said")
    assert all(len(line) <= printing.WIDTH and line.isprintable() for line in lines)
    assert " ".join(lines).endswith("[broker.stranger]")
    assert printing.summary([finding, finding]) == "2 faults"
    assert json.loads(printing.as_json([finding]))[0]["says"] == finding.says


def test_what_somebody_left_on_the_broker_does_no_harm() -> None:
    """Whoever may publish chooses these texts, and the sentences are copied into a shell."""
    topic = "lab2mqtt/io/set/x'; reboot; '"
    planted = kept.Kept(
        online=True,
        info={"version": "\ud800", "configuration": ["\ud800"]},
        health={"uptime": 10**400, "time": "0001-01-01T00:00:00+14:00", "trouble": ["\ud800", 10**4000]},
        links={},
        rivals={},
        commands=(topic, *(f"lab2mqtt/io/set/{number}" for number in range(1000))),
        birth=None,
        quarrel=False,
    )
    found = kept.findings(planted, Settings.model_validate({"bridge": {"id": "gw"}}))
    words = shlex.split(found[0].says.partition("clear it with ")[2])
    assert words == ["mosquitto_pub", "-r", "-n", "-t", topic]
    assert "bridge.online" in [finding.id for finding in found]
    assert sum(finding.id == "kept.command" for finding in found) == kept.SHOWN + 1
    printing.as_json(found).encode()
    "".join(line for finding in found for line in printing.lines(finding)).encode()


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ('[{"dev": "ai", "circuit": "1_01"}]', "evok"),
        ('{"circuit": "1_01", "dev": "di", "value": 1}', "evok"),
        ('{"type":"EVENT","event":{}}', "im7"),
        ('{"l":{"c":"WS","t":"Invalid message"}}', "ost"),
        ("Error: Unknown request:\n{}", "zeiss_inspect"),
        ("hello", None),
        ("{}", None),
        ("[]", None),
    ],
)
def test_who_speaks(text: str, driver: str | None) -> None:
    assert peers.guess([text]) == driver
    assert peers.guess(["", text]) == driver


# --- this machine ----------------------------------------------------------------------------------------


def test_a_state_directory_leaves_no_traces(tmp_path: Path) -> None:
    found, holder = machine.state(tmp_path / "new")
    assert ([finding.id for finding in found], holder) == (["state.ok"], None)
    found, holder = machine.state(tmp_path)
    assert ([finding.id for finding in found], holder) == (["state.ok"], None)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path) -> None:
    """As a quota does it: the kernel lets the process write no more than a little."""
    program = (
        "import sys; from pathlib import Path; from bridge.cli.doctor import machine; "
        "(finding,), _ = machine.state(Path(sys.argv[1])); print(finding.id, finding.says)"
    )

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    ended = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=no_room,
    )
    assert ended.stdout.startswith("state.full there is no space left")
    assert "make room" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_journal_is_examined_and_not_touched(tmp_path: Path) -> None:
    import asyncio

    from bridge.journal import Journal

    async def make() -> None:
        journal = Journal.open(tmp_path / NAME, 0.0)
        journal.remember("io", "key", 1)
        await journal.close()

    asyncio.run(make())
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    (finding,), holder = machine.state(tmp_path)
    assert (finding.id, holder) == ("state.ok", None)
    assert "the journal is sound" in finding.says
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_the_clock_and_the_versions() -> None:
    assert machine.clock().verdict in (Verdict.OK, Verdict.NOTE)
    assert bridge.__version__ in machine.versions().says
