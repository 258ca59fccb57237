"""What all parts of the supervisor have in common: the ledger, the clocks, the view, the jobs' rows, the mailbox.

A part (``workers``, ``walks``, …) is given this and the few other parts that it calls, never the loop. So each can be
tested alone, and what it depends on stands in its constructor.
"""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup
from structlog.typing import FilteringBoundLogger

from ingestd.catalogue_file import up_to_date
from ingestd.config import Settings
from ingestd.host.clocks import Clocks
from ingestd.kinds.catalogue import NOTHING, Catalogue
from ingestd.kinds.sinks import SinkKinds
from ingestd.ledger.ledger import Ledger
from ingestd.paths import Places
from ingestd.policy import messages as w
from ingestd.policy.disk_estimate import Estimate
from ingestd.policy.job_spec import Kinds
from ingestd.policy.pace import Pace
from ingestd.policy.state import Now, View
from ingestd.protocol.work import Machine
from ingestd.records import Committed, JobRow, Recipe, StepRow
from ingestd.supervisor.children import Child, Children
from ingestd.supervisor.notices import Notices

T = TypeVar("T")

Posted = w.Event | BaseException | Callable[[], None]
"""What the mailbox takes: an event to decide; a defect, which ends the daemon; a call to make when its turn comes."""


@dataclass
class Shared:
    """Plain data, and the ways to speak to the loop.

    ``view`` is what ``decide`` knows, and only ``decide`` changes it. ``rows``, ``steps`` and ``recipes`` are the jobs
    as the ledger has them, by id; ``paces``, ``estimates`` and ``recent`` (newest first, each with its wall time in
    milliseconds) are for ``status``. Whoever listens to ``notices`` is told what happens. ``tasks`` and ``children``
    are there from ``Supervisor.run`` on. ``catalogue`` has the kinds that other packages declare.
    """

    ledger: Ledger
    places: Places
    clocks: Clocks
    log: FilteringBoundLogger
    epoch: int
    settings: Settings
    catalogue: Catalogue = NOTHING
    view: View = field(default_factory=View)
    rows: dict[int, JobRow] = field(default_factory=dict)
    steps: dict[int, list[StepRow]] = field(default_factory=dict)
    recipes: dict[int, Recipe] = field(default_factory=dict)
    paces: dict[int, Pace] = field(default_factory=dict)
    estimates: dict[int, Estimate] = field(default_factory=dict)
    recent: dict[int, deque[tuple[Committed, int]]] = field(default_factory=dict)
    tasks: TaskGroup = field(init=False)
    children: Children = field(init=False)
    notices: Notices = field(init=False)

    def __post_init__(self) -> None:
        self.notices = Notices(self.log)
        self._send, self._mailbox = anyio.create_memory_object_stream[Posted](float("inf"))
        self._changed = anyio.Event()

    # --------------------------------------------------------------------------------------- for parts and for requests

    @property
    def step_kinds(self) -> Kinds:
        """Every kind of step that is known, by its name."""
        return self.catalogue.step_kinds

    @property
    def sink_kinds(self) -> SinkKinds:
        """Every kind of sink that is known, by its name."""
        return self.catalogue.sink_kinds

    async def look_for_kinds(self) -> None:
        """Know what other packages declare now; costs next to nothing while none was installed or removed."""
        looked = await anyio.to_thread.run_sync(up_to_date, self.places.state, self.settings["lockdown"])
        if looked.trouble:
            self.log.warning("kinds of other packages not looked at", cause=looked.trouble)
        if looked.catalogue.declared != self.catalogue.declared:
            for one in looked.catalogue.refused:
                self.log.warning("declaration refused", package=one.package, kind=one.name, cause=one.why)
            steps, sinks = ([kind.name for kind in kinds] for kinds in (looked.catalogue.steps, looked.catalogue.sinks))
            packages = looked.catalogue.packages
            self.log.info("kinds of other packages", packages=packages, steps=steps, sinks=sinks)
        self.catalogue = looked.catalogue

    def post(self, event: w.Event) -> None:
        """Put an event into the mailbox."""
        self._send.send_nowait(event)

    def then(self, future: Future[T], event: Callable[[T], w.Event | None]) -> None:
        """Post the event made of a future's result; a failed change of the ledger is a defect and ends the daemon."""

        def settled(done: Future[T]) -> None:
            if done.cancelled():
                return
            message: w.Event | BaseException | None = done.exception()
            if message is None:
                try:
                    message = event(done.result())
                except Exception as error:  # asyncio would only print it, and the job would stand still for ever
                    message = error
            if message is not None:
                self._send.send_nowait(message)

        future.add_done_callback(settled)

    async def settled(self) -> None:
        """Return when everything that was posted before has been decided."""
        event = anyio.Event()
        self._send.send_nowait(event.set)
        await event.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when ``condition`` holds; it is looked at after every event."""
        while not condition():
            await self._changed.wait()

    def machine(self, job: int | None = None) -> Machine:
        """What the models of a job may use; without one, those of queries."""
        spec = self.rows[job].spec if job in self.rows else None
        return Machine(
            str(self.places.state / "scratch" / "models"),
            device=spec.device if spec else self.settings["device"],
            concurrency=spec.concurrency if spec else int(self.settings["concurrency"]),
            key_file=self.settings["endpoint_key_file"],
            open_http=self.settings["endpoint_open_http"] == "yes",
        )

    def about(self, job: int) -> tuple[int, int, str, str]:
        """What every notice of a job begins with: the time, its id, name and uuid."""
        row = self.rows.get(job)
        return self.clocks.wall_ms(), job, row.name if row else "", row.uuid if row else ""

    def unexpected(self, child: Child, said: object) -> None:
        """A child has said what its part does not handle: it is killed with that as its cause, and the daemon goes on.

        Dropped instead, whoever waits for what it meant would wait for ever. It is a defect of the child's code or of
        ours, so the log has it as an error.
        """
        name = type(said).__name__
        self.log.error("unexpected message", **child.traces, child=child.name, message=name)
        child.kill(
            f"cannot understand the process {child.name}: it said {name}, which nobody expects of it."
            " It was killed; this is a defect of ingestd"
        )

    # ------------------------------------------------------------------------------------------------- for the loop

    def now(self) -> Now:
        """The time, as a decision needs it."""
        return Now(self.clocks.steady(), self.clocks.wall_ms(), self.clocks.utc_offset_s())

    async def receive(self, seconds: float) -> Posted:
        """The next of the mailbox, or a ``Tick`` when none has come within ``seconds``."""
        with anyio.move_on_after(seconds):
            return await self._mailbox.receive()
        return w.Tick()

    def handled(self) -> None:
        """One more has been decided and performed: whoever waits by ``until`` looks again."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
