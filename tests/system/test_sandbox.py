"""The sandbox itself: it ends with whoever made it, and says why it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.system import keeper
from tests.system.sandbox import ROOT, Refused, Sandbox, refusal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the service manager of this system is not systemd")

MAKER = """\
import sys, time
from pathlib import Path
from tests.system.sandbox import Refused, Sandbox
sandbox = Sandbox(Path(sys.argv[1]))
try:
    sandbox.start()
except Refused as reason:
    print("refused", reason, flush=True)
else:
    sandbox.run("systemd-run", "--quiet", "sleep", "3600")
    print(sandbox.leader, sandbox.keeper.pid, sandbox.name, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def maker(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that has a sandbox, as a test run has one."""
    command = [sys.executable, "-c", MAKER, str(tmp_path / "log")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_test_run_leaves_nothing(maker: subprocess.Popen[str]) -> None:
    """SIGKILL for the tests: every process of the sandbox ends, and its control group goes."""
    assert maker.stdout is not None
    words = maker.stdout.readline().split(maxsplit=3)
    maker.kill()
    maker.wait(10)
    maker.stdout.close()
    if words[0] == "refused":
        pytest.skip(f"no real systemd to test against: {' '.join(words[1:])}")
    leader, keeper_pid, name = int(words[0]), int(words[1]), words[2]
    deadline = time.monotonic() + 20
    while psutil.pid_exists(leader) or psutil.pid_exists(keeper_pid) or groups(name):
        assert time.monotonic() < deadline, (leader, keeper_pid, groups(name))
        time.sleep(0.05)


def groups(name: str) -> list[Path]:
    """The sandbox's control group, wherever this machine has the unified hierarchy."""
    return [top for top in (keeper.GROUPS / name, keeper.GROUPS / "unified" / name) if top.exists()]


def test_what_a_sandbox_wants_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is started where something is missing, and the reason comes with what to do."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refusal("x") == "a sandbox needs root: sudo make test"
    with pytest.raises(Refused, match="sudo make test"):
        Sandbox(tmp_path / "log").start()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "apt-get install" in (refusal("x") or "")
