"""Performs what ``decide`` returns: the only place where decisions meet processes, the ledger and the clock.

One mailbox, one loop: an event comes out of it, ``decide`` answers with commands, each is started at once and in
order. What takes time (a commit, a child) answers with a later event, so the loop itself never waits for anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup

from ingestd.policy import messages as w, notices
from ingestd.policy.decide import decide
from ingestd.policy.plan import next_wake
from ingestd.protocol.control import RemoveReply
from ingestd.records import JobRow
from ingestd.supervisor.children import Child, Children
from ingestd.supervisor.commits import Commits
from ingestd.supervisor.disk_check import DiskCheck
from ingestd.supervisor.job_records import JobRecords
from ingestd.supervisor.power import Power
from ingestd.supervisor.probes import Probes
from ingestd.supervisor.read_scope import ReadScope
from ingestd.supervisor.removal import remove
from ingestd.supervisor.search import Queries
from ingestd.supervisor.shared import Shared
from ingestd.supervisor.sinks import Sinks
from ingestd.supervisor.sources import Sources
from ingestd.supervisor.walks import Walks
from ingestd.supervisor.workers import Workers

CLOSE_S: Final = 25.0
"""Seconds for everything to end by itself at a shutdown, or to be abandoned; past it children are killed, and nothing
is lost by that."""


class Supervisor:
    """The loop with its parts. The handlers of requests get it whole; a part gets ``shared`` and the parts it calls.

    ``serving`` is set when requests may come. ``log_dropped`` counts the log lines that were lost.
    """

    def __init__(self, shared: Shared, log_dropped: Callable[[], int] = lambda: 0) -> None:
        self.shared = shared
        self.log_dropped = log_dropped
        self.serving = anyio.Event()
        self._given_up = False

        self.records = JobRecords(shared)
        self.disk = DiskCheck(shared)
        self.probes = Probes(shared)
        self.sources = Sources(shared)
        self.walks = Walks(shared)
        self.read_scope = ReadScope(shared, self.sources)
        self.workers = Workers(shared, self.sources, self.read_scope)
        self.commits = Commits(shared, self.workers)
        self.sinks = Sinks(shared)
        self.search = Queries(shared, self.sinks)
        self.power = Power(shared.log, shared.settings["awake"])

        # What requests read and call, by short names.
        self.ledger, self.places, self.clocks, self.log = shared.ledger, shared.places, shared.clocks, shared.log
        self.view, self.rows, self.steps, self.recipes = shared.view, shared.rows, shared.steps, shared.recipes
        self.paces, self.estimates, self.recent = shared.paces, shared.estimates, shared.recent
        self.post, self.settled, self.until, self.notices = shared.post, shared.settled, shared.until, shared.notices
        self.load, self.know, self.keep_job_file = self.records.load, self.records.know, self.records.keep_file

    async def run(self, tasks: TaskGroup) -> None:
        """Serve the mailbox until ``close`` is through."""
        s = self.shared
        s.tasks = tasks
        s.children = Children(
            tasks, self._child_started, self._child_line, self._child_abandoned, s.settings["lockdown"]
        )
        tasks.start_soon(self.search.keep)
        tasks.start_soon(self.power.keep)
        self.serving.set()
        while True:
            posted = await s.receive(next_wake(s.view, s.now()))
            if isinstance(posted, BaseException):
                raise posted
            if callable(posted):
                posted()
            else:
                self._handle(posted)
            s.handled()
            if self._given_up or (s.view.closing and not s.children.alive and not s.view.workers):
                return

    async def close(self) -> None:
        """Wind down: what is in the model finishes, the rest is given back, sinks deliver what they can."""
        s = self.shared
        s.post(w.Closing())
        self.search.end_idle(0)
        self.probes.end_all()
        with anyio.move_on_after(CLOSE_S):
            await s.until(lambda: not s.children.alive and not s.view.workers)
            return
        pids = [child.pid for child in s.children.alive]
        s.log.warning("not all has ended in time: the rest is killed", pids=pids, why=s.ledger.trouble)
        s.children.kill_all()
        # What still waits for a ledger that cannot be written waits in vain: the next start takes it back.
        self._given_up = True
        s.post(w.Tick())

    async def remove(self, row: JobRow) -> RemoveReply:
        """Forget a job that does not run: rows, stores and its file; the user's own files stay."""
        return await remove(self.shared, self.records, self.read_scope, row)

    def _handle(self, event: w.Event) -> None:
        s = self.shared
        s.view.stuck = bool(s.ledger.trouble)
        now = s.now()
        was = notices.before(s.view, event) if s.notices.heard else None
        commands = decide(s.view, event, now)
        if isinstance(event, w.Stored):
            self.disk.weigh(event.job)
        for command in commands:
            self._perform(command)
        if was is not None:
            for notice in notices.of_decision(was, event, commands, s.view, now.wall_ms):
                s.notices.post(notice)

    def _perform(self, command: w.Command) -> None:
        match command:
            case w.SetStatus():
                self.records.set_status(command)
            case w.StartProbe(job):
                self.probes.start(job)
            case w.EndProbe(job):
                self.probes.end(job)
            case w.StartWalk(job):
                self.walks.start(job)
            case w.EndWalk(job, at_once):
                self.walks.end(job, at_once=at_once)
            case w.AskSources(job):
                self.sources.ask(job)
            case w.Spawn(worker, job, alone):
                self.workers.spawn(worker, job, alone=alone)
            case w.Send(worker, message):
                self.workers.tell(worker, message)
            case w.Kill(worker, reason):
                self.workers.kill(worker, reason)
            case w.Lookup():
                self.commits.lookup(command)
            case w.StoreOutcomes():
                self.commits.store(command)
            case w.GiveBack():
                self.commits.give_back(command)
            case w.StartSink(job, sink):
                self.sinks.start(job, sink)
            case w.WakeSink(job, sink, seq):
                self.sinks.wake(job, sink, seq)
            case w.EndSink(job, sink, at_once):
                self.sinks.end(job, sink, at_once=at_once)
            case w.Awake(wanted, reason):
                self.power.want(wanted, reason)
            case _:
                w.unhandled(command)

    def _child_started(self, child: Child) -> None:
        self.log.info("child started", **child.traces, child=child.name)

    def _child_abandoned(self, child: Child) -> None:
        self.log.warning("child abandoned: the kernel does not let it end", **child.traces, child=child.name)

    def _child_line(self, child: Child, stream: str, line: str) -> None:
        self.log.info("child output", **child.traces, child=child.name, stream=stream, line=line)
