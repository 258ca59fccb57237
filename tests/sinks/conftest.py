"""A small disk for sinks to fill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A tmpfs in a mount namespace of its own, reached from outside through ``/proc``; ``resize`` while it is used."""

    def __init__(self, folder: Path, size: str) -> None:
        mount = f"mount -t tmpfs -o size={size} none '{folder}' && echo ready && exec sleep 600"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mount], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._holder.stdout is not None
        self.mounted = self._holder.stdout.readline() == "ready\n"
        self._inside = folder
        self.folder = Path(f"/proc/{self._holder.pid}/root{folder}")

    def resize(self, size: str) -> None:
        where = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        subprocess.run([*where, "mount", "-o", f"remount,size={size}", str(self._inside)], check=True)

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
    try:
        disk = SmallDisk(folder, "128k")
    except FileNotFoundError:
        pytest.skip("no unshare on this machine: the full disk was not tested")
    if not disk.mounted:
        disk.close()
        pytest.skip("no mount namespaces for this user: the full disk was not tested")
    yield disk
    disk.close()
