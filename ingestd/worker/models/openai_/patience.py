"""When a request that got no answer is sent again: a value, decided from what happened. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["absent", "busy", "failing", "garbled", "silent"]
"""``absent``: no connection could be made. ``busy``: the server asks for time (429, 503). ``failing``: another 5xx, or
it hung up without a word. ``garbled``: an answer that is cut or makes no sense. ``silent``: none in the time for it."""

TRIES: Final[dict[Kind, int]] = {
    "absent": 4,  # some three seconds: a server that is restarted takes longer, and then the job waits
    "failing": 5,  # twice that
    "garbled": 3,  # what is garbled twice is so for a reason
    "silent": 2,  # each costs minutes
}
"""Requests for one picture that may end so; ``busy`` is bounded by time alone."""


@dataclass(frozen=True, slots=True)
class Later:
    """A request that may succeed another time. ``wait_s`` is what the server asked for (Retry-After)."""

    kind: Kind
    words: str
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. The defaults are for people's machines; tests take shorter ones."""

    first_s: float = 0.5
    slowest_s: float = 30.0

    busy_s: float = 300.0
    """How long a server may say that it is busy without answering any of our requests: limits are per minute."""

    answer_s: float = 600.0
    """For one whole answer, waiting in the server's queue included. 128 tokens at one a second, as a NAS makes them,
    behind three more requests at a server that takes one at a time, are some nine minutes."""

    connect_s: float = 10.0


def wait_before_next(later: Later, tries: int, quiet_s: float, chance: float, patience: Patience) -> float | None:
    """Seconds until the request is sent again, None when that has no sense any more.

    ``tries`` counts requests that ended in this kind so far; ``quiet_s`` is the time since the endpoint answered any
    request; ``chance`` (0 to 1) spreads requests that failed together.
    """
    backoff = min(patience.slowest_s, patience.first_s * 2 ** min(tries - 1, 16)) * (0.5 + chance / 2)
    # What the server asked for is never cut short; a tenth more keeps all from coming back in the same moment.
    wait = backoff if later.wait_s is None else max(backoff, later.wait_s * (1 + chance / 10))
    if later.kind == "busy":
        return wait if quiet_s + wait <= patience.busy_s else None
    return wait if tries < TRIES[later.kind] and wait <= patience.busy_s else None
