"""Who has a slot, and who gives way when all are taken. Pure: a rule over what is known of each connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Protocol

from ingestd.control.transport.peer import Rights
from ingestd.protocol import rpc

READERS_MAX: Final = rpc.MAX_CLIENTS * 3 // 4
"""Slots that the reading group may take together: its members cannot keep the owner out."""

LASTING: Final = frozenset({"wait", "subscribe"})
"""Verbs that may last for ever; to end one harms nothing, so such a connection gives way."""

QUICK: Final = frozenset({"hello", "status", "config", "logs"})
"""Verbs that are answered from what is at hand."""

SLOW_MAX: Final = rpc.MAX_CLIENTS // 2
"""Requests of the other verbs that may be under way at a time. They wait for children or for long queries, and are not
cut off halfway: their slots are not to be had, and whoever asks ``status`` needs one."""

READERS_SLOW_MAX: Final = SLOW_MAX // 2
"""Of those, the reading group's together: a loop of its searches must not keep the owner from ``stop``."""


class Admitted(Protocol):
    """What the rule looks at; see ``Connection``."""

    number: int
    rights: Rights
    pending: bool
    verb: str | None
    owed: int


def may_go(slot: Admitted) -> bool:
    """Whether ending this connection now leaves nothing half done."""
    return not slot.pending or slot.owed > 0 or slot.verb in LASTING


def _is_slow(verb: str | None) -> bool:
    return verb is not None and verb not in QUICK and verb not in LASTING


def too_many(slots: Iterable[Admitted], verb: str, rights: Rights) -> bool:
    """Whether another request of this verb, by one with these rights, would be one more than may be under way."""
    if not _is_slow(verb):
        return False
    slow = [slot.rights for slot in slots if _is_slow(slot.verb)]
    return len(slow) >= SLOW_MAX or (rights is Rights.READ and slow.count(Rights.READ) >= READERS_SLOW_MAX)


def is_full(slots: Collection[Admitted], newcomer: Rights) -> bool:
    """Whether there is no free slot for a newcomer."""
    if newcomer is Rights.READ and sum(slot.rights is Rights.READ for slot in slots) >= READERS_MAX:
        return True
    return len(slots) >= rpc.MAX_CLIENTS


def gives_way(slots: Iterable[Admitted], hung_up: set[int], newcomer: Rights) -> int | None:
    """The number of the connection that gives its slot to ``newcomer``, or None when no one can.

    First who has hung up, then readers before the owner, who has nothing under way before who waits, looks on or does
    not take its reply, and of those alike the oldest. A reader takes no slot from the owner.
    """
    candidates = [slot for slot in slots if may_go(slot) and (newcomer is Rights.ALL or slot.rights is Rights.READ)]
    if not candidates:
        return None

    def order(slot: Admitted) -> tuple[bool, bool, bool, int]:
        return slot.number not in hung_up, slot.rights is Rights.ALL, slot.pending, slot.number

    return min(candidates, key=order).number
