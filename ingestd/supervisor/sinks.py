"""Sink children: one per (job, sink), told how far the feed has grown, heard for cursors and answers."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from ingestd.errors import Misconfigured, Unavailable
from ingestd.kinds.sinks import SinkSpec, declared
from ingestd.ledger import jobs
from ingestd.ledger.sql import sql
from ingestd.lockdown.environment import of_sinks
from ingestd.policy import messages as w
from ingestd.policy.recipe import sink_place, store_name, vector_fingerprint
from ingestd.policy.sink_spec import values_of
from ingestd.protocol.sink import Delivered, Grown, Hits, Search, SinkSetup, Trouble
from ingestd.protocol.work import Finish
from ingestd.records import CursorRow
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.shared import Shared


@dataclass(slots=True)
class Link:
    """A sink's process and the searches that wait for its answer. ``trouble``: why it cannot be opened, as it said."""

    child: Child | None = None
    ready: bool = False
    ending: bool = False
    trouble: str = ""
    answers: dict[int, Hits | None] = field(default_factory=dict)


class Sinks:
    """Starts, tells and hears sink children."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.links: dict[tuple[int, str], Link] = {}
        self._next = 0

    def place_of(self, job: int, sink: SinkSpec) -> str:
        """Where a sink keeps a job's output."""
        s = self._shared
        return sink_place(s.places.state, s.rows[job].uuid, sink, [row.step for row in s.steps[job]], s.sink_kinds)

    def start(self, job: int, name: str) -> None:
        """Start the process with the stored cursor; a kind that is not declared (any more) is trouble, in words."""
        s = self._shared
        spec = next(sink for sink in s.rows[job].sinks if sink.name == name)
        try:
            kind = declared(spec.kind, s.sink_kinds)
        except Misconfigured as error:
            s.post(w.SinkGone(job, name, False, "misconfigured", error.sentence()))
            return
        place = self.place_of(job, spec)
        link = self.links[job, name] = Link()
        row = s.rows[job]
        steps = [step.step for step in s.steps[job]]

        def change(db: sqlite3.Connection) -> tuple[CursorRow, int]:
            if kind.vectors and db.execute(sql("current_store"), {"job_id": job, "sink": name}).fetchone() is None:
                store = {"fingerprint": vector_fingerprint(steps), "place": place}
                db.execute(sql("add_store"), {"job_id": job, "sink": name, **store})
            return jobs.cursors(db, job)[name], jobs.tally(db, job).feed_seq

        def begun(value: tuple[CursorRow, int]) -> None:
            cursor, feed_seq = value
            if not spec.place:  # under the state folder; what the user named is the user's
                Path(place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.child = s.children.start(
                "sinks", f"sink {name} of {row.name}", lambda said: self._said(job, name, link, said),
                lambda ending: self._ended(job, name, link, ending), job=row.name, sink=name,
                secrets=of_sinks([kind]), touches=[("sink", row.uuid, name)],
            )  # fmt: skip
            link.child.send(
                SinkSetup(
                    job,
                    row.uuid,
                    row.name,
                    str(s.ledger.path),
                    spec.kind,
                    place,
                    steps,
                    cursor.seq,
                    cursor.token,
                    feed_seq,
                    store_name(row.name, steps),
                    s.settings.get(kind.key_file),
                    kind,
                    values_of(kind, s.settings.get),
                )
            )
            if link.ending:
                link.child.send(Finish())

        s.then(s.ledger.write(change), begun)

    def wake(self, job: int, name: str, seq: int) -> None:
        """The feed has grown."""
        if (link := self.links.get((job, name))) and link.child is not None:
            link.child.send(Grown(seq))

    def end(self, job: int, name: str, *, at_once: bool) -> None:
        """Let it exit. Nothing is lost with a sink that is ended ``at_once``: its cursor is in the ledger."""
        link = self.links.get((job, name))
        if link is None:
            return
        if link.child is not None and at_once:
            self._shared.log.warning("sink killed", **link.child.traces, reason="it does not answer")
            link.child.kill()
        elif not at_once:
            link.ending = True
            if link.child is not None:
                link.child.send(Finish())

    async def search(self, job: int, name: str, message: Search, timeout: float) -> Hits:
        """Ask a store; starts its process if need be. Raises ``Unavailable`` when it has not answered in time."""
        s = self._shared
        called = s.rows[job].name if job in s.rows else "that was removed"
        s.post(w.SinkWanted(job, name))
        self._next += 1
        ident = self._next
        query = Search(
            ident, message.vector_name, message.vector, message.limit, message.folder, message.since, message.until
        )
        with anyio.move_on_after(timeout):
            await s.until(lambda: self._is_open(job, name) or self._is_removed(job) or bool(self._trouble(job, name)))
            if not self._is_open(job, name) and (trouble := self._trouble(job, name)):
                raise Unavailable(
                    trouble, operation="search", object=f"the sink {name} of the job {called}",
                    remedy="It is tried again by itself; ingestctl status shows how far it has got",
                )  # fmt: skip
            if self._is_removed(job):
                raise Unavailable(
                    "it was removed meanwhile", operation="search", object=f"the job {called}",
                    remedy="ingestctl status lists the jobs",
                )  # fmt: skip
            link = self.links[job, name]
            assert link.child is not None
            link.answers[ident] = None
            link.child.send(query)
            await s.until(lambda: link.answers[ident] is not None or link.child is None)
            answer = link.answers.pop(ident)
            if answer is not None:
                return answer
        view = s.view.sink(job, name)
        why = view.message if view and view.message else f"it did not answer within {timeout:.0f} seconds"
        raise Unavailable(
            why, operation="search", object=f"the sink {name} of the job {called}",
            remedy="Try again; ingestctl status shows how far it has got",
        )  # fmt: skip

    def _is_open(self, job: int, name: str) -> bool:
        link = self.links.get((job, name))
        return link is not None and link.ready and not link.ending

    def _trouble(self, job: int, name: str) -> str:
        link = self.links.get((job, name))
        return link.trouble if link is not None else ""

    def _is_removed(self, job: int) -> bool:
        view = self._shared.view.jobs.get(job)
        return view is None or view.removing

    def _said(self, job: int, name: str, link: Link, said: Any) -> None:
        s = self._shared
        match said:
            case Delivered(seq, token):
                if job not in s.rows or all(sink.name != name for sink in s.rows[job].sinks):
                    return  # the job has dropped this sink
                link.ready = True
                future = s.ledger.write(lambda db: jobs.put_cursor(db, job, name, seq, token))
                s.then(future, lambda _: w.SinkDelivered(job, name, seq))
            case Trouble(message, remedy, retry_s):
                if message:
                    traces = link.child.traces if link.child else {"job": s.rows[job].name, "sink": name}
                    s.log.warning("sink trouble", **traces, message=message, remedy=remedy)
                link.trouble = message
                text = f"{message}. {remedy}; trying again in {retry_s:.0f} s" if message else ""
                s.post(w.SinkTrouble(job, name, text))
            case Hits(ident):
                if ident in link.answers:  # else nobody waits for it any more
                    link.answers[ident] = said
                s.post(w.Tick())
            case _:
                assert link.child is not None
                s.unexpected(link.child, said)

    def _ended(self, job: int, name: str, link: Link, ending: Ending) -> None:
        s = self._shared
        traces = link.child.traces if link.child else {"sink": name}
        link.child, link.ready = None, False
        if self.links.get((job, name)) is link:
            del self.links[job, name]
        kind = ending.fatal.kind if ending.fatal else ""
        if not ending.clean and not link.ending:
            s.log.warning("sink died", **traces, cause=ending.cause(), last_lines=ending.last_lines)
        s.post(w.SinkGone(job, name, ending.clean, kind, ending.cause()))
