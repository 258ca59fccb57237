"""The checks' common frame: side by side, each with a deadline, told in order, none able to stop another."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from ingestd.doctor import checking
from ingestd.doctor.checking import Check, blocking, examine
from ingestd.errors import Misconfigured
from ingestd.protocol.doctor import Finding


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def gives(what: str, after: float = 0.0) -> Check:
    async def look() -> list[Finding]:
        await anyio.sleep(after)
        return [Finding("ok", what, "well")]

    return Check(what, look, "")


def check(what: str, look: Callable[[], Awaitable[list[Finding]]]) -> Check:
    return Check(what, look, "look at it", 0.2)


async def _hangs() -> list[Finding]:
    await anyio.sleep_forever()
    raise AssertionError


async def _crashes() -> list[Finding]:
    raise ZeroDivisionError("a defect")


async def _refuses() -> list[Finding]:
    raise Misconfigured("it is shut", operation="open", object="the door", remedy="Knock")


@pytest.mark.anyio
async def test_none_stops_another() -> None:
    """What hangs, crashes or refuses is a failure in its place, with a remedy; the rest is told in order."""
    told: list[Finding] = []
    checks = [gives("slow", 0.1), check("hangs", _hangs), check("crashes", _crashes), check("refuses", _refuses)]
    counts = await examine([*checks, gives("last")], told.append)
    assert [one.what for one in told] == ["slow", "hangs", "crashes", "refuses", "last"]
    assert counts == {"ok": 2, "warn": 0, "fail": 3}
    assert "no answer within" in told[1].finding
    assert told[1].remedy == "look at it"
    assert "ZeroDivisionError: a defect" in told[2].finding
    assert (told[3].finding, told[3].remedy) == ("cannot open the door: it is shut", "Knock")


@pytest.mark.anyio
async def test_they_run_side_by_side() -> None:
    """The whole takes as long as the slowest."""
    began = time.monotonic()
    await examine([gives(str(number), 0.5) for number in range(20)], lambda _: None)
    assert time.monotonic() - began < 5


@pytest.mark.anyio
async def test_what_is_known_is_told_at_once() -> None:
    """The first lines do not wait for the last check."""
    told: list[Finding] = []
    seen_early: list[int] = []

    async def watches() -> list[Finding]:
        while not told:
            await anyio.sleep(0)
        seen_early.append(len(told))
        return []

    await examine([gives("first"), Check("last", watches, "", 30)], told.append)
    assert seen_early == [1]


@pytest.mark.anyio
async def test_a_blocked_call_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer holds a thread, and not the check."""
    monkeypatch.setattr(checking, "BLOCKED_S", 0.1)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await blocking(lambda: time.sleep(1.5))
    assert time.monotonic() - began < 1.4
