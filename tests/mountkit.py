"""File systems of a test's own: one that is soon full, and one (FUSE) that answers until it is told to stop, and then
never again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import program

_SERVER = """\
import ctypes, os, struct, sys
inside, behind, dead = sys.argv[1:]
unanswered = open(dead + ": asked by", "a")
fuse = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
if libc.mount(b"mortal", os.fsencode(inside), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("ready", flush=True)
names = sorted(os.listdir(os.fsencode(behind))) if behind else []
FOLDER, FILE = 0o040755, 0o100644

def attributes(node):  # struct fuse_attr
    size = 0 if node == 1 else os.path.getsize(os.path.join(os.fsencode(behind), names[node - 2]))
    return struct.pack("<6Q10I", node, size, -(-size // 512), 1, 1, 1, 0, 0, 0,
                       FOLDER if node == 1 else FILE, 1, 0, 0, 0, 4096, 0)

def answer(opcode, node, body):  # by linux/fuse.h; an int is an errno
    if opcode == 26:  # INIT
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 1 << 17, 0, 12, 9, 4096, 1, 1, 0, 0, *[0] * 7)
    if opcode == 1:  # LOOKUP
        name = body.rstrip(b"\\0")
        found = names.index(name) + 2 if name in names else 0
        return struct.pack("<4Q2I", found, 0, 0, 0, 0, 0) + attributes(found) if found else -2
    if opcode == 3:  # GETATTR
        return struct.pack("<Q2I", 0, 0, 0) + attributes(node)
    if opcode in (14, 27):  # OPEN, OPENDIR
        return struct.pack("<Q2I", 0, 0, 0)
    if opcode == 28:  # READDIR
        (offset,) = struct.unpack_from("<Q", body, 8)
        entries = b""
        if offset == 0:
            for at, name in enumerate(names):
                entry = struct.pack("<2Q2I", at + 2, at + 1, len(name), 8) + name
                entries += entry + bytes(-len(entry) % 8)
        return entries
    if opcode == 15:  # READ
        _, offset, size = struct.unpack_from("<2QI", body)
        with open(os.path.join(os.fsencode(behind), names[node - 2]), "rb") as file:
            return os.pread(file.fileno(), size, offset)
    if opcode == 17:  # STATFS
        return struct.pack("<5Q4I6I", 1, 1, 1, 1, 1, 4096, 255, 4096, 0, *[0] * 6)
    if opcode in (18, 25, 29, 34):  # RELEASE, FLUSH, RELEASEDIR, ACCESS
        return b""
    return -38

while True:
    request = os.read(fuse, 1 << 17)
    opcode, unique, node, thread = struct.unpack_from("<IQQ8xI", request, 4)
    if opcode in (2, 42):  # FORGET, BATCH_FORGET: they have no answer
        continue
    if opcode != 26 and (not behind or os.path.exists(dead)):
        print(thread, file=unanswered, flush=True)
        continue
    said = answer(opcode, node, request[40:])
    error, said = (said, b"") if isinstance(said, int) else (0, said)
    os.write(fuse, struct.pack("<IiQ", 16 + len(said), error, unique) + said)
"""


class MortalMount:
    """A folder in a mount namespace of its own that shows the files of ``behind``, one level deep, until ``die``.

    From then on, and from the beginning without ``behind``, it takes every question and never answers: whoever asks is
    stuck in the kernel, and SIGKILL does not free it. ``prefix`` goes in front of commands that are to see it. Skips
    the test where there can be none.
    """

    def __init__(self, folder: Path, behind: Path | None = None) -> None:
        program("unshare", "a disk that stops answering")
        self._dead = folder.with_name(f"{folder.name} is dead")
        self._holder = subprocess.Popen(
            [
                "unshare", "--mount", "--propagation", "private", sys.executable, "-c", _SERVER,
                str(folder), str(behind or ""), str(self._dead),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "ready\n":
            why = self._holder.stderr.read().strip() or "it did not come up"
            self.close()
            pytest.skip(f"NOT TESTED: a disk that stops answering: no file system of its own can be had here: {why}")
        self.prefix = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]

    def die(self) -> None:
        """Answer nothing any more."""
        self._dead.touch()

    def keeps_waiting(self, pid: int) -> bool:
        """Whether a thread of the process ``pid`` asked something that was not answered: it waits for ever."""
        try:
            threads = set(os.listdir(f"/proc/{pid}/task"))
        except FileNotFoundError:
            return False
        return not threads.isdisjoint(self._dead.with_name(f"{self._dead.name}: asked by").read_text().split())

    def revive(self) -> None:
        """Answer again; what was asked meanwhile is never answered."""
        self._dead.unlink()

    def close(self) -> None:
        """The mount goes with its server, and whoever waits for it is told so."""
        self._holder.kill()
        self._holder.communicate()


def run_on_small_disk(code: str, folder: Path, size: str) -> subprocess.CompletedProcess[str]:
    """A Python program with ``folder``, a new file system of ``size`` (as mount spells it), as its argument.

    Nobody else sees that file system. Skips the test where there can be none.
    """
    program("unshare", "a full disk")
    folder.mkdir()
    mount = 'mount -t tmpfs -o "size=$1" none "$2" && echo mounted && exec "$3" -c "$4" "$2"'
    shell = ["unshare", "--mount", "sh", "-c", mount, "sh", size, str(folder), sys.executable, code]
    ran = subprocess.run(shell, capture_output=True, text=True, timeout=120)
    if not ran.stdout.startswith("mounted\n"):
        pytest.skip(f"NOT TESTED: a full disk: no file system of its own can be had here: {ran.stderr.strip()}")
    ran.stdout = ran.stdout.removeprefix("mounted\n")
    return ran
