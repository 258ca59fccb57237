"""Who has a seat, and who gives way when all are taken. Pure: a rule over what is known of each connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Protocol

from ingestd.control.peer import Rights
from ingestd.protocol import rpc

READERS_MAX: Final = rpc.MAX_CLIENTS * 3 // 4
"""Seats that the reading group may take together: its members cannot keep the owner out."""

LASTING: Final = frozenset({"wait", "subscribe"})
"""Verbs that may last for ever; to end one harms nothing, so such a connection gives way."""

QUICK: Final = frozenset({"hello", "status", "config", "logs"})
"""Verbs that are answered from what is at hand."""

SLOW_MAX: Final = rpc.MAX_CLIENTS // 2
"""Requests of the other verbs that may be under way at a time. They wait for children or for long queries, and are not
cut off halfway: their seats are not to be had, and whoever asks ``status`` needs one."""

READERS_SLOW_MAX: Final = SLOW_MAX // 2
"""Of those, the reading group's together: a loop of its searches must not keep the owner from ``stop``."""


class Seated(Protocol):
    """What the rule looks at; see ``Connection``."""

    number: int
    rights: Rights
    pending: bool
    verb: str | None
    owed: int


def may_go(seat: Seated) -> bool:
    """Whether ending this connection now leaves nothing half done."""
    return not seat.pending or seat.owed > 0 or seat.verb in LASTING


def _is_slow(verb: str | None) -> bool:
    return verb is not None and verb not in QUICK and verb not in LASTING


def too_many(seats: Iterable[Seated], verb: str, rights: Rights) -> bool:
    """Whether another request of this verb, by one with these rights, would be one more than may be under way."""
    if not _is_slow(verb):
        return False
    slow = [seat.rights for seat in seats if _is_slow(seat.verb)]
    return len(slow) >= SLOW_MAX or (rights is Rights.READ and slow.count(Rights.READ) >= READERS_SLOW_MAX)


def is_full(seats: Collection[Seated], newcomer: Rights) -> bool:
    """Whether there is no free seat for a newcomer."""
    if newcomer is Rights.READ and sum(seat.rights is Rights.READ for seat in seats) >= READERS_MAX:
        return True
    return len(seats) >= rpc.MAX_CLIENTS


def victim(seats: Iterable[Seated], hung_up: set[int], newcomer: Rights) -> int | None:
    """The number of the connection that gives its seat to ``newcomer``, or None when no one can.

    First who has hung up, then readers before the owner, who has nothing under way before who waits, looks on or does
    not take its reply, and of those alike the oldest. A reader takes no seat from the owner.
    """
    candidates = [seat for seat in seats if may_go(seat) and (newcomer is Rights.ALL or seat.rights is Rights.READ)]
    if not candidates:
        return None

    def order(seat: Seated) -> tuple[bool, bool, bool, int]:
        return seat.number not in hung_up, seat.rights is Rights.ALL, seat.pending, seat.number

    return min(candidates, key=order).number
