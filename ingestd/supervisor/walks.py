"""Walks under way: one walker child per job, its listings committed under credit."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from ingestd.ledger import jobs, scans
from ingestd.policy import messages as w
from ingestd.protocol.pathtext import shown
from ingestd.protocol.walk import Credit, Listing, RootSpec, ScanEnd, WalkerSetup
from ingestd.protocol.work import Finish
from ingestd.records import Tally
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.shared import Shared


@dataclass(slots=True)
class WalkProcess:
    """One walk: its row, its process, and its report once it has come.

    It does not count if we ``interrupted`` it, or if the job was asked for again meanwhile (``stale``): folders that it
    has passed may have changed since, and it runs with the settings of before.
    """

    scan: int
    child: Child | None = None
    report: ScanEnd | None = None
    interrupted: bool = False
    stale: bool = False


class Walks:
    """Starts, hears and ends walkers."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.walks: dict[int, WalkProcess] = {}

    def start(self, job: int) -> None:
        """Begin a walk; its end comes as ``WalkEnded``."""
        s = self._shared
        now, refs = s.clocks.wall_ms(), s.rows[job].roots
        walk = self.walks[job] = WalkProcess(0)

        def change(db: sqlite3.Connection) -> tuple[int, list[RootSpec]]:
            return scans.begin(db, job, now), jobs.roots(db, refs)

        def begun(value: tuple[int, list[RootSpec]]) -> None:
            walk.scan, roots = value
            spec = s.rows[job].spec
            walk.child = s.children.start(
                "walker", f"walker {s.rows[job].name}", lambda said: self._said(job, walk, said),
                lambda ending: self._ended(job, walk, ending), job=s.rows[job].name,
                touches=[("sources", s.rows[job].uuid)],
            )  # fmt: skip
            walk.child.send(
                WalkerSetup(
                    job, str(s.ledger.path), roots, list(spec.include), list(spec.exclude), spec.limit, spec.list_file
                )
            )
            if walk.interrupted:
                walk.child.send(Finish())

        s.then(s.ledger.write(change), begun)

    def outdate(self, job: int) -> None:
        """The job was asked for again: a walk under way goes on, and another one follows it."""
        if walk := self.walks.get(job):
            walk.stale = True

    def end(self, job: int, *, at_once: bool) -> None:
        """Let a walk end early; another one is made when the job goes on."""
        walk = self.walks.get(job)
        if walk is None:
            return  # it has just ended; ``WalkEnded`` is on its way
        walk.interrupted = True
        if walk.child is not None and at_once:
            walk.child.kill()
        elif walk.child is not None:
            walk.child.send(Finish())

    def _said(self, job: int, walk: WalkProcess, said: Any) -> None:
        match said:
            case ScanEnd():
                walk.report = said
            case Listing():
                self._listed(job, walk, said)
            case _:
                assert walk.child is not None
                self._shared.unexpected(walk.child, said)

    def _listed(self, job: int, walk: WalkProcess, listing: Listing) -> None:
        s = self._shared
        recipe, now = s.recipes[job], s.clocks.wall_ms()

        def change(db: sqlite3.Connection) -> Tally:
            scans.apply(db, job, walk.scan, recipe, listing, now)
            return jobs.tally(db, job)

        def applied(tally: Tally) -> w.Event:
            if walk.child is not None:
                walk.child.send(Credit(1))
            return w.Tallied(job, tally)

        s.then(s.ledger.write(change), applied)

    def _ended(self, job: int, walk: WalkProcess, ending: Ending) -> None:
        s = self._shared
        report, now = walk.report, s.clocks.wall_ms()
        traces = walk.child.traces if walk.child else {"job": s.rows[job].name}
        if report is None:
            s.log.warning("walk not finished", **traces, cause=ending.cause())
        else:
            errors = [f"{shown(error.path)[0]}: {error.message}" for error in report.errors]
            s.log.info(
                "walk ended", **traces, found=report.found, skipped=report.skipped,
                complete=report.complete, errors=errors[:5],
            )  # fmt: skip

        again = walk.stale

        def change(db: sqlite3.Connection) -> tuple[bool, Tally]:
            counts = report is not None and scans.end(db, job, walk.scan, report, walk.interrupted or again, now)
            return counts, jobs.tally(db, job)

        def stored(value: tuple[bool, Tally]) -> w.Event:
            counts, tally = value
            self.walks.pop(job, None)
            if report is None:
                trouble = ending.cause() if ending.hung else ""
            else:
                trouble = next((e.message for e in report.errors if e.is_root), "")
            whole = report is not None and not walk.interrupted and not trouble
            return w.WalkEnded(job, counts or (whole and again), trouble, tally, again)

        s.then(s.ledger.write(change), stored)
