"""What the verbs ``pause``, ``resume`` and ``stop`` share: each is asked of one or several jobs, and awaited."""

from __future__ import annotations

from typing import Literal

import anyio

from ingestd.control.full_disk import unless_stuck
from ingestd.control.verb_context import VerbContext
from ingestd.policy import messages as w
from ingestd.protocol import control as c


async def change_status(
    context: VerbContext, params: c.Pause | c.Resume | c.Stop, change: Literal["pause", "resume", "stop"]
) -> c.ChangeReply:
    """Ask the change of every job that ``params`` chooses, and return when it has taken effect and is stored.

    After a pause or stop no process of the job lives, unless somebody has resumed it meanwhile. Raises ``IngestError``
    when no job, or more than one, is meant; ``Unavailable`` when the change cannot be stored.
    """
    s, jobbook = context.supervisor, context.jobbook
    chosen = await jobbook.several(params.job, params.all, change)
    before = {f.row.id: jobbook.status_now(f) for f in chosen}
    for facts in chosen:
        s.post(w.MoveRequested(facts.row.id, change, params.actor))
    with anyio.CancelScope(shield=True):
        await s.settled()

    def at_rest() -> bool:
        return all(s.view.quiet(f.row.id) or jobbook.status_now(f) in ("running", "completed") for f in chosen)

    async def effect() -> None:
        if change != "resume":
            await s.until(at_rest)
        await s.ledger.write(lambda _: None)  # the new status is on the disk before the client is told
        for facts in chosen:
            await s.keep_job_file(facts.row.id)

    await unless_stuck(s.ledger, effect, change)
    changes = []
    for facts in chosen:
        status = jobbook.status_now(facts)
        changes.append(c.JobChange(facts.row.name, facts.row.uuid, status, status != before[facts.row.id]))
    return c.ChangeReply(changes)
