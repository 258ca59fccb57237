"""Checks side by side, each with a deadline; what they find is told in their order, as soon as it is known.

A check that hangs or fails is a finding of its own and stops no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from ingestd.errors import IngestError
from ingestd.protocol.doctor import Finding, Level

T = TypeVar("T")

CHECK_S: Final = 8.0
"""Seconds for a check that loads no model: all of them run at once, and a person waits."""

CHILD_S: Final = 20.0
"""Seconds for a check that asks a child: on a machine that is busy with jobs, a library takes many to be imported."""

BLOCKED_S: Final = 4.0
"""Seconds for one call that a sick disk may never answer."""

REPORT: Final = "It is a defect of ingestd: report it with this line; the other findings stand"


@dataclass(frozen=True, slots=True)
class Check:
    """``look`` gives what it finds of ``what`` within ``seconds``; ``late`` is the remedy where it does not."""

    what: str
    look: Callable[[], Awaitable[list[Finding]]]
    late: str
    seconds: float = CHECK_S


async def examine(checks: Sequence[Check], tell: Callable[[Finding], None]) -> dict[Level, int]:
    """Run every check and ``tell`` what each found, in order; how many findings there are of each level."""
    counts: dict[Level, int] = {"ok": 0, "warn": 0, "fail": 0}
    found: list[list[Finding]] = [[] for _ in checks]
    ended = [anyio.Event() for _ in checks]

    async def run(number: int) -> None:
        found[number] = await _findings(checks[number])
        ended[number].set()

    async with anyio.create_task_group() as tasks:
        for number in range(len(checks)):
            tasks.start_soon(run, number)
        for number in range(len(checks)):
            await ended[number].wait()
            for one in found[number]:
                counts[one.level] += 1
                tell(one)
    return counts


async def _findings(check: Check) -> list[Finding]:
    try:
        with anyio.fail_after(check.seconds):
            return await check.look()
    except TimeoutError:
        return [Finding("fail", check.what, f"no answer within {check.seconds:.0f} seconds", check.late)]
    except IngestError as error:
        return [refused(check.what, error)]
    except Exception as error:
        return [Finding("fail", check.what, f"the check itself failed: {type(error).__name__}: {error}", REPORT)]


def refused(what: str, error: IngestError, level: Level = "fail") -> Finding:
    """An error as a finding."""
    return Finding(level, what, f"cannot {error.operation} {error.object}: {error.message}", error.remedy)


async def blocking(call: Callable[[], T]) -> T:
    """What ``call`` returns, from a thread that is left behind when it takes longer than ``BLOCKED_S``.

    Raises ``TimeoutError`` then; the process must end by ``os._exit``, for such a thread may never come back.
    """
    with anyio.fail_after(BLOCKED_S):
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
