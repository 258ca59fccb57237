"""Each thing that is wrong is named, with its remedy, and stops no other check."""

from __future__ import annotations

import pytest

from tests.daemon.house import needs_permissions
from tests.doctor.clinic import Findings

WRONG = [
    # what, part of the finding, level, part of the remedy
    ("source", "unplugged: there is no such file or folder", "warn", "mount it"),  # its job has ended
    ("source", "/gone: there is no such file or folder", "fail", "mount it"),
    ("sink", "connection refused (job delivering)", "fail", "Check that the server runs"),
    ("sink", "its folder does not exist (job delivering)", "fail", "Make the folder"),
    ("model", "/models/clip (embed): there is no folder", "fail", "Bring it back"),
    ("model", "smolvlm (describe): it is not on this machine, and HF_HUB_OFFLINE", "fail", "models pull smolvlm"),
    ("model", "has no weights (model.safetensors) (job torn)", "fail", "whole"),
    ("open files", "100 may be open", "fail", "nofile"),
    ("awake", "the inhibitor against sleep and idle was refused", "warn", "service install --system"),
    ("clock", "lies before the newest record of the ledger", "fail", "Set it"),
    ("lockdown", "it is switched off", "warn", "Take lockdown"),
    ("daemon", "none runs, and 6 jobs would go on", "warn", "ingestctl start"),
]


@pytest.mark.parametrize(("what", "finding", "level", "remedy"), WRONG)
def test_it_is_named(sick: Findings, what: str, finding: str, level: str, remedy: str) -> None:
    """One line each: what, what is wrong with it, what to do."""
    named = sick.one(what, finding)
    assert (named["level"], remedy in named["remedy"]) == (level, True), named


@needs_permissions
def test_an_unreadable_root_is_named(sick: Findings) -> None:
    """Permissions that keep the daemon's user out: what helps is a right, and not a disk to be mounted."""
    named = sick.one("source", "/shut: ")
    assert named["level"] == "fail"
    assert "may not read it" in named["finding"]
    assert named["remedy"].startswith("Give the daemon's user the right to read it")


def test_the_rest_stands(sick: Findings) -> None:
    """Exit code 1, and what is well is still told."""
    assert sick.code == 1
    for what in ("state folder", "ledger", "log", "socket", "memory", "lid"):
        assert sick.one(what)["level"] == "ok", what


def test_a_service_that_is_not_installed_is_named(sick: Findings) -> None:
    """No unit knows this home, whether or not a systemd runs here."""
    named = sick.one("service")
    assert named["level"] == "warn"
    assert "not installed" in named["finding"]
    assert named["remedy"]
