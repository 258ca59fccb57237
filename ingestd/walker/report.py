"""What a walk has to say beside its listings, and what it must not draw conclusions about."""

from __future__ import annotations

import os
from collections import Counter
from typing import Final

from ingestd.protocol.walk import WalkError
from ingestd.walker.roots import sentence

MAX_ERRORS: Final = 100
"""Errors that ``ScanEnd`` carries: more than a person reads, and a bound on the message."""


class Unlistable(Exception):
    """A folder that can be read and still tells nothing in this walk; the argument is the reason, a sentence."""


class Report:
    """Counts, errors and *shielded* paths: what is known at or below one of those stays as the ledger has it."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.errors: list[WalkError] = []
        self._shielded: set[bytes] = set()

    def skip(self, kind: str, n: int = 1) -> None:
        """Count ``n`` files or folders that are left out."""
        if n:
            self.skipped[kind] += n

    def shield(self, path: bytes) -> None:
        """Nothing at or below ``path`` is to be marked gone."""
        self._shielded.add(path)

    def is_shielded(self, path: bytes) -> bool:
        """Whether ``path`` is, or lies below, a shielded one."""
        if not self._shielded:
            return False
        while path not in self._shielded:
            above = os.path.dirname(path)
            if above == path:
                return False
            path = above
        return True

    def fail(self, path: bytes, error: OSError | Unlistable, *, is_root: bool = False) -> None:
        """``path`` tells nothing: shield it and say why."""
        self.shield(path)
        self.error(path, error, is_root=is_root)

    def error(self, path: bytes, error: OSError | Unlistable, *, is_root: bool = False) -> None:
        """Say what is wrong with ``path``."""
        if len(self.errors) < MAX_ERRORS:
            words = sentence(error) if isinstance(error, OSError) else str(error)
            self.errors.append(WalkError(path, words, is_root))
