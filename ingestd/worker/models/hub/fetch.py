"""A model of the hub, whole on this machine: planned, fetched, pinned, linked."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ingestd import paths
from ingestd.errors import Unavailable
from ingestd.worker.models.hub.border import library, refuse, translated
from ingestd.worker.models.hub.listing import Listing, RemoteFile, ask
from ingestd.worker.models.hub.names import WAYS, Wanted, read_name
from ingestd.worker.models.hub.progress import Progress
from ingestd.worker.models.hub.store import Store, size_of, what_is_wrong
from ingestd.worker.models.hub.transfer import Patience, Transfer, patiently
from ingestd.worker.steps.base import Tell

RESERVE: Final = 200_000_000
"""Bytes that a fetch leaves free on the disk: the ledger and everything else live there too."""


class Located(NamedTuple):
    """A model on this machine. For a folder of the user's own, ``hub_id`` and ``revision`` (a commit) are None."""

    folder: Path
    hub_id: str | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fetch would bring. Bytes: ``total`` (0: not known), ``here`` of it already, ``free`` on the disk."""

    wanted: Wanted
    listing: Listing
    folder: Path
    total: int
    here: int
    free: int


def disk_free(folder: Path) -> int:
    """Free bytes where ``folder`` lies or will lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub at ``endpoint`` and the cache of it on this machine."""

    endpoint: str
    store: Store
    patience: Patience = field(default_factory=Patience)
    free: Callable[[Path], int] = disk_free

    @classmethod
    def from_environment(cls) -> Hub:
        """As ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_CACHE`` say, with our pins in the daemon's state folder."""
        library()
        from huggingface_hub import constants

        pins = paths.places().state / "models"
        return cls(constants.ENDPOINT, Store(Path(constants.HF_HUB_CACHE).absolute(), pins))

    def locate(self, model: str, tell: Tell) -> Located:
        """Have a model, fetched if need be. Raises ``Misconfigured`` and ``Unavailable``."""
        wanted = read_name(model)
        if isinstance(wanted, Path):
            return Located(wanted, None, None)
        return self.here(wanted) or self.fetch(self.plan(wanted, tell), tell)

    def here(self, wanted: Wanted) -> Located | None:
        """The model when it is whole in the cache, without any network; None when it is not."""
        found = self.store.here(wanted)
        if found is None:
            return None
        folder, commit = found
        with _disk(wanted, self.store.pins):
            pinned = self.store.pin(wanted, commit)
        return Located(folder, wanted.hub_id, commit) if pinned == commit else self.here(wanted)

    def plan(self, wanted: Wanted, tell: Tell) -> Plan:
        """Ask the hub what there is, and pin the commit. Raises ``Misconfigured`` and ``Unavailable``."""
        pinned = self.store.pinned(wanted.hub_id).get(wanted.revision)
        listing = self._ask(wanted, pinned or wanted.revision, tell)
        if pinned is None:
            with _disk(wanted, self.store.pins):
                pinned = self.store.pin(wanted, listing.commit)
            if pinned != listing.commit and not wanted.is_commit:  # another process was quicker, and main moved on
                listing = self._ask(wanted, pinned, tell)
        folder = self.store.snapshot(wanted.hub_id, listing.commit)
        here = sum(self._bytes_here(wanted, folder, file) for file in listing.files)
        return Plan(wanted, listing, folder, listing.total, here, self.free(self.store.cache))

    def fetch(self, plan: Plan, tell: Tell) -> Located:
        """Bring what a plan lacks. Raises ``Misconfigured`` and ``Unavailable``."""
        wanted, commit = plan.wanted, plan.listing.commit
        missing = plan.total - plan.here
        if plan.total and missing + RESERVE > plan.free:
            raise refuse(
                wanted,
                f"{_megabytes(missing)} are still to come, {_megabytes(plan.free)} are free in {self.store.cache}, "
                f"and {_megabytes(RESERVE)} are left alone",
                "Free some space, or move the cache with HF_HOME",
            )
        progress = Progress(tell, wanted.typed, plan.total)
        repo = self.store.repo(wanted.hub_id)
        locks = self.store.locks(wanted.hub_id)
        transfer = Transfer(wanted, commit, self.endpoint, repo, locks, self.patience, progress)
        with _disk(wanted, self.store.cache), self.store.held(wanted.hub_id, alone=False) as held:
            if not held:
                raise Unavailable(
                    "it is being removed just now",
                    operation="fetch",
                    object=f"the model {wanted.typed!r}",
                    remedy="Try again in a moment",
                )
            for file in plan.listing.files:
                if _in_snapshot(plan.folder, file):
                    progress.finished(size_of(plan.folder / file.name) or 0)
                else:
                    transfer.bring(file)
            for file in plan.listing.files:
                _link(repo / "blobs" / file.blob, plan.folder / file.name, file)
            if not wanted.is_commit:
                _refer(repo / "refs" / wanted.revision, commit)
        progress.beat()
        if (wrong := what_is_wrong(plan.folder)) is not None:
            raise refuse(
                wanted, f"the hub's files do not make a model that can be used here: {wrong}", "Choose another"
            )
        return Located(plan.folder, wanted.hub_id, commit)

    def _ask(self, wanted: Wanted, revision: str, tell: Tell) -> Listing:
        def act() -> Listing:
            with translated(asked, self.endpoint):
                return ask(asked, revision, self.endpoint)

        asked = Wanted(wanted.typed, wanted.hub_id, revision)
        return patiently(wanted, self.patience, act, lambda: tell(wanted.typed, 0, 0))

    def _bytes_here(self, wanted: Wanted, folder: Path, file: RemoteFile) -> int:
        if _in_snapshot(folder, file):
            return size_of(folder / file.name) or 0
        blob = self.store.repo(wanted.hub_id) / "blobs" / file.blob
        whole = size_of(blob)
        if whole is not None and file.size in (None, whole):
            return whole
        return min(size_of(blob.with_name(f"{blob.name}.incomplete")) or 0, file.size or 0)


def _in_snapshot(folder: Path, file: RemoteFile) -> bool:
    size = size_of(folder / file.name)
    return size is not None and file.size in (None, size)


def _link(blob: Path, place: Path, file: RemoteFile) -> None:
    """Put a blob into the snapshot, by a relative link; where there are none (exFAT), the file itself is moved."""
    if _in_snapshot(place.parent, RemoteFile(place.name, file.blob, file.size)):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        draft.symlink_to(os.path.relpath(blob, place.parent))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.replace(blob, place)
        return
    os.replace(draft, place)


def _refer(reference: Path, commit: str) -> None:
    """Tell other programs what the branch means, where nobody has told them yet."""
    if not reference.exists():
        reference.parent.mkdir(parents=True, exist_ok=True)
        draft = reference.with_name(f".{reference.name}.{os.getpid()}")
        draft.write_text(commit, encoding="ascii")
        os.replace(draft, reference)


@contextmanager
def _disk(wanted: Wanted, folder: Path) -> Iterator[None]:
    """Errors of the file system, as kinds: a full disk may be freed, a folder that may not be written is the user's."""
    try:
        yield
    except OSError as error:
        message = f"{error.strerror or error} ({error.filename or folder})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(
                message,
                operation="fetch",
                object=f"the model {wanted.typed!r}",
                remedy="Free some space; what has come stays",
            ) from error
        remedy = f"Make the folder writable, set HF_HOME or INGESTD_HOME to another, or {WAYS}"
        raise refuse(wanted, message, remedy) from error


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
