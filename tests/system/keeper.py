"""Process 1 of a sandbox's own namespaces: boots systemd in them, and ends everything when its standard input ends.

Started by ``sandbox`` through ``unshare``, as root, in private mount and PID namespaces:

    keeper.py NAME [PATH | FROM:TO]…        folders of this machine that are bound into the sandbox, read-only

It holds the far end of a pipe from the tests. When they end, killed or not, the pipe ends; the keeper then kills every
process of its namespace and removes the control group. When the keeper itself is killed the kernel ends its namespace:
an empty control group is all that can be left, and the next sandbox removes it. All it mounts is seen by nobody else,
and the sandbox writes to memory alone. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PREFIX = "ingestd-test-"
"""Every control group of ours begins so; no other is touched."""
EMPTY_S = 10
"""Until the kernel has taken the killed out of their control groups."""


def main(name: str, *binds: str) -> None:
    """Boot, wait for the end of standard input or of the sandbox, leave nothing."""
    # kill(-1) below reaches the whole namespace: it must be ours.
    assert os.getpid() == 1, "the keeper has to be process 1 of a PID namespace of its own"
    mount_privately()
    group = GROUPS / name
    for left in GROUPS.glob(PREFIX + "*"):
        removed(
            left
        )  # of a keeper that was killed; one with a process in it is another sandbox, and the kernel refuses
    group.mkdir()
    try:
        booted = boot(name, group, binds)
        while booted.poll() is None:
            readable, _, _ = select.select([0], [], [], 0.5)
            if readable and not os.read(0, 1024):
                break
    finally:
        end_everything()
        deadline = time.monotonic() + EMPTY_S
        while not removed(group):
            if time.monotonic() > deadline:
                sys.exit(f"left, with processes in it: {group}")
            time.sleep(0.02)


def mount_privately() -> None:
    """A /run of our own, and the unified control group hierarchy, which every kernel has beside the old ones."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "ingestd-test", "/run"], check=True)
    subprocess.run(["mount", "-t", "cgroup2", "ingestd-test", str(GROUPS)], check=True)
    Path("/run/root").mkdir()
    subprocess.run(["mount", "--bind", "/", "/run/root"], check=True)


def boot(name: str, group: Path, binds: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """systemd over a throw-away overlay of this machine's root, with loopback as its only network.

    ``basic.target`` and not ``multi-user.target``: on somebody's own machine that would start all their services again.
    """
    command = [
        "systemd-nspawn", "--quiet", "--directory=/run/root", "--volatile=overlay", "--register=no", "--keep-unit",
        # A container is kept from Landlock, a machine is not: children of the units are to lock themselves in as there.
        "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        "--private-network", "--link-journal=no", f"--machine={name}", "--console=pipe",
        *(f"--bind-ro={bind}" for bind in binds), "--boot", "--",
        "systemd.unit=basic.target", "systemd.mask=timers.target", "systemd.wants=systemd-logind.service",
        "systemd.wants=systemd-user-sessions.service", "systemd.wants=dbus.service",
    ]  # fmt: skip
    script = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    return subprocess.Popen(["sh", "-ec", script, "sh", str(group), *command], stdin=subprocess.DEVNULL)


def end_everything() -> None:
    """SIGKILL for all that is left in this namespace, and reap it."""
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nobody is left to be told; the reaping below says so as well
        try:
            os.wait()
        except ChildProcessError:
            return


def removed(top: Path) -> bool:
    """Whether the group and all under it could be removed."""
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
