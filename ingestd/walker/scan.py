"""What one folder holds, sorted into files that may be items, folders, links to folders, and what is skipped."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ingestd.walker.formats import IMAGE, is_system
from ingestd.walker.ignore import IGNORE_FILE

Scandir = Callable[[bytes], AbstractContextManager[Iterator["os.DirEntry[bytes]"]]]


@dataclass(slots=True)
class Scan:
    """One complete listing. ``files`` are names with an image's extension, links to such files among them.

    ``dangling`` links and ``problems`` (links whose target cannot be looked at) may have been folders before.
    ``blank``: it holds nothing but, perhaps, what hides itself, as the empty folder under a mount point does.
    """

    files: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    links: list[bytes] = field(default_factory=list)
    dangling: list[bytes] = field(default_factory=list)
    problems: list[tuple[bytes, OSError]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    ignore_file: bool = False
    blank: bool = True


def scan(path: bytes, kind_of: Callable[[bytes], str], scandir: Scandir = os.scandir) -> Scan:
    """List the folder at ``path``, whole, opening nothing. Raises ``OSError`` when any part of the listing fails."""
    found = Scan()
    with scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == 0x2E:  # a dot
                if name == IGNORE_FILE:
                    found.ignore_file = True
                else:
                    found.skipped["system" if is_system(name) else "hidden"] += 1
            elif entry.is_file(follow_symlinks=False):
                _file(found, name, kind_of(name))
            elif is_system(name):
                found.skipped["system"] += 1
            elif entry.is_dir(follow_symlinks=False):
                found.blank = False
                found.folders.append(name)
            else:
                found.blank = False
                _other(found, entry, kind_of)
    return found


def _file(found: Scan, name: bytes, kind: str) -> None:
    if kind == IMAGE:
        found.files.append(name)
    else:
        found.skipped[kind] += 1
    if kind != "system":
        found.blank = False


def _other(found: Scan, entry: os.DirEntry[bytes], kind_of: Callable[[bytes], str]) -> None:
    """Sort a symbolic link by its target; whatever else is neither file nor folder is special."""
    name = entry.name
    try:
        if entry.is_dir():
            found.links.append(name)
        elif entry.is_file():
            _file(found, name, kind_of(name))
        elif entry.is_symlink() and not os.path.exists(entry.path):
            found.skipped["dangling link"] += 1
            found.dangling.append(name)
        else:
            found.skipped["special"] += 1
    except OSError as error:
        if error.errno == errno.ELOOP:
            found.skipped["symlink loop"] += 1
        elif kind_of(name) == IMAGE:  # looking at the file will say it again, and keep it as it is known
            found.files.append(name)
        else:
            found.problems.append((name, error))
