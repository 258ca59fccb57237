"""A real process under the lock: what its work needs is let through, all else is refused by the kernel.

Each attempt is made by an unlocked process too, so that a refusal is the lock's and not the machine's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ingestd.lockdown import landlock, sockets

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process lock itself: nothing was tested"),
    pytest.mark.skipif(landlock.kernel().abi < 6, reason="this kernel's landlock is older than ABI 6: not tested"),
    pytest.mark.skipif(not sockets.known(), reason="the system calls of this machine are not known: not tested"),
]

ATTEMPTS = Path(__file__).with_name("attempts.py")

MAY = (
    *("read a source", "list a source", "read a model", "read a model behind a link", "write scratch"),
    *("rename scratch", "random", "numpy", "a pair of sockets", "its own memory", "the CPU", "a thread"),
)

FILES = (
    *("read a secret", "read a secret, in a thread", "read a secret behind a link", "list a home", "read the ledger"),
    *("write the ledger", "write into a source", "change a source", "cut a source short", "delete a source"),
    *("rename a source", "write a model", "make a folder"),
)

LINES = (
    *("connect by TCP", "connect to another port", "listen", "send a datagram"),
    *("connect to a Unix socket", "connect to an abstract socket"),
)

ATTRIBUTES = (
    *("change a source's mode", "change a source's time", "change a source's attributes"),
    "change the mode of what it may not read",
)

OTHERS = ("run a program", "signal its parent", "read its parent's environment", "read its parent's memory")


class Place:
    """Folders, a ledger and listeners for one process's attempts."""

    def __init__(self, base: Path, lines: ExitStack) -> None:
        base.mkdir()
        self.base = base
        for name in ("source", "scratch", "home/.ssh", "state", "blobs", "model", "cwd"):
            (base / name).mkdir(parents=True)
        for name in ("source/photo.jpg", "source/victim.jpg", "source/other.jpg", "scratch/old", "home/.ssh/id"):
            (base / name).write_bytes(b"bytes")
        (base / "source" / "link.jpg").symlink_to(base / "home" / ".ssh" / "id")
        (base / "state" / "ledger.db").write_bytes(b"SQLite")
        (base / "model" / "config.json").write_bytes(b"{}")
        (base / "blobs" / "weights").write_bytes(b"weights")
        (base / "model" / "model.safetensors").symlink_to(base / "blobs" / "weights")
        tcp, other = (lines.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        unix, abstract = (lines.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        os.chdir(base)  # a socket's path is short
        unix.bind("unix")
        self.name = f"ingestd-test-{os.getpid()}-{base.name}"
        abstract.bind("\0" + self.name)
        unix.listen()
        abstract.listen()
        self.port, self.other_port = tcp.getsockname()[1], other.getsockname()[1]

    def tried(self, access: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
        """What a process under ``access`` could do, and what it said of its lock."""
        base = self.base
        wish = {
            **{name: str(base / name) for name in ("source", "scratch", "home", "model", "unix")},
            "ledger": str(base / "state" / "ledger.db"),
            "port": self.port,
            "other_port": self.other_port,
            "abstract": self.name,
            **more,
        }
        if access is not None:
            read = [str(base / name) for name in ("source", "model", "blobs/weights")]
            wish["access"] = {"read": read, "write": [str(base / "scratch")], **access}
        done = subprocess.run(
            [sys.executable, "-c", ATTEMPTS.read_text(), json.dumps(wish)],
            cwd=base / "cwd", capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes places, one after the other."""
    before, base = os.getcwd(), tmp_path_factory.mktemp("lock")
    with ExitStack() as lines:
        count = iter(range(100))
        yield lambda: Place(base / str(next(count)), lines)
        os.chdir(before)


@pytest.fixture(scope="module")
def free(places: Any) -> dict[str, str]:
    """The attempts of a process without a lock."""
    return dict(places().tried(None)["found"])


@pytest.fixture(scope="module")
def locked(places: Any) -> dict[str, Any]:
    """The attempts of one that is locked as a worker with a local model is."""
    return dict(places().tried({}))


@pytest.mark.parametrize("attempt", [*MAY, *FILES, *ATTRIBUTES, *LINES, *OTHERS])
def test_without_a_lock_everything_is_done(attempt: str, free: dict[str, str]) -> None:
    """What the lock refuses below, this user may do here."""
    assert free[attempt] == "done"


@pytest.mark.parametrize("attempt", MAY)
def test_what_the_work_needs_is_let_through(attempt: str, locked: dict[str, Any]) -> None:
    """Sources and models are read, the scratch folder is written, libraries load, threads begin."""
    assert locked["found"][attempt] == "done"


@pytest.mark.parametrize("attempt", [*FILES, *ATTRIBUTES, *LINES, *OTHERS])
def test_all_else_is_refused(attempt: str, locked: dict[str, Any]) -> None:
    """Other files, any change of a source or a model, every connection, other programs and other processes."""
    assert locked["found"][attempt].startswith("PermissionError")


def test_every_attempt_has_its_verdict(locked: dict[str, Any]) -> None:
    """No attempt is made without being judged, and the lock says what holds."""
    assert set(locked["found"]) == {*MAY, *FILES, *ATTRIBUTES, *LINES, *OTHERS}
    assert locked["told"]["missing"] == []
    assert {"no TCP", "no programs", "no core dumps", "no signals to others"} <= set(locked["told"]["force"])


def test_an_endpoints_worker_reaches_its_port_alone(places: Any) -> None:
    """By TCP, and by no other kind of socket but those that resolve names; files are as they are for others."""
    place = places()
    found = place.tried({"ports": [place.port]})["found"]
    assert found["connect by TCP"] == found["send a datagram"] == "done"
    refused = {name for name, outcome in found.items() if outcome.startswith("PermissionError")}
    assert refused == {*FILES, *ATTRIBUTES, *LINES, *OTHERS} - {"connect by TCP", "send a datagram"}


def test_a_probe_has_files_and_the_network_and_no_more(places: Any) -> None:
    """It fetches models and fills caches; programs, other processes and Unix sockets are not its business."""
    found = places().tried({"anywhere": True, "ports": None})["found"]
    assert {name for name in (*FILES, *LINES) if found[name] != "done"} == {
        *("connect to a Unix socket", "connect to an abstract socket")
    }
    assert all(found[name].startswith("PermissionError") for name in OTHERS if name != "read its parent's environment")


def test_a_sink_may_dress_its_files(places: Any) -> None:
    """A store's library copies files with their modes; that is let through where it is asked for, and to a probe."""
    for access in ({"attributes": True}, {"anywhere": True, "ports": None}):
        found = places().tried(access)["found"]
        assert {found[name] for name in ATTRIBUTES} == {"done"}


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5])
def test_an_older_landlock_locks_what_it_knows(places: Any, abi: int) -> None:
    """Each ABI of the past, asked of this kernel: files are locked from the first on; what it lacks is not fatal."""
    tried = places().tried({}, kernel=[abi])
    found = tried["found"]
    assert all(found[name] == "done" for name in MAY)
    left_open = {"cut a source short"} if abi < 3 else set()
    assert {name for name in FILES if not found[name].startswith("PermissionError")} == left_open
    assert all(found[name].startswith("PermissionError") for name in LINES)
    assert f"landlock {abi}" in tried["told"]["force"]
    assert ("no TCP" in tried["told"]["force"]) == (abi >= 4)
    assert ("no signals to others" in tried["told"]["force"]) == (abi >= 6)


def test_a_kernel_without_landlock_is_said(places: Any) -> None:
    """The process goes on with what else there is: no sockets, no programs; its files are open."""
    tried = places().tried({}, kernel=[0, "this kernel was built without it"])
    assert tried["told"]["missing"] == ["landlock: this kernel was built without it"]
    assert all(tried["found"][name] == "done" for name in (*MAY, *FILES))
    assert all(tried["found"][name].startswith("PermissionError") for name in (*LINES, "run a program"))
