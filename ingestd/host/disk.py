"""What the state folder lies on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

NETWORK_FS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.rclone"}
)
"""File systems on which SQLite's locks and shared memory do not hold."""


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write where ``path`` lies."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def file_system(path: Path) -> str:
    """The type of the file system that holds ``path``, from the mount table; ``""`` where there is none to read."""
    if sys.platform != "linux":
        return ""
    target = os.fsencode(os.path.realpath(path))
    best, kind = b"", ""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        mount = fields.split(b" ")[4].replace(b"\\040", b" ")
        inside = target == mount or target.startswith(mount.rstrip(b"/") + b"/")
        if inside and len(mount) >= len(best):
            best, kind = mount, rest.split(b" ")[0].decode()
    return kind
