"""One handler a verb. A handler returns when what was asked has taken effect, and says what is now true."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import psutil

from ingestd import __version__
from ingestd.config import Settings
from ingestd.control.search import find
from ingestd.control.start import start
from ingestd.control.status import job_status
from ingestd.errors import EXIT_USAGE, IngestError, Unavailable
from ingestd.host.log_note import where
from ingestd.ledger import items, jobs, report
from ingestd.ledger.report import JobFacts
from ingestd.policy import messages as w
from ingestd.policy.notices import JobChanged, Notice
from ingestd.policy.states import JobEvent
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import path_bytes, shown
from ingestd.supervisor.loop import Supervisor

RESTING = ("completed", "failed", "stopped", "paused")
ACTIVE = ("queued", "running", "waiting", "paused")


LOOKS: Final = 4
"""Processes that look at sources for ``start`` at a time: a script that asks for many jobs starts no more."""

STUCK_S: Final = 5.0
"""Seconds that a ledger which cannot be written is waited for before a client is told."""


def removed() -> IngestError:
    """For a request that was still under way when its job went."""
    return IngestError(
        "it was removed meanwhile", operation="tell about", object="the job", remedy="ingestctl status lists the jobs"
    )


class Verbs:
    """The handlers, with what they need at hand. ``stop`` is called to begin the daemon's shutdown."""

    def __init__(self, supervisor: Supervisor, settings: Settings, stop: Callable[[], Awaitable[None]]) -> None:
        self.supervisor = supervisor
        self.settings = settings
        self._stop = stop
        self._started = supervisor.clocks.wall_ms() / 1000
        self._process = psutil.Process()
        self.starting = anyio.Lock()
        self.looking = anyio.Semaphore(LOOKS)

    def handlers(self) -> dict[str, Callable[[Any], Awaitable[c.Reply]]]:
        """Every verb that answers once, by name."""
        return {name: getattr(self, f"handle_{name}") for name in c.VERBS if name != "subscribe"}

    # ---------------------------------------------------------------------------------------------------- choosing jobs

    async def facts(self) -> list[JobFacts]:
        """Every job as the ledger has it, newest first: none that is being removed, or is not whole yet."""
        s = self.supervisor
        recent = {job: tuple(items) for job, items in s.recent.items()}
        known = await s.ledger.read(lambda db: report.facts(db, recent))
        return [f for f in known if (view := s.view.jobs.get(f.row.id)) is not None and not view.removing]

    def _status_of(self, facts: JobFacts) -> str:
        view = self.supervisor.view.jobs.get(facts.row.id)
        return view.status if view else facts.row.status

    async def one(self, name: str | None, operation: str) -> JobFacts:
        """The job of this name or uuid (a unique beginning will do), or the newest. Raises when there is none."""
        known = await self.facts()
        if name is None:
            if known:
                return known[0]
            raise IngestError(
                "there is none yet", operation=operation, object="a job", remedy="Begin one: ingestctl start FOLDER"
            )
        return self._named(known, name, operation)

    def _named(self, known: list[JobFacts], name: str, operation: str) -> JobFacts:
        exact = [f for f in known if name in (f.row.name, f.row.uuid)]
        living = [f for f in exact if self._status_of(f) != "stopped"]
        found = living or exact[:1] or [f for f in known if len(name) >= 4 and f.row.uuid.startswith(name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f.row.name for f in known) or "none yet"
        raise IngestError(
            "no job has that name" if not found else "several jobs begin so",
            operation=operation, object=f"the job {name}", remedy=f"The jobs are: {names}", exit=EXIT_USAGE,
        )  # fmt: skip

    async def several(self, name: str | None, every: bool, operation: str) -> list[JobFacts]:
        """The job named; or all active ones; or the one active job. Raises with the choices when there are several."""
        known = await self.facts()
        if name is not None:
            return [self._named(known, name, operation)]
        active = [f for f in known if self._status_of(f) in ACTIVE]
        if every or len(active) == 1:
            return active
        if not active:
            if len(known) == 1:
                return known
            raise IngestError(
                "no job is active", operation=operation, object="a job", remedy="ingestctl status lists them"
            )
        names = ", ".join(f.row.name for f in active)
        raise IngestError(
            "several jobs are active", operation=operation, object="a job",
            remedy=f"Name one of {names}, or give --all", exit=EXIT_USAGE,
        )  # fmt: skip

    def describe(self, facts: JobFacts) -> c.JobStatus:
        """A job as it is now."""
        return job_status(facts, self.supervisor, self.supervisor.places.state)

    async def status(self, job: int) -> c.JobStatus:
        """One job's status, as it is now."""
        for facts in await self.facts():
            if facts.row.id == job:
                return self.describe(facts)
        raise removed()

    # ------------------------------------------------------------------------------------------------------- the verbs

    async def handle_hello(self, params: c.Hello) -> c.HelloReply:
        return c.HelloReply(c.PROTOCOL, __version__, os.getpid())

    async def handle_start(self, params: c.Start) -> c.StartReply:
        return await start(self, params)

    async def handle_status(self, params: c.Status) -> c.StatusReply:
        known = await self.facts()
        if params.job is not None:
            known = [self._named(known, params.job, "show")]
        return c.StatusReply(self._daemon(), [self.describe(f) for f in known])

    def _daemon(self) -> c.DaemonStatus:
        places = self.supervisor.places
        size = sum(
            os.stat(f"{places.ledger}{s}").st_size for s in ("", "-wal") if os.path.exists(f"{places.ledger}{s}")
        )
        memory = self._process.memory_info().rss
        return c.DaemonStatus(
            os.getpid(),
            __version__,
            self._started,
            str(places.state),
            where(places.log_file),
            size,
            memory,
            self.supervisor.ledger.trouble,
            self.supervisor.power.status(),
            self.supervisor.log_dropped(),
        )

    async def handle_pause(self, params: c.Pause) -> c.ChangeReply:
        return await self._move(params, "pause", "pause")

    async def handle_resume(self, params: c.Resume) -> c.ChangeReply:
        return await self._move(params, "resume", "resume")

    async def handle_stop(self, params: c.Stop) -> c.ChangeReply:
        return await self._move(params, "stop", "stop")

    async def _move(self, params: c.Pause | c.Resume | c.Stop, event: JobEvent, operation: str) -> c.ChangeReply:
        s = self.supervisor
        chosen = await self.several(params.job, params.all, operation)
        before = {f.row.id: self._status_of(f) for f in chosen}
        for facts in chosen:
            s.post(w.MoveRequested(facts.row.id, event, params.actor))
        with anyio.CancelScope(shield=True):
            await s.settled()

        async def effect() -> None:
            if event != "resume":
                await s.until(
                    lambda: all(
                        s.view.quiet(f.row.id) or self._status_of(f) in ("running", "completed") for f in chosen
                    )
                )
            await s.ledger.write(lambda _: None)  # what was said is durable before it is said to the client
            for facts in chosen:
                await s.keep_job_file(facts.row.id)

        await self._unless_stuck(effect, operation)
        changes = []
        for facts in chosen:
            status = self._status_of(facts)
            changes.append(c.JobChange(facts.row.name, facts.row.uuid, status, status != before[facts.row.id]))
        return c.ChangeReply(changes)

    async def _unless_stuck(self, effect: Callable[[], Awaitable[None]], operation: str) -> None:
        """Wait for ``effect``, but not for a disk that is full. Raises ``Unavailable`` with what is so then."""
        stuck = ""

        async def watch() -> None:
            nonlocal stuck
            while not stuck:
                before = self.supervisor.ledger.trouble
                await anyio.sleep(STUCK_S)
                stuck = before and self.supervisor.ledger.trouble
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await effect()
            tasks.cancel_scope.cancel()
        if stuck:
            raise Unavailable(
                f"it was asked, but cannot be stored: {stuck}", operation=operation, object="the job for good",
                remedy="Free some space where the state folder lies (ingestctl status names it); it is stored then",
            )  # fmt: skip

    def check_writable(self, operation: str, object: str) -> None:
        """Raises ``Unavailable`` while nothing can be stored: what changes the ledger would wait without a word."""
        if trouble := self.supervisor.ledger.trouble:
            raise Unavailable(
                trouble, operation=operation, object=object,
                remedy="Free some space where the state folder lies (ingestctl status names it), then try again",
            )  # fmt: skip

    async def handle_wait(self, params: c.Wait) -> c.WaitReply:
        facts = await self.one(params.job, "wait for")
        s = self.supervisor
        ident = facts.row.id
        await s.until(lambda: ident not in s.rows or (self._status_of(facts) in RESTING and s.view.quiet(ident)))
        await s.ledger.write(lambda _: None)  # its end is durable before it is told
        return c.WaitReply(await self.status(facts.row.id))

    async def handle_summary(self, params: c.Summary) -> c.SummaryReply:
        facts = await self.one(params.job, "sum up")
        now = self.supervisor.clocks.wall_ms()
        slow = await self.supervisor.ledger.browse(lambda db: report.summary(db, facts.row.id, now))
        ended = facts.tally.done + facts.tally.failed
        rate = facts.tally.done / ended if ended else None
        return c.SummaryReply(
            self.describe(facts), rate, slow.contents, slow.attempts, slow.active_s, slow.phases,
            slow.failures, slow.batches, slow.odd,
        )  # fmt: skip

    async def handle_failed(self, params: c.Failed) -> c.FailedReply:
        facts = await self.one(params.job, "list the failures of")
        rows, following = await self.supervisor.ledger.browse(
            lambda db: report.failed_page(db, facts.row.id, params.kind, params.after, params.limit)
        )
        total = facts.tally.failed
        if params.kind is not None:
            kinds = await self.supervisor.ledger.browse(lambda db: report.failures_by_kind(db, facts.row.id))
            total = kinds.get(params.kind, 0)
        return c.FailedReply(facts.row.name, total, rows, following)

    async def handle_show(self, params: c.Show) -> c.ShowReply:
        path = path_bytes(params.path)
        only = (await self.one(params.job, "show")).row.id if params.job else None
        found = await self.supervisor.ledger.browse(lambda db: report.show(db, path))
        items = [item for job, item in found if only in (None, job)]
        if not items:
            raise IngestError(
                "no job knows it", operation="show", object=shown(path)[0],
                remedy="Give the path of a file below a job's folder; ingestctl status lists the folders",
            )  # fmt: skip
        return c.ShowReply(items)

    async def handle_retry(self, params: c.Retry) -> c.RetryReply:
        facts = await self.one(params.job, "retry")
        self.check_writable("retry", f"the job {facts.row.name}")
        s, job = self.supervisor, facts.row.id
        if self._status_of(facts) == "stopped":
            raise IngestError(
                "it was stopped for good", operation="retry", object=f"the job {facts.row.name}",
                remedy="Start its folder again: a new job reuses what this one made",
            )  # fmt: skip
        only = None
        if params.paths:
            paths = [path_bytes(path) for path in params.paths]
            found = await s.ledger.browse(lambda db: [hit for path in paths for hit in report.items_at(db, path)])
            only = frozenset(item for item, of in found if of == job)
        retried, after = 0, 0
        while True:
            if job not in s.recipes:  # a remove came in between
                raise removed()
            start_at, recipe = after, s.recipes[job]
            count, following, tally = await s.ledger.write(
                lambda db: (*items.retry(db, job, recipe, start_at, params.kind, only), jobs.tally(db, job))  # noqa: B023
            )
            retried += count
            if following is None:
                break
            after = following
        s.post(w.Tallied(job, tally))
        if retried:
            s.post(w.MoveRequested(job, "more", ""))
        await s.settled()
        return c.RetryReply(await self.status(job), retried)

    async def handle_search(self, params: c.Search) -> c.SearchReply:
        return await find(self, params)

    async def handle_remove(self, params: c.Remove) -> c.RemoveReply:
        async with self.starting:  # a start of its folder has begun it again by now, or finds it gone
            facts = await self.one(params.job, "remove")
            s, row = self.supervisor, facts.row
            self.check_writable("remove", f"the job {row.name}")
            if self._status_of(facts) not in ("completed", "failed", "stopped") or not s.view.quiet(row.id):
                raise IngestError(
                    f"it is {self._status_of(facts)}", operation="remove", object=f"the job {row.name}",
                    remedy=f"First: ingestctl stop {row.name}",
                )  # fmt: skip
            s.post(w.JobRemoving(row.id))
            await s.settled()
        return await s.remove(row)

    async def handle_config(self, params: c.Config) -> c.ConfigReply:
        return c.ConfigReply([c.ConfigRow(key, s.value, s.source) for key, s in self.settings.values.items()])

    async def handle_logs(self, params: c.Logs) -> c.LogsReply:
        return c.LogsReply(where(self.supervisor.places.log_file))

    async def handle_shutdown(self, params: c.Shutdown) -> c.ShutdownReply:
        await self._stop()
        return c.ShutdownReply(os.getpid())

    # ------------------------------------------------------------------------------------------------------- the stream

    async def stream_subscribe(self, params: c.Subscribe, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """Snapshots of jobs as they change, four a second at most: a slow client gets fewer, never a backlog."""
        only = (await self.one(params.job, "follow")).row.id if params.job else None
        dirty: set[int] = set()
        woken = anyio.Event()

        def heard(notice: Notice) -> None:
            if isinstance(notice, JobChanged) and only in (None, notice.job):
                dirty.add(notice.job)
                woken.set()

        unlisten = self.supervisor.notices.listen(heard)
        try:
            known = [f for f in await self.facts() if only in (None, f.row.id)]
            await send({"result": c.SubscribeReply([self.describe(f) for f in known])})
            while True:
                await woken.wait()
                woken = anyio.Event()
                jobs_now, now = set(dirty), self.supervisor.clocks.wall_ms() / 1000
                dirty.clear()
                for facts in await self.facts():
                    if facts.row.id in jobs_now:
                        event = c.Event("job", now, self.describe(facts))
                        await send({"jsonrpc": "2.0", "method": "event", "params": event})
                await anyio.sleep(0.25)
        finally:
            unlisten()
