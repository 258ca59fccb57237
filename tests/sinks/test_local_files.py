"""What is said of a place that takes nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ingestd.errors import IngestError, Misconfigured, Unavailable
from ingestd.sinks.local_files import in_words


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.ENOSPC, Unavailable, "Free space"),
        (errno.EDQUOT, Unavailable, "Free space"),
        (errno.EACCES, Misconfigured, "right to write"),
        (errno.EROFS, Unavailable, "ReadWritePaths="),
        (errno.EIO, Unavailable, "Check the disk"),
    ],
)
def test_each_trouble_has_its_remedy(number: int, kind: type[IngestError], remedy: str) -> None:
    """Only what a person must change stops the job; a disk that comes back is waited for."""
    with pytest.raises(kind) as caught, in_words("write", Path("/far/out.jsonl")):
        raise OSError(number, os.strerror(number))
    assert caught.value.object == "/far/out.jsonl"
    assert remedy in caught.value.remedy
