"""A feed to follow, a small disk for sinks to fill, a Qdrant server."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.testing.feed import Feed, feed_of
from tests.needs import program
from tests.sinks.qdrant.places import Server

pytest.register_assert_rewrite("ingestd.testing.sink")


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    """600 contents: two full pages and a short one."""
    with feed_of(tmp_path, 600) as feed:
        yield feed


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    """A Qdrant server with nothing on it."""
    served = Server(tmp_path)
    yield served
    served.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server gets some seconds for an answer: enough on a busy machine, and no minute for one that is late."""
    monkeypatch.setattr("ingestd.sinks.qdrant.server_connection.WRITE_S", 4)


class SmallDisk:
    """A tmpfs in a mount namespace of its own, reached from outside through ``/proc``; ``resize`` while it is used.

    Skips the test where there can be none.
    """

    def __init__(self, folder: Path, size: str) -> None:
        program("unshare", "a full disk")
        mount = f"mount -t tmpfs -o size={size} none '{folder}' && echo ready && exec sleep 600"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mount], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            self.close()
            pytest.skip("NOT TESTED: a full disk: this user may not mount a file system of its own (root may)")
        self._inside = folder
        self.folder = Path(f"/proc/{self._holder.pid}/root{folder}")

    @property
    def pid(self) -> int:
        """The process that has the namespace."""
        return self._holder.pid

    def resize(self, size: str) -> None:
        where = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        subprocess.run([*where, "mount", "-o", f"remount,size={size}", str(self._inside)], check=True)

    def fill(self) -> None:
        """Leave not one block free."""
        with open(self.folder / "ballast", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        assert os.statvfs(self.folder).f_bavail == 0

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = SmallDisk(folder, "128k")
    yield disk
    disk.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ca.pem``, and ``cert.pem`` and ``key.pem`` of 127.0.0.1 that it signed."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    commands = [
        f"req -x509 {new} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        f"req {new} -keyout key.pem -out csr -subj /CN=server",
        "x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem",
    ]
    openssl = program("openssl", "https")
    for command in commands:
        subprocess.run([openssl, *command.split()], cwd=folder, check=True, capture_output=True)
    return folder
