"""What the tests of sinks' checks share: one look, and whether it changed anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ingestd.kinds.sinks import SinkKind
from ingestd.protocol.doctor import Looked
from ingestd.sinks.doctor_main import looked
from ingestd.testing.feed import Feed


def look(feed: Feed, kind: str | SinkKind, place: Path | str, *, served: bool = False) -> Looked:
    found = looked(3, feed.setup(kind, place), served)
    assert found.index == 3
    return found


def prints(folder: Path) -> dict[str, str]:
    """What lies in a folder, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
