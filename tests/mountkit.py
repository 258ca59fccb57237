"""A disk that dies: a file system of our own (FUSE) that answers until it is told to stop, and then never again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SERVER = """\
import ctypes, os, struct, sys
inside, behind, dead = sys.argv[1:]
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
    opcode, unique, node = struct.unpack_from("<IQQ", request, 4)
    if opcode in (2, 42) or opcode != 26 and (not behind or os.path.exists(dead)):  # FORGET has no answer
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
        if not shutil.which("unshare"):
            pytest.skip("no unshare on this machine: the dead mount was not tested")
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
            pytest.skip(f"no file system of our own here ({why}): the dead mount was not tested")
        self.prefix = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]

    def die(self) -> None:
        """Answer nothing any more."""
        self._dead.touch()

    def revive(self) -> None:
        """Answer again; what was asked meanwhile is never answered."""
        self._dead.unlink()

    def close(self) -> None:
        """The mount goes with its server, and whoever waits for it is told so."""
        self._holder.kill()
        self._holder.communicate()
