"""What the parts of the supervisor have in common: the mailbox, and that none of them knows the loop."""

from __future__ import annotations

import ast
from pathlib import Path

import anyio
import pytest

import ingestd.supervisor
from ingestd.policy import messages as w
from tests.supervisor.stage import stage

HOME = Path(ingestd.supervisor.__path__[0])
PARTS = sorted(path.stem for path in HOME.glob("*.py") if path.stem not in ("__init__", "loop"))


def imported(name: str) -> set[str]:
    """The modules of the package that one of them imports, wherever in its code."""
    prefix = "ingestd.supervisor."
    tree = ast.parse((HOME / f"{name}.py").read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


@pytest.mark.parametrize("part", PARTS)
def test_no_part_knows_the_loop(part: str) -> None:
    """A part gets ``shared`` and the parts that it calls, so each can be tested without the others."""
    assert "loop" not in imported(part)


def test_shared_knows_no_part() -> None:
    """Of the package it knows what is below all parts."""
    assert imported("shared") == {"children", "notices"}


def test_what_is_posted_is_decided_in_its_order(tmp_path: Path) -> None:
    """``settled`` returns when everything that was posted before it has had its turn, and nothing that came later."""

    async def life() -> None:
        async with stage(tmp_path) as s, anyio.create_task_group() as tasks:
            done = anyio.Event()

            async def ask() -> None:
                await s.shared.settled()
                done.set()

            s.shared.post(w.Resolved(1))
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            s.shared.post(w.Resolved(2))
            assert await s.shared.receive(1) == w.Resolved(1)
            assert not done.is_set()
            call = await s.shared.receive(1)
            assert callable(call)
            call()
            with anyio.fail_after(5):
                await done.wait()
            assert await s.shared.receive(1) == w.Resolved(2)
            assert await s.shared.receive(0) == w.Tick(), "time has passed, nothing else"

    anyio.run(life)


def test_a_condition_is_looked_at_after_every_event(tmp_path: Path) -> None:
    """Whoever waits by ``until`` goes on with the event that makes it true, not with the next one."""

    async def life() -> None:
        async with stage(tmp_path) as s, anyio.create_task_group() as tasks:
            true: list[int] = []
            tasks.start_soon(s.shared.until, lambda: len(true) == 1)
            await anyio.wait_all_tasks_blocked()
            s.shared.handled()
            await anyio.wait_all_tasks_blocked()
            true.append(1)
            s.shared.handled()

    anyio.run(life)


def test_a_change_of_the_ledger_that_fails_is_a_defect(tmp_path: Path) -> None:
    """It comes out of the mailbox as the exception that it is, and so does one in what follows from a change."""

    async def life() -> None:
        async with stage(tmp_path) as s:
            s.shared.then(s.shared.ledger.write(lambda db: db.execute("SELECT 1 FROM nowhere")), lambda _: None)
            assert "nowhere" in str(await s.shared.receive(5))
            s.shared.then(s.shared.ledger.write(lambda _: {}), lambda found: found["missing"])
            assert isinstance(await s.shared.receive(5), KeyError)
            s.shared.then(s.shared.ledger.write(lambda _: 3), w.Resolved)
            assert await s.shared.receive(5) == w.Resolved(3)

    anyio.run(life)
