"""The token of the server sink: what proves, at the next opening, that the server still holds what was delivered.

It keeps two things about the points of this job in one collection:

- ``seen``: the newest keys that were written or deleted, with a digest of what was written. A server that came back
  from an older snapshot, a collection that was deleted or made anew, and a write that was acknowledged and lost lack
  just these.
- ``least``: a number of points that the job has there at the least, counted now and then and lowered by every delete
  since. It tells that points were forgotten, whichever they are.

Not noticed: the loss of points that came after the last count (a sixteenth of the points at most) and are not among
``seen``; a foreign hand that changes vectors, or payloads other than of the newest keys.

A page that was written and not reported makes ``seen`` and ``least`` differ from the server too, and is no loss. The
feed tells: its keys stand there after the cursor. Pure but for the feed that is passed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

MAX_SEEN: Final = 16
COUNT_AGAIN: Final = 16
"""A count costs the server a pass over an index: it is due when a sixteenth of the last one was delivered since."""

WITNESSES: Final = ("updated_at", "paths", "paths_total", "steps")
"""Payload fields that together move with everything visible of a content. All are text and small integers: numbers
with a fraction need not come back from another JSON library to the last bit."""


class Evidence(msgspec.Struct):
    """The token. ``seen`` maps a point's id to its digest, ``""`` for one that must be absent, oldest first.

    ``made``: the collection was made by this sink. ``since``: records delivered since the last count.
    """

    collection: str
    made: bool = False
    least: int = 0
    since: int = 0
    seen: dict[str, str] = {}

    def token(self) -> str:
        """As text for the cursor."""
        return msgspec.json.encode(self).decode()

    def wrote(self, written: Mapping[str, str], deleted: int) -> None:
        """A page was acknowledged: ``written`` maps its keys, in order, to their digests."""
        kept = {key: digest for key, digest in self.seen.items() if key not in written}
        self.seen = dict(list((kept | dict(written)).items())[-MAX_SEEN:])
        self.least = max(self.least - deleted, len(written) - deleted)
        self.since += len(written)

    def count_due(self) -> bool:
        """Whether the job's points should be counted again."""
        return self.since * COUNT_AGAIN >= self.least

    def counted(self, number: int) -> None:
        """The job has ``number`` points there."""
        self.least, self.since = number, 0

    def differs(self, there: Mapping[str, str]) -> set[str]:
        """The keys of ``seen`` that are otherwise there: ``there`` maps those that exist to their digests."""
        return {key for key, digest in self.seen.items() if there.get(key, "") != digest}


def read(token: str, collection: str) -> Evidence | None:
    """The evidence of a cursor; None when there is none, or it is about another collection."""
    try:
        found = msgspec.json.decode(token, type=Evidence)
    except msgspec.DecodeError:
        return None
    return found if found.collection == collection else None


def digest(payload: Mapping[str, Any]) -> str:
    """Twelve hex digits of a payload's witnesses; a payload that lacks them has a digest too, another one."""
    text = msgspec.json.encode([payload.get(name) for name in WITNESSES], order="sorted")
    return hashlib.blake2b(text, digest_size=6).hexdigest()


def explained(differing: set[str], missing: int, pending: Iterable[tuple[str, bool]]) -> bool:
    """Whether writes that were never reported explain the difference.

    ``pending`` are the feed's records after the cursor as (key, whether it has a point): any of them may be there
    already. ``missing`` is how many points fewer than ``least`` there are.
    """
    left = set(differing)
    if not left and missing <= 0:
        return True
    for key, has_point in pending:
        left.discard(key)
        missing -= not has_point
        if not left and missing <= 0:
            return True
    return False
