"""What nobody handles: a message of a child ends that child with a cause that names it; a command ends the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from ingestd.errors import Unavailable
from ingestd.policy import messages as w
from ingestd.policy.state import WorkerView
from ingestd.protocol import sink, walk, work
from ingestd.supervisor.loop import Supervisor
from ingestd.supervisor.probes import Probes
from ingestd.supervisor.read_scope import ReadScope
from ingestd.supervisor.search import Queries
from ingestd.supervisor.sinks import Sinks
from ingestd.supervisor.sources import Sources
from ingestd.supervisor.walks import Walks
from ingestd.supervisor.workers import Workers
from tests.supervisor.stage import STEPS, Actor, Stage, stage


def run(folder: Path, story: Callable[[Stage], Awaitable[None]]) -> None:
    async def life() -> None:
        async with stage(folder) as s:
            await story(s)

    anyio.run(life)


def killed_for(s: Stage, actor: Actor, message: str) -> str:
    """That the child was killed for saying ``message``, in the log as well; returns its cause, once it is gone."""
    assert actor.child.kill_asked.is_set()
    (line,) = s.logged("unexpected message")
    assert (line["log_level"], line["message"], line["child"]) == ("error", message, actor.child.name)
    actor.ends()
    assert actor.handle.ending is not None
    cause = actor.handle.ending.cause()
    assert f"it said {message}" in cause
    return cause


def begin_worker(s: Stage) -> Workers:
    sources = Sources(s.shared)
    workers = Workers(s.shared, sources, ReadScope(s.shared, sources))
    s.shared.view.workers[1] = WorkerView(1, s.job, 0, alone=False)
    workers.spawn(1, s.job, alone=False)
    return workers


@pytest.mark.parametrize(
    "said", [work.Probed([], {}), work.Fetching("clip", 1, 2), work.Encoded(1, None), sink.Grown(3)],
    ids=lambda said: type(said).__name__,
)  # fmt: skip
def test_a_worker(said: Any, tmp_path: Path) -> None:
    """Its items are taken back as after any death: the event carries the cause."""

    async def story(s: Stage) -> None:
        begin_worker(s)
        actor = await s.actor()
        actor.says(said)
        cause = killed_for(s, actor, type(said).__name__)
        assert await s.event(w.WorkerGone) == w.WorkerGone(1, False, "", cause)
        assert [line["cause"] for line in s.logged("worker died")] == [cause]

    run(tmp_path, story)


def test_a_walker(tmp_path: Path) -> None:
    """The walk does not count, and is made again."""

    async def story(s: Stage) -> None:
        Walks(s.shared).start(s.job)
        actor = await s.actor()
        actor.says(walk.RootsResolved([]))
        cause = killed_for(s, actor, "RootsResolved")
        ended = await s.event(w.WalkEnded)
        assert (ended.job, ended.counts) == (s.job, False)
        assert [line["cause"] for line in s.logged("walk not finished")] == [cause]

    run(tmp_path, story)


def test_a_sink(tmp_path: Path) -> None:
    """``status`` shows the cause as the sink's message, and it is begun again after a while."""

    async def story(s: Stage) -> None:
        Sinks(s.shared).start(s.job, "jsonl")
        actor = await s.actor()
        actor.says(work.Usage(1, 1.0))
        cause = killed_for(s, actor, "Usage")
        assert await s.event(w.SinkGone) == w.SinkGone(s.job, "jsonl", False, "", cause)

    run(tmp_path, story)


def test_an_answer_that_nobody_waits_for_any_more_is_no_surprise(tmp_path: Path) -> None:
    """A search gives up after some seconds; the store may answer later."""

    async def story(s: Stage) -> None:
        Sinks(s.shared).start(s.job, "jsonl")
        actor = await s.actor()
        actor.says(sink.Hits(77, []))
        assert await s.event(w.Tick)
        assert not actor.child.kill_asked.is_set()

    run(tmp_path, story)


def test_a_probe(tmp_path: Path) -> None:
    """The job waits and says why; it is not taken for a probe that we have ended ourselves."""

    async def story(s: Stage) -> None:
        Probes(s.shared).start(s.job)
        actor = await s.actor()
        actor.says(work.Ready(1.0, 4))
        cause = killed_for(s, actor, "Ready")
        assert await s.event(w.ProbeFailed) == w.ProbeFailed(s.job, "crash", cause)

    run(tmp_path, story)


def test_a_probe_that_ends_without_an_answer(tmp_path: Path) -> None:
    """Its exit code says that all is well, and nothing is known: the job would wait for ever."""

    async def story(s: Stage) -> None:
        Probes(s.shared).start(s.job)
        (await s.actor()).ends(0)
        assert await s.event(w.ProbeFailed) == w.ProbeFailed(s.job, "crash", "it ended without an answer")

    run(tmp_path, story)


def test_a_probe_that_we_end_ourselves(tmp_path: Path) -> None:
    """For a pause, or at a shutdown: no fault of anybody's."""

    async def story(s: Stage) -> None:
        probes = Probes(s.shared)
        probes.start(s.job)
        actor = await s.actor()
        probes.end_all()
        actor.ends()
        assert (await s.event(w.ProbeFailed)).kind == "ended"

    run(tmp_path, story)


def test_a_walker_that_is_asked_for_sources(tmp_path: Path) -> None:
    """Whoever asked is told the cause, and need not wait for the time limit."""

    async def story(s: Stage) -> None:
        async def play() -> None:
            await s.until_started()
            (actor,) = s.actors.started
            actor.says(walk.Listing(1, b"", [], [], 0))
            killed_for(s, actor, "Listing")

        s.shared.tasks.start_soon(play)
        with pytest.raises(Unavailable, match="it said Listing, which nobody expects of it"):
            await Sources(s.shared).resolve([b"/photos"])

    run(tmp_path, story)


def test_an_encoder(tmp_path: Path) -> None:
    """The search that waits for it is told the cause."""

    async def story(s: Stage) -> None:
        async def play() -> None:
            await s.until_started()
            (actor,) = s.actors.started
            actor.says(work.Began(1))
            killed_for(s, actor, "Began")
            await s.event(w.Tick)

        s.shared.tasks.start_soon(play)
        with pytest.raises(Unavailable, match="it said Began, which nobody expects of it"):
            await Queries(s.shared, Sinks(s.shared)).encode(STEPS[1], "a cat")

    run(tmp_path, story)


def test_a_command_that_nobody_performs_is_an_error_that_names_it(tmp_path: Path) -> None:
    """It is a defect of the supervisor's own table, so the daemon ends with it."""

    async def story(s: Stage) -> None:
        class Surprise:
            def __repr__(self) -> str:
                return "Surprise(job=1)"

        with pytest.raises(TypeError, match=r"nobody handles Surprise\(job=1\)"):
            Supervisor(s.shared)._perform(Surprise())  # type: ignore[arg-type]

    run(tmp_path, story)
