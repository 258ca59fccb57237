"""Source paths made real: canonical path, device, file system, and one clear sentence when something is wrong.

A source is a folder or a single image file. A file's ``ResolvedRoot`` has ``is_dir`` False and the path of the file;
in a walk it is its folder's ``RootSpec`` with the file's name in ``only``.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from ingestd.protocol.walk import ResolvedRoot
from ingestd.walker.formats import IMAGE, classifier

_MOUNTS: Final = "/proc/self/mountinfo"

_TEMPORARY: Final = (b"/tmp", b"/var/tmp")

_UNSTABLE: Final = frozenset(
    {"9p", "afs", "cifs", "exfat", "fuse", "fuseblk", "msdos", "ntfs", "ntfs3", "smb3", "smbfs", "vboxsf", "vfat"}
)
"""File systems that make inode numbers up when they are mounted, or change times by themselves."""


def resolve(path: bytes) -> ResolvedRoot:
    """What a source path means on this machine; ``error`` says in a sentence why it cannot be used."""
    try:
        real = os.path.realpath(path, strict=True)
        found = os.stat(real)
        if stat.S_ISDIR(found.st_mode):
            _try_folder(real)
        elif problem := _try_file(real, found.st_mode):
            return ResolvedRoot(path, 0, "", False, problem)
    except OSError as error:
        return ResolvedRoot(path, 0, "", False, _hidden(path, error) or sentence(error))
    except ValueError:  # os.stat refuses a path with a zero byte in it
        return ResolvedRoot(path, 0, "", False, "a path cannot hold a zero byte")
    return ResolvedRoot(real, found.st_dev, file_system(real), stat.S_ISDIR(found.st_mode))


def _try_folder(path: bytes) -> None:
    """Raise what listing ``path`` and looking at its files would raise."""
    with os.scandir(path) as entries:
        next(entries, None)
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _try_file(path: bytes, mode: int) -> str:
    """Why this is no source, or nothing. Raises ``OSError`` when it cannot be read."""
    if not stat.S_ISREG(mode):
        return "it is neither a folder nor a regular file"
    if classifier()(os.path.basename(path)) != IMAGE:
        return "it is a file without the extension of an image; give a folder, or an image file"
    with open(path, "rb") as file:
        file.read(1)
    return ""


def _hidden(path: bytes, error: OSError, mounts: str = _MOUNTS) -> str:
    """Why this process does not see what others may see: a folder that it cannot pass, or a /tmp of its own."""
    if error.errno in (errno.EACCES, errno.EPERM):
        barrier = next((above for above in _above(path) if not os.access(above, os.X_OK)), path)
        text = barrier.decode("utf-8", "replace")
        return "" if barrier == path else f"user {_user()} may not pass the folder {text}; its permissions forbid that"
    if error.errno == errno.ENOENT and any(is_below(path, top) and _is_private(top, mounts) for top in _TEMPORARY):
        return "the daemon's service has a /tmp of its own and does not see yours; put it into another folder"
    return ""


def _above(path: bytes) -> list[bytes]:
    """The folders above an absolute path, from the top."""
    parts = path.rstrip(b"/").split(b"/")
    return [b"/".join(parts[:count]) or b"/" for count in range(1, len(parts))]


def _is_private(top: bytes, mounts: str) -> bool:
    """Whether the service manager put a folder of its own making in the place of ``top`` (``PrivateTmp``)."""
    try:
        with open(mounts, "rb") as lines:
            return any(field[4] == top and b"/systemd-private-" in field[3] for field in map(bytes.split, lines))
    except (OSError, IndexError):
        return False


def sentence(error: OSError) -> str:
    """An ``OSError`` of a path in words that say what to look at."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "there is no such file or folder; is the disk that holds it connected and mounted?"
        case errno.EACCES | errno.EPERM:
            return f"user {_user()} may not read it; its permissions, or those of a folder above it, forbid that"
        case errno.ELOOP:
            return "its symbolic links lead in a circle"
        case errno.EIO:
            return "reading from its disk fails (input/output error); is the disk healthy and connected?"
        case errno.ESTALE | errno.ENOTCONN | errno.EHOSTDOWN | errno.ETIMEDOUT:
            return f"its network file system does not answer ({_words(error)}); is the server reachable?"
        case _:
            return _words(error)


def _words(error: OSError) -> str:
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def file_system(path: bytes, mounts: str = _MOUNTS) -> str:
    """Name of the file system under a canonical path (``ext4``, ``nfs4``), ``""`` where the system does not say."""
    best, name = b"", ""
    try:
        with open(mounts, "rb") as lines:
            for line in lines:
                head, _, tail = line.partition(b" - ")
                point = _unescape(head.split()[4])
                # A later line with the same mount point lies on top of the earlier one.
                if len(point) >= len(best) and is_below(path, point):
                    best, name = point, tail.split()[0].decode("ascii", "replace")
    except (OSError, IndexError):
        return ""
    return name


def _unescape(field: bytes) -> bytes:
    """A path as ``mountinfo`` writes it: blank, tab, newline and backslash stand there as octal numbers (proc(5))."""
    first, *rest = field.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def is_below(path: bytes, folder: bytes) -> bool:
    """Whether ``path`` is ``folder`` or lies in it. Both are absolute and normal."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


class Inodes:
    """Whether inode numbers and change times mean anything on a device, looked up once per device.

    Where they do not (FAT, SMB, FUSE), a file is taken as unchanged when size and modification time are the same:
    otherwise each new mount would have every file read and hashed again.
    """

    def __init__(self) -> None:
        self._stable: dict[int, bool] = {}

    def stable(self, device: int, path: bytes) -> bool:
        """The answer for ``device``, on which the folder ``path`` lies."""
        known = self._stable.get(device)
        if known is None:
            name = file_system(os.path.realpath(path))
            known = self._stable[device] = name not in _UNSTABLE and not name.startswith("fuse.")
        return known
