"""The hash of a model's weights, kept between processes: a fresh worker must not read gigabytes to know them again.

What is kept counts for the very state of the file that was read: path, size, time of change, inode.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ingestd.worker.steps.base import sha256_of


class _Known(msgspec.Struct):
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


def weights_hash(files: Sequence[Path], cache: Path | None) -> str:
    """sha256 (hex) that stands for the bytes of these files, whatever they are called; ``cache`` None keeps nothing.

    One file's is that file's own; of several it is taken over theirs, in the order given. Raises ``OSError``.
    """
    hashes = [_of(file, cache) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _of(file: Path, cache: Path | None) -> str:
    # A hub's snapshot is made of links: what counts is the file behind one.
    real = file.resolve()
    found = real.stat()
    state = _Known(str(real), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, "")
    if cache is None:
        return sha256_of(real)
    kept = cache / f"weights-{hashlib.sha256(os.fsencode(real)).hexdigest()[:24]}.json"
    known = _read(kept)
    if known is not None and msgspec.structs.replace(known, sha256="") == state:
        return known.sha256
    state.sha256 = sha256_of(real)
    _write(kept, state)
    return state.sha256


def _read(kept: Path) -> _Known | None:
    try:
        return msgspec.json.decode(kept.read_bytes(), type=_Known)
    except (OSError, msgspec.DecodeError):
        return None


def _write(kept: Path, known: _Known) -> None:
    draft = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(known))
        draft.replace(kept)
    except OSError:  # a full or read-only disk costs time here, no more
        with suppress(OSError):
            draft.unlink()
