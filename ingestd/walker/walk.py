"""The walk: every folder of every root once, in sorted order, depth first; then what was known and is no more.

Three rules keep an item from being marked gone by mistake: a folder that could not be listed to its end tells
nothing and *shields* what is known in and below it; a root that is away, or that looks like an unmounted mount point,
shields all of itself; and a walk that ends early marks nothing outside the folders that it listed.

Links to files are files. Links to folders are followed after all real folders of all roots, and each physical folder
is listed at most once, so that a folder keeps its real path whenever it has one in the roots; a link to a folder that
contains the link itself, or a root, would lead out of the source and is a loop.
"""

from __future__ import annotations

import os
import sqlite3
import stat as modes
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ingestd.protocol.walk import RootSpec, ScanEnd, WalkerSetup
from ingestd.protocol.work import Stat
from ingestd.walker.compare import Comparison
from ingestd.walker.formats import IMAGE, classifier
from ingestd.walker.ignore import Filters, Ignores, read_ignores
from ingestd.walker.lists import FileList
from ingestd.walker.outbox import Ended, Outbox
from ingestd.walker.report import Report, Unlistable
from ingestd.walker.roots import Inodes, is_below
from ingestd.walker.scan import Scan, Scandir, scan

_NOT_THERE: Final = Stat(0, 0, 0, 0)
_AS_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_UNMOUNTED: Final = (
    "it is empty and on another device than before, like the folder under a disk that is not mounted; mount the disk"
)


class LimitReached(Exception):
    """The job has as many items as it may have."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder to be visited: ``rel`` below its root, with the ignore files of the folders above it."""

    root: RootSpec
    rel: bytes
    ignores: Ignores | None = None

    @property
    def path(self) -> bytes:
        return self.at(self.rel)

    def inside(self, name: bytes) -> bytes:
        """``name`` in this folder, relative to the root."""
        return self.rel + b"/" + name if self.rel else name

    def at(self, rel: bytes) -> bytes:
        """The absolute path of something relative to the root."""
        return self.root.path.rstrip(b"/") + b"/" + rel if rel else self.root.path


