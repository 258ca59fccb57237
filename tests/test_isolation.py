"""The suite sees an environment of its own, whatever the machine's is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.isolation import FIXED, KEPT, OF_PYTEST, isolated


def test_only_what_is_known_to_be_needed_is_taken_over() -> None:
    """An allowlist: a variable that nobody thought of changes nothing either."""
    machine = {
        "PATH": "/bin", "INGESTD_SEED": "1", "PYTEST_XDIST_WORKER": "gw0", "LD_LIBRARY_PATH": "/lib",
        "PIP_CONSTRAINT": "/constraints.txt", "PIP_CONFIG_FILE": "/pip.conf", "INGESTD_WORKERS": "7",
        "XDG_STATE_HOME": "/state", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "HOME": "/home/ada",
        "HTTPS_PROXY": "http://proxy", "TERM": "dumb", "PYTEST_ADDOPTS": "-x", "MAKEFLAGS": "-s", "never heard of": "",
    }  # fmt: skip
    kept = {name: machine[name] for name in ("PATH", "INGESTD_SEED", "PYTEST_XDIST_WORKER", "LD_LIBRARY_PATH")}
    assert isolated(machine, "/home/new") == {**kept, **FIXED, "HOME": "/home/new"}


def test_it_holds_for_this_process() -> None:
    """For what is imported here as well as for what is started."""
    assert os.environ.items() >= FIXED.items()
    settings = {name for name in os.environ if name.startswith(("PIP_", "XDG_", "INGESTD_"))}
    assert settings <= FIXED.keys() | KEPT
    assert not OF_PYTEST & os.environ.keys()
    assert time.tzname == ("UTC", "UTC")
    umask = os.umask(0o022)
    assert umask == 0o022


def test_pip_has_no_settings(tmp_path: Path) -> None:
    """Neither a user's file nor the machine's: pip says itself what it would go by."""
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[global]\nconstraint = /nonexistent\n")
    command = [sys.executable, "-m", "pip", "config", "list"]
    env = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": "/etc/xdg"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done
    assert {line.partition(".")[0] for line in done.stdout.splitlines()} <= {":env:"}, done.stdout
