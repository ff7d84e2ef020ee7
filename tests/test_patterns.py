"""Patterns over keys, and how careful they are with what is dangerous."""

from __future__ import annotations

import pytest

from bridge.patterns import matches, opens


@pytest.mark.parametrize(
    ("pattern", "key", "plain", "dangerous"),
    [
        ("*", "job_type/reboot", True, False),
        ("job_*", "job_type/reboot", True, False),
        ("job_type/*", "job_type/reboot", True, False),
        ("job_type/?*", "job_type/reboot", True, False),
        ("job_type/reboot", "job_type/reboot", True, True),
        ("job_type/re*", "job_type/reboot", True, True),
        ("ai/*/mode", "ai/1_01/mode", True, True),
        ("*/mode", "ai/1_01/mode", True, False),
        ("register/1_*", "register/1_5", True, True),
        ("Cam/GPS - [1]/x", "Cam/GPS - [1]/x", True, True),
        ("ro/*", "ro/1_01/x", True, False),
        ("ro/*", "do/1_01", False, False),
        ("RO/*", "ro/1_01", False, False),
    ],
)
def test_what_a_pattern_reaches(pattern: str, key: str, plain: bool, dangerous: bool) -> None:
    assert matches(pattern, key) is plain
    assert opens(pattern, key) is dangerous
