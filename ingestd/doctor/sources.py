"""Every root of every job, listed by walker children: a dead mount stops one of them, and not the doctor."""

from __future__ import annotations

import os
from typing import Final

import anyio

from ingestd.doctor import wording
from ingestd.doctor.checking import blocking
from ingestd.doctor.context import Context, Job
from ingestd.doctor.doctor_child import ask
from ingestd.executors.base import ChildSpec
from ingestd.protocol.doctor import Finding
from ingestd.protocol.walk import FromWalker, ResolvedRoot, ResolveRoots, RootsResolved, ToWalker

WHAT: Final = "source"
WALKER: Final = ChildSpec("ingestd.walker", "doctor: sources", ToWalker, FromWalker)

TOGETHER_S: Final = 4.0
"""Seconds for one child to list all roots; when it has not, each root that may be the cause gets a child of its own."""

ALONE_S: Final = 6.0
AT_ONCE: Final = 16
"""Children at once: more roots than these are looked at in turns."""

AWAY: Final = "Connect and mount it, then: ingestctl start; a source that is gone for good: ingestctl stop, or remove"
RIGHTS: Final = "Give the daemon's user the right to read it (chmod, chgrp, setfacl), then: ingestctl start"
DEAD: Final = "Its disk or network share does not answer: see that the server runs, or unmount it (umount -f, -l)"


async def sources(context: Context) -> list[Finding]:
    """One finding for each root, with the jobs that it belongs to."""
    owners: dict[bytes, list[Job]] = {}
    lists: list[Job] = []
    for job in context.jobs:
        if job.row.spec.list_file:
            lists.append(job)
            continue
        for root in job.roots:
            owners.setdefault(root, []).append(job)
    found = [await _list(job) for job in lists]
    if owners:
        answers = await _resolved(list(owners))
        found += [_finding(root, jobs, answers.get(root)) for root, jobs in owners.items()]
    return found or [Finding("ok", WHAT, "no job has one yet")]


async def _resolved(roots: list[bytes]) -> dict[bytes, ResolvedRoot]:
    """What each root is; those that do not answer are missing."""
    with anyio.move_on_after(TOGETHER_S):
        if answers := await _ask(roots):
            return dict(zip(roots, answers, strict=True))
    alone: dict[bytes, ResolvedRoot] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(root: bytes) -> None:
        async with limit:
            with anyio.move_on_after(ALONE_S):
                if answers := await _ask([root]):
                    alone[root] = answers[0]

    async with anyio.create_task_group() as tasks:
        for root in roots:
            tasks.start_soon(one, root)
    return alone


async def _ask(roots: list[bytes]) -> list[ResolvedRoot]:
    said: list[RootsResolved] = []
    await ask(WALKER, ResolveRoots(roots), RootsResolved, said.append)
    return said[0].roots if said else []


def _finding(root: bytes, jobs: list[Job], answer: ResolvedRoot | None) -> Finding:
    place, whose = wording.path(root), wording.of_jobs([job.row.name for job in jobs])
    bad = "fail" if any(job.active for job in jobs) else "warn"
    if answer is None:
        return Finding(bad, WHAT, f"{place}: no answer within {ALONE_S:.0f} seconds{whose}", DEAD)  # type: ignore[arg-type]
    if answer.error:
        # The walker's sentences; it is a child, so its module is not ours to import.
        remedy = RIGHTS if "permissions" in answer.error else AWAY
        return Finding(bad, WHAT, f"{place}: {answer.error}{whose}", remedy)  # type: ignore[arg-type]
    kind = f", {answer.fs}" if answer.fs else ""
    moved = "" if answer.path == root else f", now {wording.path(answer.path)}"
    return Finding("ok", WHAT, f"{place}: can be {'listed' if answer.is_dir else 'read'}{kind}{moved}{whose}")


async def _list(job: Job) -> Finding:
    """A file list is ours: it lies in the state folder. What it names is looked at when the job runs."""
    file, whose = str(job.row.spec.list_file), wording.of_jobs([job.row.name])
    if await blocking(lambda: os.access(file, os.R_OK)):
        return Finding("ok", WHAT, f"{wording.path(file)}: a list that can be read{whose}")
    text = f"{wording.path(file)}: the job's list is gone{whose}"
    return Finding("fail" if job.active else "warn", WHAT, text, "Start the job again with its list: ingestctl start -")
