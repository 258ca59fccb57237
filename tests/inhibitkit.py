"""A ``systemd-inhibit`` for tests: it takes the real one's options and runs its command only when it grants the lock.

What it refuses, what it hangs at and what its help names stand in files beside it, so that a test can change them at
any time. As with the real one the lock is held by this process, not by the command, and is gone when it is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

_SCRIPT = """\
#!/bin/sh
here=${0%/*}
case $1 in --help) cat "$here/help"; exit;; esac
while :; do
    case $1 in
        --what=*) what=${1#--what=};;
        --mode=block|--who=*|--why=*) ;;
        -*) grep -q -e "$1" "$here/help" || { echo "unrecognized option '$1'" >&2; exit 1; };;
        *) break;;
    esac
    shift
done
echo "$what" >>"$here/asked"
for one in $(echo "$what" | tr : ' '); do
    if grep -qx "$one" "$here/hang"; then echo $$ >"$here/hanging"; exec sleep 120; fi
    if grep -qx "$one" "$here/refuse"; then echo 'Failed to inhibit: Access denied' >&2; exit 1; fi
done
echo "$what" >"$here/locks/$$"
"$@"
"""


class Inhibitor:
    """The program in a folder of its own, and what it was asked and holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "locks").mkdir(parents=True)
        for name in ("refuse", "hang", "help", "asked"):
            (folder / name).touch()
        program = folder / "systemd-inhibit"
        program.write_text(_SCRIPT)
        program.chmod(0o755)

    @property
    def path(self) -> str:
        """A PATH on which it comes first."""
        return f"{self.folder}:{os.environ['PATH']}"

    def refuses(self, *what: str) -> None:
        """From now on, of what is asked."""
        (self.folder / "refuse").write_text("".join(f"{one}\n" for one in what))

    def hangs_at(self, *what: str) -> None:
        """It answers neither yes nor no."""
        (self.folder / "hang").write_text("".join(f"{one}\n" for one in what))

    @property
    def asked(self) -> list[str]:
        """Every ``--what``, in order."""
        return (self.folder / "asked").read_text().split()

    def locks(self) -> dict[int, str]:
        """What is held now, by the process that holds it: ``systemd-inhibit --list``."""
        found = {}
        for file in (self.folder / "locks").iterdir():
            if _lives(int(file.name)):
                found[int(file.name)] = file.read_text().strip()
        return found

    def held(self) -> list[str]:
        """What is held now, sorted."""
        return sorted(self.locks().values())

    def hanging(self) -> int | None:
        """The process that does not answer, while it lives."""
        file = self.folder / "hanging"
        pid = int(file.read_text() or 0) if file.exists() else 0
        return pid if pid and _lives(pid) else None

    def kill(self) -> None:
        """End the processes that hold locks now, as an operator might."""
        for pid in self.locks():
            os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether ``condition`` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
