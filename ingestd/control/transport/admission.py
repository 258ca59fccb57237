"""Which connection gets a slot, and which is closed for it when all are taken. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Protocol

from ingestd.control.transport.peer import Rights
from ingestd.protocol import rpc

READERS_MAX: Final = rpc.MAX_CLIENTS * 3 // 4
"""Slots that the reading group may take together: its members cannot keep the owner out."""

LASTING: Final = frozenset({"wait", "subscribe"})
"""Verbs that may last for ever. Ending one halfway harms nothing, so such a connection may be closed for another."""

QUICK: Final = frozenset({"hello", "status", "config", "logs"})
"""Verbs that are answered at once."""

SLOW_MAX: Final = rpc.MAX_CLIENTS // 2
"""Requests of all other verbs that may be under way at a time. They wait for children or long queries and are not ended
halfway, so their slots cannot be taken: the rest stays free for ``status``."""

READERS_SLOW_MAX: Final = SLOW_MAX // 2
"""How many of those the reading group may have: its searches must not keep the owner from ``stop``."""


class Admitted(Protocol):
    """What is looked at of a connection; see ``Connection``."""

    number: int
    rights: Rights
    pending: bool
    verb: str | None
    owed: int


def may_go(slot: Admitted) -> bool:
    """Whether this connection can be closed now without leaving something half done."""
    return not slot.pending or slot.owed > 0 or slot.verb in LASTING


def _is_slow(verb: str | None) -> bool:
    return verb is not None and verb not in QUICK and verb not in LASTING


def too_many(slots: Iterable[Admitted], verb: str, rights: Rights) -> bool:
    """Whether one more request of this verb, by a client with these rights, is more than may be under way."""
    if not _is_slow(verb):
        return False
    slow = [slot.rights for slot in slots if _is_slow(slot.verb)]
    return len(slow) >= SLOW_MAX or (rights is Rights.READ and slow.count(Rights.READ) >= READERS_SLOW_MAX)


def is_full(slots: Collection[Admitted], newcomer: Rights) -> bool:
    """Whether no slot is free for a client with these rights."""
    if newcomer is Rights.READ and sum(slot.rights is Rights.READ for slot in slots) >= READERS_MAX:
        return True
    return len(slots) >= rpc.MAX_CLIENTS


def gives_way(slots: Iterable[Admitted], hung_up: set[int], newcomer: Rights) -> int | None:
    """The number of the connection to close for a client with the rights ``newcomer``, or None when none may be.

    First those in ``hung_up``; then the readers' before the owner's; then those without a request before those that
    wait, subscribe or do not read their reply; then the oldest. A reader takes no slot from the owner.
    """
    candidates = [slot for slot in slots if may_go(slot) and (newcomer is Rights.ALL or slot.rights is Rights.READ)]
    if not candidates:
        return None

    def order(slot: Admitted) -> tuple[bool, bool, bool, int]:
        return slot.number not in hung_up, slot.rights is Rights.ALL, slot.pending, slot.number

    return min(candidates, key=order).number
