"""Another user's daemon: named, it is asked and never replaced; not named, what answers must be one's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingestctl import rpc

from tests.ctl.ctlkit import ROOT

NOBODY, SOMEBODY = 65534, 4711


@pytest.mark.parametrize("words", [("status",), ("start",), ("start", "/tmp"), ("pause",), ("config",)], ids=" ".join)
def test_a_named_daemon_that_is_away_is_not_replaced(tmp_path: Path, words: tuple[str, ...]) -> None:
    """With INGESTD_SOCKET nothing is started, and nothing of one's own is shown in its stead."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("INGESTD_", "XDG_"))}
    env |= {"INGESTD_SOCKET": str(tmp_path / "none.sock"), "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "ingestctl", *words], capture_output=True, text=True, timeout=60, cwd="/",
        env=env | {"PYTHONPATH": f"{ROOT}/ctl:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 4, done
    assert "none.sock" in done.stderr
    assert not done.stdout
    assert not (tmp_path / "home").exists(), "a daemon was started"


def test_the_log_of_a_named_daemon_is_not_ones_own(tmp_path: Path) -> None:
    """One's own log is not shown in the place of somebody else's; a name for one's own daemon changes nothing."""
    own = tmp_path / "own"
    (own / "log").mkdir(parents=True)
    (own / "log" / "ingestd.log").write_text("mine\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith("INGESTD_")}
    env |= {"INGESTD_HOME": str(own), "PYTHONPATH": f"{ROOT}/ctl:{ROOT}"}
    command = [sys.executable, "-m", "ingestctl", "logs"]
    for door, code in ((own / "run" / "ingestd.sock", 0), (tmp_path / "none.sock", 1)):
        env["INGESTD_SOCKET"] = str(door)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
        assert (done.returncode, done.stdout) == (code, "" if code else "mine\n")
        assert (str(door) in done.stderr) == bool(code)


@pytest.fixture
def impostor() -> Iterator[Path]:
    """A runtime folder in which somebody else listens."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        ready, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                os.mkdir(f"{folder}/ingestd")
                with socket.socket(socket.AF_UNIX) as door:
                    door.bind(f"{folder}/ingestd/ingestd.sock")
                    door.listen()
                    os.write(said, b"x")
                    signal.pause()
            finally:
                os._exit(1)
        assert os.read(ready, 1) == b"x"
        os.close(ready)
        os.close(said)
        yield Path(folder)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen as another user: an impostor was not tested")
def test_an_impostor_in_the_runtime_folder(impostor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the folder in /tmp first is told nothing; a daemon that was meant by name may be another user's."""
    for name in ("INGESTD_HOME", "INGESTD_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(impostor))
    monkeypatch.setattr(os, "getuid", lambda: SOMEBODY)
    with pytest.raises(rpc.Away, match=f"is answered by user {NOBODY}, not by you") as caught:
        rpc.Connection()
    assert not caught.value.absent, "to start a daemon would not help"
    monkeypatch.setenv("INGESTD_SOCKET", str(impostor / "ingestd" / "ingestd.sock"))
    rpc.Connection().close()
