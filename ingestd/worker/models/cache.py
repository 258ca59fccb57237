"""Derived arrays that are kept between worker processes: written whole or not at all, distrusted when read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy


def read_vectors(path: Path, rows: int, dim: int) -> numpy.ndarray | None:
    """float32 of shape (rows, dim), every row of length 1; None when the file is absent or is not that."""
    import numpy

    try:
        vectors = numpy.fromfile(path, dtype="<f4")
    except OSError:
        return None
    if vectors.size != rows * dim:
        return None
    vectors = vectors.reshape(rows, dim)
    lengths = numpy.linalg.norm(vectors, axis=1)
    # Written so that NaN fails it too.
    return vectors if bool(numpy.all(numpy.abs(lengths - 1) < 1e-3)) else None


def write_vectors(path: Path, vectors: numpy.ndarray) -> None:
    """Put the file in place in one step; two processes that do so at once write the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(vectors.astype("<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
