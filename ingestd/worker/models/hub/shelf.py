"""The models on this machine: which there are, and away with one of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ingestd.errors import Misconfigured
from ingestd.protocol.models import ModelRow, ModelUse, Removed
from ingestd.worker.models.hub.border import library
from ingestd.worker.models.hub.kinds import kinds_of
from ingestd.worker.models.hub.names import KINDS, MAIN, Wanted, known, near_ids, read_name, short_names
from ingestd.worker.models.hub.store import Store, size_of, what_is_wrong

BUILTIN: Final = ModelRow("builtin", ["describe", "embed"], "here", None, None, None, None)
"""It ships inside packages."""


def rows(store: Store) -> list[ModelRow]:
    """What can be used here, what is here in part, and the short names that are not here."""
    here = [row for hub_id in store.hub_ids() for row in _rows_of(store, hub_id)]
    ids = {row.hub_id for row in here}
    absent = [
        ModelRow(short, [KINDS[short.partition(":")[0]]], "absent", known(short).about, known(short).hub_id, None, None)
        for short in short_names()
        if known(short).hub_id not in ids
    ]
    return [BUILTIN, *here, *absent]


def _rows_of(store: Store, hub_id: str) -> list[ModelRow]:
    name = next((short for short in short_names() if known(short).hub_id == hub_id), hub_id)
    default = store.commit(Wanted(hub_id, hub_id))
    found = []
    for commit in store.snapshots(hub_id):
        folder = store.snapshot(hub_id, commit)
        kinds = kinds_of(folder)
        if kinds and what_is_wrong(folder) is None:
            called = name if commit == default else f"{hub_id}@{commit}"
            found.append(ModelRow(called, kinds, "here", _size(folder), hub_id, commit, str(folder)))
    partial = store.partial_bytes(hub_id)
    if not found and partial:
        found.append(ModelRow(name, [], "partly", partial, hub_id, default, None))
    return found


def _size(folder: Path) -> int:
    """Bytes of the files that a snapshot leads to, each counted once."""
    files = {path.resolve() for path in folder.rglob("*") if path.is_file()}
    return sum(size_of(path) or 0 for path in files)


def remove(store: Store, model: str, uses: Sequence[ModelUse], *, force: bool) -> Removed:
    """Delete a model from the cache: all of it, or the one commit that its revision means.

    Its pins go with it. Raises ``Misconfigured`` when it is not here, when it is being fetched, when an active job uses
    it (unless ``force``), and when something of it cannot be deleted.
    """
    wanted = read_name(model)
    if isinstance(wanted, Path):
        raise _kept(model, "it is a folder of yours", f"Delete it yourself: {wanted}")
    repo = store.repo(wanted.hub_id)
    if not repo.is_dir():
        near = [one for one in near_ids(wanted.hub_id, store.hub_ids()) if one in store.hub_ids()]
        hint = f"Did you mean {near[0]}? " if near else ""
        raise _kept(model, f"{wanted.hub_id} is not on this machine", f"{hint}See what is: ingestctl models list")
    single = wanted.revision != MAIN
    commit = store.commit(wanted)
    if single and commit not in store.snapshots(wanted.hub_id):
        raise _kept(model, "that revision is not on this machine", "See what is: ingestctl models list")
    users = [use for use in uses if any(_means(store, other, wanted, commit, single) for other in use.models)]
    active = [use.job for use in users if use.active]
    if active and not force:
        raise _kept(
            model,
            f"the job {', '.join(active)} is not over and needs it",
            f"Wait for it, or: ingestctl stop {active[0]}; with --force it is removed all the same",
        )
    with store.held(wanted.hub_id, alone=True) as held:
        if not held or _fetched_by_others(store, wanted, repo):
            raise _kept(model, "another process is fetching it just now", "Wait for it, or end it, then try again")
        freed = _delete(store, wanted, repo, commit if single else None)
        left = store.snapshot(wanted.hub_id, commit or "") if single else repo
        if left.exists():
            raise _kept(model, f"{left} could not be deleted whole", "Check who owns it, then try again")
        store.forget(wanted.hub_id, wanted.revision if single else None)
    return Removed(model, wanted.hub_id, freed, [_note(use, model) for use in users])


def _means(store: Store, model: str, wanted: Wanted, commit: str | None, single: bool) -> bool:
    """Whether a job's model is what is to be removed."""
    try:
        other = read_name(model)
    except Misconfigured:  # builtin, none, an endpoint
        return False
    if isinstance(other, Path):
        return other.resolve().is_relative_to(store.repo(wanted.hub_id).resolve())
    return other.hub_id == wanted.hub_id and (not single or store.commit(other) == commit)


def _note(use: ModelUse, model: str) -> str:
    if use.active:
        return f"the job {use.job} needs it for what is left: the model is fetched again before its next batch"
    return f"the job {use.job} was made with it: its results stay; to search in it, the model must come back first"


def _fetched_by_others(store: Store, wanted: Wanted, repo: Path) -> bool:
    """Whether another program of the hub's family is writing a file of this model."""
    from filelock import Timeout

    for partial in (repo / "blobs").glob("*.incomplete"):
        lock = store.locks(wanted.hub_id) / f"{partial.name.partition('.')[0]}.lock"
        if not lock.exists():
            continue
        try:
            with library().utils.WeakFileLock(lock, timeout=0.2):
                pass
        except Timeout:
            return True
    return False


def _delete(store: Store, wanted: Wanted, repo: Path, commit: str | None) -> int:
    """Delete by the library, which knows what blobs other commits and models share; the bytes that it frees."""
    partial = 0 if commit else store.partial_bytes(wanted.hub_id)
    found = library().scan_cache_dir(store.cache)
    commits = [
        revision.commit_hash
        for cached in found.repos
        if cached.repo_type == "model" and cached.repo_id == wanted.hub_id
        for revision in cached.revisions
        if commit in (None, revision.commit_hash)
    ]
    freed = 0
    if commits:
        strategy = found.delete_revisions(*commits)
        freed = int(strategy.expected_freed_size)
        strategy.execute()
    if commit is None:  # what was never whole is no revision to the library
        shutil.rmtree(repo, ignore_errors=True)
    return freed + partial


def _kept(model: str, message: str, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="remove", object=f"the model {model!r}", remedy=remedy)
