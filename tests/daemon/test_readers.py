"""A reading group, with two real users: its members see everything and change nothing, strangers get nowhere."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.house import defects, run_ingestd
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

OWNERS = [
    ["pause", "album"], ["resume", "album"], ["stop", "album"], ["retry", "album"], ["remove", "album"],
    ["start", "/tmp"], ["config"], ["shutdown"], ["search", "--like", "/etc/passwd"],
]  # fmt: skip
"""Commands that are the owner's alone."""

GROUP = next((group for group in grp.getgrall() if group.gr_name == "users"), grp.getgrall()[-1])


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that others may pass, as ``/srv/ingestd`` would be."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: the reading group, end to end: only root can be two users")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="readers-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder) / "home"


@pytest.fixture(scope="module")
def shown(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon of root's with a reading group, and a job that is through."""
    photos = tmp_path_factory.mktemp("photos") / "album"
    photos.mkdir()
    write_photos(photos, 3)
    (photos / "bad.jpg").write_bytes(b"no image")
    home.mkdir()
    home.chmod(0o755)
    (home / "config.toml").write_text(f'read_group = "{GROUP.gr_name}"\n')
    with Daemon(home) as daemon:
        assert daemon.ingest(photos, **META)["counts"]["done"] == 3
        yield daemon
    assert not defects(daemon)


def as_user(
    daemon: Daemon, groups: list[int], *commands: list[str], env: dict[str, str] | None = None
) -> list[tuple[int, str, str]]:
    """The client's exit code, stdout and stderr for each command, run by nobody with these groups."""
    photo = daemon.job()["sources"][0] + "/bad.jpg"
    warm = [
        ["status"], ["status", "--json"], ["summary"], ["failed"], ["show", photo], ["wait", "album"], ["config"],
        ["search", "x"], ["pause", "absent"], ["start", "/nonexistent"], ["logs"], ["status", "absent"],
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/daemon/readers.py"), str(NOBODY), str(NOBODY), ",".join(map(str, groups))],
        input=json.dumps([warm, commands]), capture_output=True, text=True, timeout=120,
        env=daemon.env | {"PYTHONPATH": str(ROOT / "ctl"), "USER": "nobody", "LOGNAME": "nobody"} | (env or {}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def member(shown: Daemon) -> dict[str, tuple[int, str, str]]:
    """What a member of the group gets for each command."""
    photo = shown.job()["sources"][0] + "/bad.jpg"
    commands = [["status"], ["summary"], ["failed"], ["show", photo], ["wait", "album"], ["logs"], *OWNERS]
    return {
        " ".join(command): result
        for command, result in zip(commands, as_user(shown, [GROUP.gr_gid], *commands), strict=True)
    }


def test_a_member_looks(shown: Daemon, member: dict[str, tuple[int, str, str]]) -> None:
    """Everything that only tells is answered, by the ordinary client with the owner's INGESTD_HOME."""
    status, summary, failed, show, wait = list(member.values())[:5]
    assert status[0] == summary[0] == failed[0] == show[0] == 0, (status, summary, failed, show)
    assert "album" in status[1]
    assert "bad.jpg" in failed[1]
    assert "bad.jpg" in show[1]
    assert wait[0] == 3, "finished with a failed file"


@pytest.mark.parametrize("command", [" ".join(command) for command in OWNERS])
def test_a_member_changes_nothing(shown: Daemon, member: dict[str, tuple[int, str, str]], command: str) -> None:
    """Each verb of the owner's is refused in words, with whom to ask, and nothing has happened."""
    code, out, err = member[command]
    assert code != 0
    assert not out
    assert "reading group" in err
    assert "Ask user root, whose daemon it is" in err
    job = shown.job("album")
    assert (job["status"], job["counts"]["done"], job["counts"]["failed"]) == ("completed", 3, 1)


def test_the_socket_by_its_name(shown: Daemon) -> None:
    """Where the daemon has no INGESTD_HOME, as under the system's service, INGESTD_SOCKET says which one is meant."""
    env = {"INGESTD_SOCKET": shown.socket, "INGESTD_HOME": ""}
    status, start = as_user(shown, [GROUP.gr_gid], ["status"], ["start", "/tmp"], env=env)
    assert status[0] == 0, status
    assert "album" in status[1]
    assert "reading group" in start[2]


def test_the_state_stays_the_owners(shown: Daemon, member: dict[str, tuple[int, str, str]]) -> None:
    """Only the way to the socket is open: the log, the ledger and the results cannot be read past the daemon."""
    code, _, err = member["logs"]
    assert code != 0
    assert "ermission denied" in err
    for name in ("state", "log"):
        assert stat.S_IMODE((shown.home / name).stat().st_mode) & 0o077 == 0


def test_a_stranger_gets_nowhere(shown: Daemon) -> None:
    """Who is in no such group cannot even connect, and is told why by the ordinary client."""
    ((code, _, err),) = as_user(shown, [], ["status"])
    assert code == 4
    assert "Permission denied" in err


def test_a_stranger_who_connects_is_not_answered(shown: Daemon) -> None:
    """The modes of the folder are not the only lock: the peer's groups are asked for when it connects."""
    run = Path(shown.socket).parent
    modes = [(path, stat.S_IMODE(path.stat().st_mode)) for path in (run, Path(shown.socket))]
    try:
        for path, bits in modes:
            path.chmod(bits | 0o007)
        pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(OSError):
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(shown.socket)
                    sock.settimeout(20)
                    try:
                        sock.sendall(b'{"id": 1, "method": "status"}\n')
                        code = 0 if sock.recv(100) == b"" else 2
                    except (BrokenPipeError, ConnectionResetError):
                        code = 0
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        for path, bits in modes:
            path.chmod(bits)


@pytest.mark.parametrize(
    ("group", "words"),
    [("no-such-group", "there is no such group"), ("a b", "the name of a group is needed")],
)
def test_a_group_that_is_none_keeps_the_daemon_from_starting(tmp_path: Path, group: str, words: str) -> None:
    """A mistyped group is told at once: the owner would believe that others can read."""
    ended = run_ingestd(tmp_path / "home", env={"INGESTD_READ_GROUP": group})
    assert ended.returncode != 0
    assert words in ended.stderr
    assert "Try: " in ended.stderr
    assert "Traceback" not in ended.stderr
