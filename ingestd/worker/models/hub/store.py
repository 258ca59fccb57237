"""The hub's cache on this machine, as every program of its family lays it out, and our pins beside it. No network.

``<cache>/models--ORG--NAME/{blobs,refs,snapshots/<commit>}``: a snapshot's files are links to blobs. A pin says which
commit a branch or tag meant when it was first used; it lies with the daemon's state, for the cache may be shared.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ingestd.worker.models.hub.names import Wanted

TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
PROCESSORS: Final = ("preprocessor_config.json", "processor_config.json")

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"

_HEADER_LENGTH: Final = 8
_MAX_HEADER: Final = 100_000_000
"""Bytes: the safetensors format's own limit for the JSON header, which follows a little-endian u64 of its length."""


@dataclass(frozen=True, slots=True)
class Store:
    """``cache`` is the hub's cache folder; ``pins`` a folder of ours, made when something is pinned."""

    cache: Path
    pins: Path

    def repo(self, hub_id: str) -> Path:
        return self.cache / folder_name(hub_id)

    def snapshot(self, hub_id: str, commit: str) -> Path:
        return self.repo(hub_id) / "snapshots" / commit

    def here(self, wanted: Wanted) -> tuple[Path, str] | None:
        """The folder and commit of a model that is whole on this machine, or None."""
        commit = self.commit(wanted)
        if commit is None:
            return None
        folder = self.snapshot(wanted.hub_id, commit)
        return (folder, commit) if what_is_wrong(folder) is None else None

    def commit(self, wanted: Wanted) -> str | None:
        """What ``wanted.revision`` means here: itself, its pin, else what the cache's reference says."""
        if wanted.is_commit:
            return wanted.revision
        return self.pinned(wanted.hub_id).get(wanted.revision) or self._reference(wanted)

    def _reference(self, wanted: Wanted) -> str | None:
        try:
            return (self.repo(wanted.hub_id) / "refs" / wanted.revision).read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def hub_ids(self) -> list[str]:
        """Every model of which something is in the cache, by hub id."""
        try:
            names = sorted(os.listdir(self.cache))
        except OSError:
            return []
        parts = [name.split("--") for name in names if name.startswith("models--")]
        return ["/".join(part[1:]) for part in parts if len(part) == 3]

    def snapshots(self, hub_id: str) -> list[str]:
        """The commits of which the cache has a folder."""
        try:
            return sorted(os.listdir(self.repo(hub_id) / "snapshots"))
        except OSError:
            return []

    def partial_bytes(self, hub_id: str) -> int:
        """Bytes of downloads of this model that were cut short."""
        return sum(size_of(path) or 0 for path in (self.repo(hub_id) / "blobs").glob("*.incomplete"))

    def locks(self, hub_id: str) -> Path:
        """Where the programs of the hub's family lock what they write of a model."""
        return self.cache / ".locks" / folder_name(hub_id)

    @contextmanager
    def held(self, hub_id: str, *, alone: bool) -> Iterator[bool]:
        """Hold a model: fetchers hold it together, a removal ``alone``. False when it cannot be had at once."""
        self.locks(hub_id).mkdir(parents=True, exist_ok=True)
        with (self.locks(hub_id) / "ingestd.lock").open("a") as lock:
            try:
                fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:  # a file system without locks
                pass
            yield True

    # ------------------------------------------------------------------------------------------------------- the pins

    def pinned(self, hub_id: str) -> dict[str, str]:
        """Revision → the commit that it meant when it was first used."""
        try:
            found = json.loads(self._pin_file(hub_id).read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict) or not isinstance(found.get("revisions"), dict):
            return {}
        return {str(key): str(value) for key, value in found["revisions"].items()}

    def pin(self, wanted: Wanted, commit: str) -> str:
        """Pin a revision unless it is; the commit that it is pinned to, which another process may have chosen."""
        if wanted.is_commit:
            return commit
        with self._locked():
            pins = self.pinned(wanted.hub_id)
            if wanted.revision not in pins:
                self._write_pins(wanted.hub_id, {**pins, wanted.revision: commit})
                return commit
            return pins[wanted.revision]

    def forget(self, hub_id: str, revision: str | None = None) -> None:
        """Forget one pin of a model, or all: a revision then means what the hub says when it is next fetched."""
        if not self._pin_file(hub_id).exists():
            return
        with self._locked():
            kept = {} if revision is None else self.pinned(hub_id)
            kept.pop(revision or "", None)
            if kept:
                self._write_pins(hub_id, kept)
            else:
                self._pin_file(hub_id).unlink(missing_ok=True)

    def _write_pins(self, hub_id: str, revisions: Mapping[str, str]) -> None:
        path = self._pin_file(hub_id)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with draft.open("w", encoding="utf-8") as file:
            json.dump({"hub_id": hub_id, "revisions": revisions}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def _pin_file(self, hub_id: str) -> Path:
        return self.pins / f"{folder_name(hub_id)}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        for folder in (*reversed(self.pins.parents), self.pins):
            if not folder.exists():  # mkdir's own parents=True would leave the state folder open to others
                folder.mkdir(mode=0o700, exist_ok=True)
        with (self.pins / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def folder_name(hub_id: str) -> str:
    """The cache's name for a model's folder."""
    return "--".join(("models", *hub_id.split("/")))


def what_is_wrong(folder: Path) -> str | None:
    """Why a model folder cannot be used as it lies there, in words; None when it is whole.

    Any broken link counts; weights are held against their own headers, so that one cut short is seen.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return "there is no such folder"
    broken = next((name for name in sorted(names) if not os.path.exists(folder / name)), None)
    if broken is not None:
        return f"{broken} leads nowhere"
    config = read_json(folder / "config.json")
    if config is None:
        return "it has no config.json that can be read"
    if not any(name in names for name in TOKENIZERS):
        return "it has no tokenizer"
    if "vision_config" in config and not any(name in names for name in PROCESSORS):
        return f"it has no {PROCESSORS[0]}"
    weights = weight_files(folder)
    if not weights:
        return "it has no weights in the safetensors format"
    return next((f"{name} is missing or cut short" for name in weights if not _whole(folder / name)), None)


def weight_files(folder: Path) -> list[str]:
    """The weights that loading would read: the single file, else the shards that the index names; [] for none."""
    if (folder / SINGLE).exists():
        return [SINGLE]
    shards = (read_json(folder / INDEX) or {}).get("weight_map")
    return sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None when it is not there or is no such thing."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
            if length > _MAX_HEADER:
                return False
            header = json.loads(file.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            return path.stat().st_size == _HEADER_LENGTH + length + max(ends, default=0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        return False


def size_of(path: Path) -> int | None:
    """The length of a file, links followed, or None when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None
