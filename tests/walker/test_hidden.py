"""Sources that this process cannot see although others may: the sentence says what is in the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from ingestd.walker.roots import _hidden
from tests.daemon.house import NOT_ROOT, needs_permissions

ROOT = Path(__file__).resolve().parents[2]

PRIVATE = (
    b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    b"90 22 8:1 /tmp/systemd-private-0f-ingestd@ann.service-Xy/tmp /tmp rw - ext4 /dev/sda1 rw\n"
)
SHARED = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n30 22 0:30 / /tmp rw - tmpfs tmpfs rw\n"


def test_a_service_with_a_tmp_of_its_own(tmp_path: Path) -> None:
    """Under PrivateTmp a folder in /tmp is not "absent": it is another /tmp; elsewhere it is what it seems."""
    absent = FileNotFoundError(errno.ENOENT, "absent")
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(PRIVATE)
    assert "a /tmp of its own" in _hidden(b"/tmp/photos", absent, str(mounts))
    assert _hidden(b"/home/photos", absent, str(mounts)) == ""
    assert _hidden(b"/tmpfoo", absent, str(mounts)) == ""
    mounts.write_bytes(SHARED)
    assert _hidden(b"/tmp/photos", absent, str(mounts)) == ""
    assert _hidden(b"/tmp/photos", absent, str(tmp_path / "no mounts")) == ""


@needs_permissions
def test_the_folder_that_cannot_be_passed_is_named(tmp_path: Path) -> None:
    """Of a path of many folders, the one in the way; a folder that itself cannot be read is not blamed on others."""
    photos = tmp_path / "home" / "ann" / "photos"
    photos.mkdir(parents=True)
    code = (
        "import sys\nfrom ingestd.walker.roots import resolve\n"
        "print(resolve(sys.argv[1].encode()).error)\nprint(resolve(sys.argv[2].encode()).error)"
    )
    closed = tmp_path / "closed"
    closed.mkdir()
    (tmp_path / "home" / "ann").chmod(0o600)
    closed.chmod(0o300)
    try:
        done = subprocess.run(
            [*NOT_ROOT, sys.executable, "-c", code, str(photos), str(closed)],
            capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    finally:
        (tmp_path / "home" / "ann").chmod(0o700)
        closed.chmod(0o700)
    assert done.returncode == 0, done.stderr
    barred, unreadable = done.stdout.splitlines()
    assert f"may not pass the folder {tmp_path}/home/ann; its permissions forbid that" in barred
    assert "may not read it; its permissions" in unreadable
