"""Figures and paths as a person reads them."""

from __future__ import annotations

import os
from pathlib import Path

from ingestd.protocol.pathtext import shown


def size(count: float) -> str:
    """Bytes in decimal units: ``61 MB``, ``1.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("bytes", "kB") or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def many(count: int, one: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def path(place: Path | bytes | str) -> str:
    """A path as text."""
    return shown(os.fsencode(place))[0]


def of_jobs(names: list[str]) -> str:
    """Whose it is, after a finding: `` (job Pictures)``; empty for nobody's."""
    if not names:
        return ""
    told = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f" (job{'s' if len(names) > 1 else ''} {told})"