class Walk:
    """One walk of a job. ``scandir`` is passed in so that tests can make a listing fail."""

    def __init__(
        self, setup: WalkerSetup, db: sqlite3.Connection, outbox: Outbox, scandir: Scandir = os.scandir
    ) -> None:
        self._setup = setup
        self._db = db
        self._outbox = outbox
        self._scandir = scandir
        self._comparison = Comparison(db, setup.job_id, setup.limit, outbox)
        self._kind_of = classifier()
        self._inodes = Inodes()
        self._filters = {root.id: Filters(root.path, setup.include, setup.exclude) for root in setup.roots}
        # Names to be looked at although no listing may show them: single-file sources, entries of a file list.
        self._by_hand: dict[tuple[int, bytes], list[bytes]] = {}
        self._list: FileList | None = None
        self._listed_folders: set[bytes] = set()
        self._links: deque[Folder] = deque()
        self._visited: dict[int, set[bytes]] = {root.id: set() for root in setup.roots}
        self._physical: set[tuple[int, int]] = set()
        self._report = Report()

    def run(self) -> ScanEnd:
        """Walk, telling the outbox what differs, and return the last message. Raises ``sqlite3.Error``."""
        limited = ended = False
        try:
            if self._setup.list_file is None:
                self._roots()
            else:
                self._file_list(self._setup.roots[0], self._setup.list_file)
            for root in {root.id: root for root in self._setup.roots}.values():
                self._comparison.forget(root, self._visited[root.id], self._report.is_shielded)
        except LimitReached:
            limited = True
        except Ended:
            ended = True
            self._outbox.drop()
        report = self._report
        complete = not (report.errors or limited or ended)
        return ScanEnd(complete, limited, self._outbox.found, dict(report.skipped), report.errors)

    def _roots(self) -> None:
        whole = [root for root in self._setup.roots if root.only is None]
        for root in self._setup.roots:
            if root.only is not None:
                self._by_hand.setdefault((root.id, b""), []).append(root.only)
        for root in outer_first(whole):
            self._walk(Folder(root, b""))
        self._follow_links()
        for root in self._setup.roots:
            if names := self._by_hand.pop((root.id, b""), None):
                self._single_files(Folder(root, b""), names)

    def _follow_links(self) -> None:
        while self._links:
            self._walk(self._links.popleft())

    def _walk(self, top: Folder) -> None:
        stack = [top]
        while stack:
            self._outbox.poll()
            stack += reversed(self._visit(stack.pop()))

    def _visit(self, folder: Folder) -> list[Folder]:
        """Compare one folder's files; return the folders in it, in order."""
        if folder.rel in self._visited[folder.root.id]:
            return []
        path = folder.path
        try:
            handle = os.open(path, _AS_FOLDER)
        except OSError as error:
            # One that was listed and is not there any more has vanished since, with all that was in it.
            if self._is_root(folder) or not isinstance(error, FileNotFoundError | NotADirectoryError):
                self._report.fail(path, error, is_root=self._is_root(folder))
            return []
        try:
            state = os.fstat(handle)
            if not self._first_visit(state):
                if not self._is_root(folder):
                    self._report.skip("symlink loop")
                return []
            found = scan(path, self._kind_of, self._scandir)
            ignores = read_ignores(path, folder.rel, folder.ignores) if found.ignore_file else folder.ignores
            if self._is_root(folder) and folder.root.device not in (0, state.st_dev) and found.blank:
                raise Unlistable(_UNMOUNTED)
            self._leave_out(folder, found, ignores)
            self._files(folder, found.files, handle, state)
        except (OSError, Unlistable) as error:
            self._report.fail(path, error, is_root=self._is_root(folder))
            return []
        finally:
            os.close(handle)
        self._notice_links(folder, found, ignores)
        return [Folder(folder.root, folder.inside(name), ignores) for name in sorted(found.folders)]

    def _is_root(self, folder: Folder) -> bool:
        return not folder.rel and self._setup.list_file is None

    def _first_visit(self, state: os.stat_result) -> bool:
        key = (state.st_dev, state.st_ino)
        if key in self._physical:
            return False
        if state.st_ino:  # some FUSE file systems give every folder inode 0, which identifies nothing
            self._physical.add(key)
        return True

    def _leave_out(self, folder: Folder, found: Scan, ignores: Ignores | None) -> None:
        """Take what filters and ignore files leave out from a listing, and count what is skipped."""
        self._report.skipped += found.skipped
        filters = self._filters[folder.root.id]
        if not filters.any and ignores is None:
            return

        def keep(names: list[bytes], leaves_out: Callable[[bytes], bool], *, folders: bool) -> list[bytes]:
            kept = []
            for name in names:
                path = folder.inside(name)
                if not (leaves_out(path) or (ignores is not None and ignores.hides(path, folder=folders))):
                    kept.append(name)
            self._report.skip("excluded", len(names) - len(kept))
            return kept

        found.files = keep(found.files, filters.leaves_out_file, folders=False)
        found.folders = keep(found.folders, filters.leaves_out_folder, folders=True)
        found.links = keep(found.links, filters.leaves_out_folder, folders=True)

    def _files(self, folder: Folder, names: list[bytes], handle: int, state: os.stat_result) -> None:
        """Compare the files of a listed folder with the ledger; names listed by hand belong to it too."""
        if by_hand := self._given(folder):
            names = list({*names, *self._wanted(folder, by_hand)})
        names.sort()
        told = False

        def look(name: bytes) -> Stat | None:
            try:
                found = os.stat(name, dir_fd=handle)
            except FileNotFoundError:  # it vanished after it was listed
                return None
            return _stat(found) if modes.S_ISREG(found.st_mode) else None

        def trouble(name: bytes, error: OSError) -> None:
            nonlocal told
            if not told:  # one for a folder: in one that may not be searched, every file has the same
                self._report.error(folder.at(folder.inside(name)), error)
            told = True

        self._compare(folder, names, look, trouble, stable=self._inodes.stable(state.st_dev, folder.path))

    def _compare(
        self,
        folder: Folder,
        names: list[bytes],
        look: Callable[[bytes], Stat | None],
        trouble: Callable[[bytes, OSError], None],
        *,
        stable: bool,
    ) -> None:
        self._visited[folder.root.id].add(folder.rel)
        self._comparison.folder(folder.root.id, folder.rel, names, look, trouble, stable=stable)
        if self._comparison.full:
            raise LimitReached

    def _notice_links(self, folder: Folder, found: Scan, ignores: Ignores | None) -> None:
        """Put links to folders off; what may have been one, and cannot be followed now, shields what is known there."""
        for name in found.dangling:
            self._report.shield(folder.at(folder.inside(name)))
        for name, error in sorted(found.problems, key=lambda problem: problem[0]):
            self._report.fail(folder.at(folder.inside(name)), error)
        if not found.links:
            return
        here = os.path.realpath(folder.path)
        for name in sorted(found.links):
            rel = folder.inside(name)
            target = os.path.realpath(folder.at(rel))
            if is_below(here, target) or any(is_below(root.path, target) for root in self._setup.roots):
                self._report.skip("symlink loop")
            else:
                self._links.append(Folder(folder.root, rel, ignores))

    def _wanted(self, folder: Folder, names: Iterable[bytes]) -> list[bytes]:
        """Those of the names given by hand that are images by extension and pass the filters; the rest is counted."""
        filters, wanted = self._filters[folder.root.id], []
        for name in names:
            if (kind := self._kind_of(name)) != IMAGE:
                self._report.skip(kind)
            elif filters.any and filters.leaves_out_file(folder.inside(name)):
                self._report.skip("excluded")
            else:
                wanted.append(name)
        return wanted

    def _single_files(self, folder: Folder, names: list[bytes]) -> None:
        """Sources that are one file each, of one folder. One that is not there is a root that is away."""
        if self._covered(folder.path):
            return

        def look(name: bytes) -> Stat | None:
            found = os.stat(folder.at(name))
            return _stat(found) if modes.S_ISREG(found.st_mode) else None

        def trouble(name: bytes, error: OSError) -> None:
            self._report.error(folder.at(name), error, is_root=True)

        wanted = sorted(set(self._wanted(folder, names)))
        self._compare(folder, wanted, look, trouble, stable=self._is_stable(folder.path))

    def _covered(self, path: bytes) -> bool:
        """Whether the walk has listed this physical folder under another root."""
        try:
            state = os.stat(path)
        except OSError:
            return False
        return (state.st_dev, state.st_ino) in self._physical

    def _is_stable(self, path: bytes) -> bool:
        try:
            return self._inodes.stable(os.stat(path).st_dev, path)
        except OSError:
            return True

    def _file_list(self, root: RootSpec, path: str) -> None:
        """A file list under the root ``/``. A folder in it is walked as a root would be, links in it included.

        What is listed by name is an item even if it is hidden, and also if it is not there: the worker then fails it
        by name. A path without an image's extension that is not there may be a folder of a disk that is away.
        """
        try:
            listed = FileList(path)
        except OSError as error:
            self._report.shield(root.path)
            self._report.error(os.fsencode(path), error, is_root=True)
            return
        with listed:
            self._list = listed
            self._report.skip("not a path", listed.bad)
            for folder in self._take_folders(root, listed):
                self._walk(folder)
            self._follow_links()
            for rel in listed.folders:
                if rel not in self._visited[root.id]:
                    folder = Folder(root, rel)
                    for inner in self._listed_files(folder, self._given(folder)):
                        self._walk(inner)
            self._follow_links()

    def _take_folders(self, root: RootSpec, listed: FileList) -> list[Folder]:
        """The folders in a file list. Names with an image's extension are not looked at for that."""
        found: list[Folder] = []
        for rel in listed.folders:
            parent = Folder(root, rel)
            for name in listed.names(rel):
                if self._kind_of(name) != "other":
                    continue
                child = Folder(root, parent.inside(name))
                try:
                    if not modes.S_ISDIR(os.stat(child.path).st_mode):
                        continue
                    found.append(child)
                except OSError as error:
                    self._report.fail(child.path, error)
                self._listed_folders.add(child.rel)
        return found

    def _given(self, folder: Folder) -> list[bytes]:
        """The names in ``folder`` that were given by hand and are to be looked at as files."""
        if self._list is None:
            return self._by_hand.pop((folder.root.id, folder.rel), [])
        if folder.rel not in self._list.folders:
            return []
        return [name for name in self._list.names(folder.rel) if folder.inside(name) not in self._listed_folders]

    def _listed_files(self, folder: Folder, names: list[bytes]) -> list[Folder]:
        """Compare one folder's listed files; return those that turned out to be folders."""
        folders: list[Folder] = []
        path = folder.path.rstrip(b"/") + b"/"

        def look(name: bytes) -> Stat | None:
            try:
                found = os.stat(path + name)
            except OSError:
                return _NOT_THERE
            if modes.S_ISREG(found.st_mode):
                return _stat(found)
            if modes.S_ISDIR(found.st_mode):
                folders.append(Folder(folder.root, folder.inside(name)))
            else:
                self._report.skip("special")
            return None

        def trouble(name: bytes, error: OSError) -> None:
            raise AssertionError("a listed name that cannot be looked at is an item") from error

        self._compare(folder, self._wanted(folder, names), look, trouble, stable=self._is_stable(folder.path))
        return folders


def outer_first(roots: list[RootSpec]) -> list[RootSpec]:
    """The roots in the order given, each behind the roots that it lies in: so that those list it."""
    ordered: list[RootSpec] = []
    for root in roots:
        outer = [other for other in roots if other is not root and is_below(root.path, other.path)]
        for each in (*sorted(outer, key=lambda other: len(other.path)), root):
            if each not in ordered:
                ordered.append(each)
    return ordered


def _stat(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
