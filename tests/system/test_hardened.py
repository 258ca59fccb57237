"""The system's unit is locked down as far as it goes, and everything still works in it."""

from __future__ import annotations

import json

import pytest

from tests.system.sandbox import PREFIX
from tests.system.unit import Unit

WORST = 20
"""The highest exposure, in tenths, that ``systemd-analyze security`` may find: the unit says why not less."""

STRANGER = """\
import socket, sys
door = socket.socket(socket.AF_UNIX)
door.settimeout(20)
door.connect(sys.argv[1])
door.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "status", "params": {}}\\n')
print(door.recv(65536).decode())
"""


pytestmark = pytest.mark.parametrize("unit", ["system"], indirect=True, scope="module")
"""As it is installed, with nothing relaxed for the tests. A user's manager may not lock down more than a user may."""


def test_its_exposure_is_low_while_it_works(unit: Unit) -> None:
    """``systemd-analyze security`` of the running unit, with a job that goes through it."""
    unit.start("hardened", 160, "--batch-size", "40", "--cooldown", "0.3")
    unit.under_way("hardened")
    report = unit.sandbox.attempt("systemd-analyze", "security", "--no-pager", f"--threshold={WORST}", unit.name)
    assert report.returncode == 0, report.stdout
    unit.check_whole("hardened", 160, ends=0)


def test_its_workers_give_up_what_they_do_not_need(unit: Unit) -> None:
    """The unit's own locks let each child fall further: all that the kernel offers is in force in them, too."""
    unit.start("locked", 3)
    unit.finish("locked")
    told = [json.loads(entry["MESSAGE"]) for entry in unit.entries("INGESTD_EVENT=workers locked down")]
    assert [entry["missing"] for entry in told if entry["job"] == "locked"] == [[]]
    (force,) = [" ".join(entry["force"]) for entry in told if entry["job"] == "locked"]
    for part in ("landlock", "writes 1 place", "no TCP", "no programs", "no sockets", "no core dumps"):
        assert part in force, force


def test_a_disk_that_is_mounted_later_is_seen(unit: Unit) -> None:
    """The unit's own view of the files takes part in what the machine mounts while it runs."""
    before = unit.pid
    unit.sandbox.run("mkdir", "-p", "/media/stick")
    unit.sandbox.run("mount", "-t", "tmpfs", "stick", "/media/stick")
    try:
        unit.start("stick", 20, folder="/media/stick/photos")
        unit.check_whole("stick", 20, ends=0)
    finally:
        unit.sandbox.run("umount", "/media/stick")
    assert unit.pid == before


def test_only_its_user_is_answered(unit: Unit) -> None:
    """Behind the folder's mode stands the check of who is there: another user gets no word, the user and root do."""
    sandbox = unit.sandbox
    sandbox.add_user("stranger", 4322, linger=False)
    ask = (f"{PREFIX}/bin/python", "-c", STRANGER, unit.door)
    assert "Permission denied" in sandbox.attempt(*ask, user="stranger").stderr
    folders = {folder: sandbox.run("stat", "-c", "%a", folder) for folder in (unit.door, *parents(unit.door))}
    try:
        for folder in folders:
            sandbox.run("chmod", "a+rwx", folder)
        assert '"jobs"' not in sandbox.attempt(*ask, user="stranger").stdout
        assert '"jobs"' in sandbox.attempt(*ask, user=unit.user).stdout
        assert '"jobs"' in sandbox.attempt(*ask).stdout
    finally:
        for folder, mode in folders.items():
            sandbox.run("chmod", mode, folder)


def parents(path: str) -> list[str]:
    """The folders above ``path`` that lie under ``/run``."""
    above = path.split("/")[:-1]
    return ["/".join(above[:count]) for count in range(3, len(above) + 1)]


def test_what_is_not_its_own_it_cannot_write(unit: Unit) -> None:
    """The photos' folder, the rest of the home and the system are read-only to the whole unit."""
    photos = unit.photos("kept", 3)
    inside = f"nsenter --target {unit.pid} --mount --setuid {unit.sandbox.uid(unit.user)} touch"
    for folder in (photos, unit.home, "/etc", "/usr", "/var"):
        done = unit.sandbox.attempt("sh", "-c", f"{inside} {folder}/mark")
        assert "Read-only file system" in done.stderr, (folder, done)
