"""What ``.ci/run`` installs is what the tests look for, and what it prints last are the tests that skipped."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests import needs

ROOT = Path(__file__).resolve().parents[1]

SUITE = """\
import pytest

@pytest.fixture
def lacking():
    pytest.skip("no <disk> & no \\"tape\\"")

@pytest.mark.parametrize("number", [1, 2])
def test_one(lacking, number): ...

@pytest.mark.skip(reason="not today")
def test_two(): ...

def test_three(): ...
"""


def test_every_package_that_a_test_needs_is_installed() -> None:
    """A program that a new test looks for comes with its package, or its test would skip in CI as well."""
    (listed,) = re.findall(r"^packages=\((.*?)\)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE | re.DOTALL)
    assert listed.split() == sorted({*needs.PACKAGES.values(), *needs.OTHERS})


def said_of(report: Path) -> list[str]:
    command = [sys.executable, str(ROOT / ".ci" / "skips.py"), str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    return done.stdout.splitlines()


def test_every_skipped_test_is_named_with_its_reason(tmp_path: Path) -> None:
    """The number, then each reason with its count, and below it the tests."""
    (tmp_path / "test_it.py").write_text(SUITE)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", f"--rootdir={tmp_path}", f"--junitxml={report}", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert ran.returncode == 0, ran
    assert said_of(report) == [
        "skipped: 3",
        '  2 x no <disk> & no "tape"',
        "      test_it::test_one[1]",
        "      test_it::test_one[2]",
        "  1 x not today",
        "      test_it::test_two",
    ]


def test_a_report_that_is_missing_is_said(tmp_path: Path) -> None:
    """The suite may have ended before it wrote one: that is no zero."""
    (line,) = said_of(tmp_path / "report.xml")
    assert line.startswith("skipped: not known")
