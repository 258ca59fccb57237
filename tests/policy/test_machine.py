"""Any life of a daemon, told by Hypothesis: in whatever order things happen, it keeps its promises and ends."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from ingestd.policy import messages as w
from tests.policy.invariants import check_end, check_rest
from tests.policy.world import World

KINDS = st.sampled_from(["good", "good", "good", "good", "corrupt", "half", "unreadable", "poison"])
NAMES = st.integers(0, 60).map(lambda n: b"%03d.jpg" % n)


class Life(RuleBasedStateMachine):
    """Rules are what persons, files, time and accidents do; ``go_on`` lets the daemon and its children act."""

    @initialize(files=st.integers(0, 50), copies=st.integers(1, 12))
    def begin(self, files: int, copies: int) -> None:
        self.world = World()
        for number in range(files):
            self.world.put(b"%03d.jpg" % number, number // copies, "good")

    def _job(self, choice: int) -> int | None:
        known = sorted(self.world.view.jobs)
        return known[choice % len(known)] if known else None

    @precondition(lambda self: len(self.world.specs) < 3)
    @rule(
        workers=st.integers(1, 3),
        batch_size=st.sampled_from([1, 5, 40, 100]),
        sinks=st.integers(0, 2),
        passes=st.booleans(),
        limit=st.sampled_from([None, None, 3]),
    )
    def start(self, **settings: Any) -> None:
        self.world.new_job(**settings)

    @rule(choices=st.lists(st.integers(0, 1 << 16), min_size=1, max_size=40))
    def go_on(self, choices: list[int]) -> None:
        for choice in choices:
            todo = self.world.actions()
            if todo:
                todo[choice % len(todo)]()
            else:
                self.world.sleep()

    @rule(steps=st.integers(1, 300))
    def go_on_in_order(self, steps: int) -> None:
        for _ in range(steps):
            todo = self.world.actions()
            if not todo:
                break
            todo[0]()

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 6.0, 31.0, 61.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        """Time passes while things are slow: the loop wakes when it said it would."""
        end = self.world.now + seconds
        for _ in range(30):
            if self.world.now >= end:
                break
            self.world.sleep()

    @rule(choice=st.integers(0, 9), event=st.sampled_from(["pause", "pause", "resume", "resume", "resume", "stop"]))
    def ask(self, choice: int, event: Any) -> None:
        if (job := self._job(choice)) is not None:
            self.world.mailbox.append(w.MoveRequested(job, event, "me"))

    @rule(choice=st.integers(0, 9), workers=st.integers(1, 3))
    def start_again(self, choice: int, workers: int) -> None:
        job = self._job(choice)
        if job is not None and self.world.view.jobs[job].status != "stopped":
            self.world.again(job, workers=workers)

    @rule(choice=st.integers(0, 9))
    def retry(self, choice: int) -> None:
        job = self._job(choice)
        if job is not None and self.world.view.jobs[job].resolved and self.world.view.jobs[job].status != "stopped":
            self.world.retry(job)

    @rule(name=NAMES, content=st.integers(0, 30), kind=KINDS)
    def file_is_put(self, name: bytes, content: int, kind: Any) -> None:
        self.world.put(name, content, kind)

    @rule(name=NAMES)
    def file_is_removed(self, name: bytes) -> None:
        self.world.files.pop(name, None)

    @rule()
    def source_goes_away(self) -> None:
        self.world.away = True

    @rule()
    def source_comes_back(self) -> None:
        self.world.away = False

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 9))
    def worker_dies(self, choice: int) -> None:
        alive = sorted(self.world.workers)
        self.world.die(alive[choice % len(alive)])

    @precondition(lambda self: self.world.sinks)
    @rule(choice=st.integers(0, 9), clean=st.booleans())
    def sink_ends(self, choice: int, clean: bool) -> None:
        alive = sorted(self.world.sinks)
        self.world.end_sink(alive[choice % len(alive)], clean=clean)

    @rule(durable=st.integers(0, 3))
    def daemon_is_killed(self, durable: int) -> None:
        self.world.restart(durable)

    def teardown(self) -> None:
        """Nothing more goes wrong: each job ends by itself; asked once more, it ends with what the files are now."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.away = False
        while world.mailbox:  # what persons asked before is decided first
            world.deliver()
        for job, known in world.view.jobs.items():
            if known.status == "paused":
                world.mailbox.append(w.MoveRequested(job, "resume", "me"))
        world.drive()
        check_rest(world)
        for job in sorted(world.view.jobs):
            if world.view.jobs[job].status != "stopped":
                world.again(job)
        world.drive()
        check_end(world)


def test_any_life_comes_to_its_end() -> None:
    """No order of events strands a job, runs a content twice at a time, or gives an item to two workers."""
    many = int(os.environ.get("INGESTD_EXAMPLES", "60"))
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=many, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )  # fmt: skip
