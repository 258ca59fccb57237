"""Who listens is told what happens, and cannot harm anybody by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from ingestd.policy import messages as w, notices as n
from ingestd.protocol import walk, work
from ingestd.protocol.work import Failure, Outcome, Stat, Usage
from ingestd.supervisor.loop import Supervisor
from tests.supervisor.stage import Stage, stage

HELLO = n.JobChanged(1, 1, "photos", "uuid-1")
STAT = Stat(1, 1, 1, 1)


def run(folder: Path, story: Callable[[Stage], Awaitable[None]]) -> None:
    async def life() -> None:
        async with stage(folder) as s:
            await story(s)

    anyio.run(life)


def test_each_listener_hears_everything_until_it_goes(tmp_path: Path) -> None:
    """Also one that goes while it is being told; where nobody is left, nobody needs to make a notice."""

    async def story(s: Stage) -> None:
        notices, first, second = s.shared.notices, list[n.Notice](), list[n.Notice]()
        assert not notices.heard
        end_first = notices.listen(first.append)
        end_second = notices.listen(lambda notice: (second.append(notice), end_second()))
        notices.post(HELLO)
        notices.post(HELLO)
        assert (len(first), len(second), notices.heard) == (2, 1, True)
        end_first()
        end_first()
        assert not notices.heard
        notices.post(HELLO)
        assert len(first) == 2

    run(tmp_path, story)


def test_a_listener_that_raises_is_logged_and_the_others_are_told(tmp_path: Path) -> None:
    """Once for each kind of notice: a job's changes come by the thousand."""

    async def story(s: Stage) -> None:
        heard: list[n.Notice] = []
        s.shared.notices.listen(lambda notice: 1 / 0)
        s.shared.notices.listen(heard.append)
        removed = n.JobRemoved(1, 1, "photos", "uuid-1")
        for notice in (HELLO, HELLO, removed):
            s.shared.notices.post(notice)
        assert heard == [HELLO, HELLO, removed]
        lines = s.logged("listener failed")
        assert [(line["notice"], line["job"]) for line in lines] == [("JobChanged", "photos"), ("JobRemoved", "photos")]
        assert all(line["exc_info"] for line in lines)

    run(tmp_path, story)


def test_the_loop_tells_what_it_has_decided(tmp_path: Path) -> None:
    """After the commands were performed, and by the wall's time of the decision; nothing while nobody listens."""

    async def story(s: Stage) -> None:
        loop = Supervisor(s.shared)
        loop._handle(w.SinkTrouble(s.job, "jsonl", "nobody hears this"))
        heard: list[n.Notice] = []
        s.shared.notices.listen(heard.append)
        loop._handle(w.MoveRequested(s.job, "stop", "me"))
        about = s.shared.about(s.job)
        assert heard == [n.JobMoved(*about, "stopped", "", "me"), n.JobChanged(*about)]
        assert about[2:] == ("photos", "uuid-1")

    run(tmp_path, story)


def test_a_batch_with_a_failed_item_and_a_death_is_told(tmp_path: Path) -> None:
    """The parts that do the work tell what only they know: which file failed, what a batch took, what a worker died
    of. What a model says is left out: it may quote a description."""

    async def story(s: Stage) -> None:
        loop, heard = Supervisor(s.shared), list[n.Notice]()
        entries = [walk.Entry(b"%d.jpg" % number, STAT) for number in range(3)]
        loop.walks.start(s.job)
        walker = await s.actor()
        walker.says(walk.Listing(1, b"", entries, [], 0))
        walker.says(walk.ScanEnd(True, False, 3, {}, []))
        walker.ends()
        for kind in (w.Tallied, w.WalkEnded):
            await play(s, loop, kind)
        worker = await s.actor()
        worker.says(work.Ready(1.0, 4))
        await play(s, loop, w.WorkerReady)
        await play(s, loop, w.Stored)
        first, second, third = (told.item for told in worker.heard() if isinstance(told, work.Work))

        s.shared.notices.listen(heard.append)
        for item, stage_ in ((first, "decode"), (second, "model")):
            worker.says(work.Began(item))
            await play(s, loop, w.ItemBegan)
            failure = Failure(3, "corrupt" if stage_ == "decode" else "model", "it says this", stage_)
            worker.says(Outcome(item, STAT, b"%d" % item * 32, None, None, None, [], [failure], {}))
            await play(s, loop, w.ItemOutcome)
        worker.says(work.Began(third))
        await play(s, loop, w.ItemBegan)
        worker.says(Usage(5_000, 1.5))
        worker.ends(1)
        await play(s, loop, w.WorkerGone)
        await play(s, loop, w.Tallied)

        about, told = s.shared.about(s.job), [one for one in heard if not isinstance(one, n.JobChanged)]
        assert told == [
            n.WorkerDied(*about, 1, "crash", "it exited with code 1", (third,)),
            n.ItemFailed(*about, first, b"/photos/0.jpg", "corrupt", "decode", "it says this"),
            n.ItemFailed(*about, second, b"/photos/1.jpg", "model", "model", ""),
            n.BatchEnded(*about, 1, True, 3, 5_000, 1.5),
        ]

    run(tmp_path, story)


async def play(s: Stage, loop: Supervisor, kind: type[w.Event]) -> None:
    """Let the loop decide the next event of this kind, and perform what follows."""
    loop._handle(await s.event(kind))
    await s.stored()
