"""What the hub has of a model, and which of its files are needed: never pickled weights, never other formats."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ingestd.worker.models.hub.border import library, refuse
from ingestd.worker.models.hub.names import WAYS, Wanted
from ingestd.worker.models.hub.store import INDEX, SINGLE

_SHARD: Final = re.compile(r"model-\d+-of-\d+\.safetensors", re.ASCII)

_SMALL: Final = re.compile(
    r"[\w.-]+\.(json|jinja|model)|vocab\.txt|merges\.txt"
    r"|additional_chat_templates/[\w.-]+\.jinja|\d+_\w+/(config\.json|model\.safetensors)",
    re.ASCII,
)
"""Configuration, tokenizer, processor and chat templates; and the modules of a sentence-transformers model."""

_NEVER: Final = re.compile(r".*\.index\.json|trainer_state\.json", re.ASCII)

_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt")

_COMMIT: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_BLOB: Final = re.compile(r"[0-9A-Za-z][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a commit. ``blob`` is its name in the cache; ``size`` in bytes and the hashes where they are stated.

    ``sha256`` is over the bytes; ``git_sha1`` is git's blob id: SHA-1 over ``blob SIZE``, a NUL and the bytes.
    """

    name: str
    blob: str
    size: int | None
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a commit that are needed, the weights last."""

    commit: str
    files: list[RemoteFile]

    @property
    def total(self) -> int:
        """Bytes in all; 0 when the size of any file is not known."""
        return 0 if any(file.size is None for file in self.files) else sum(file.size or 0 for file in self.files)


def ask(wanted: Wanted, revision: str, endpoint: str) -> Listing:
    """One request (and one more a file whose size or hash it does not state).

    Raises ``Misconfigured`` for a model without safetensors, and whatever the library raises.
    """
    hub = library()
    info = hub.HfApi(endpoint=endpoint).model_info(wanted.hub_id, revision=revision, files_metadata=True, timeout=30)
    if _COMMIT.fullmatch(str(info.sha)) is None:
        raise refuse(wanted, "what answers is no model hub: it names no commit", f"Check HF_ENDPOINT, or {WAYS}")
    siblings = {one.rfilename: one for one in info.siblings or ()}
    names = needed(wanted, siblings)
    return Listing(info.sha, [_described(siblings[name], wanted, info.sha, endpoint, hub) for name in names])


def needed(wanted: Wanted, names: Iterable[str]) -> list[str]:
    """Of a model's files, those that loading reads, the weights last. Raises ``Misconfigured`` for lack of some."""
    there = set(names)
    if SINGLE in there:  # what transformers looks for first
        weights = [SINGLE]
    elif INDEX in there:
        weights = [INDEX, *sorted(name for name in there if _SHARD.fullmatch(name))]
    elif any(name.endswith(_PICKLED) for name in there):
        raise refuse(
            wanted,
            f"{wanted.hub_id} has only pickled weights, which can run any code when they are loaded",
            f"Choose a model with safetensors, or {wanted.hub_id}@REVISION where one has them",
        )
    else:
        raise refuse(wanted, f"{wanted.hub_id} has no weights in the safetensors format", f"Choose another, or {WAYS}")
    if "config.json" not in there:
        raise refuse(wanted, f"{wanted.hub_id} has no config.json: it is not made for transformers", "Choose another")
    small = [name for name in there if _SMALL.fullmatch(name) and not _NEVER.fullmatch(name)]
    return sorted(small) + weights


def _described(sibling: Any, wanted: Wanted, commit: str, endpoint: str, hub: Any) -> RemoteFile:
    name = sibling.rfilename
    sha256 = sibling.lfs.sha256 if sibling.lfs is not None else None
    size = sibling.lfs.size if sibling.lfs is not None else sibling.size
    blob = sha256 or sibling.blob_id
    if blob is None or size is None:  # a mirror that keeps no such records
        url = hub.hf_hub_url(wanted.hub_id, name, revision=commit, endpoint=endpoint)
        stated = hub.get_hf_file_metadata(url, endpoint=endpoint, timeout=30)
        blob, size = blob or stated.etag, stated.size if size is None else size
    if blob is None or _BLOB.fullmatch(blob) is None:
        raise refuse(wanted, f"{name} has no usable ETag there", f"Use another HF_ENDPOINT, or {WAYS}")
    return RemoteFile(name, blob, size, sha256, None if sha256 else sibling.blob_id)
