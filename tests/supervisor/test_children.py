"""What the daemon adds to an executor: who is alive, the lock that is told apart, and who hangs over what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec

from ingestd.child_channel import Channel
from ingestd.executors.base import ChildSpec, Ending, OnEnd, OnLine, OnMessages, OnRun
from ingestd.protocol.work import Began, Finish, Locked, Ready
from ingestd.supervisor.children import MOST_ABANDONED, Child, Children
from ingestd.testing.fake_executor import FakeExecutor


class Log:
    """What a ``Children`` tells of its children."""

    def __init__(self) -> None:
        self.started: list[Child] = []
        self.abandoned: list[Child] = []
        self.lines: list[tuple[str, str, str]] = []
        self.messages: list[Any] = []
        self.endings: list[Ending] = []

    def line(self, child: Child, stream: str, line: str) -> None:
        self.lines.append((child.name, stream, line))


class HandleThatHangs:
    """A child that the kernel holds: killed, it is given up at once and stays."""

    facts: dict[str, object]

    def __init__(self, number: int, on_end: OnEnd) -> None:
        self.facts = {"pid": number}
        self.ending: Ending | None = None
        self.lingers = False
        self._on_end = on_end

    def send(self, message: msgspec.Struct) -> None:
        """Nobody reads it."""

    def kill(self, reason: str = "") -> None:
        self.lingers = True
        self.ending = Ending(-9, hung=True)
        self._on_end(self.ending)


class ExecutorThatCannotKill:
    """All of its children hang."""

    def __init__(self) -> None:
        self.handles: list[HandleThatHangs] = []

    def start(
        self,
        spec: ChildSpec,
        on_messages: OnMessages,
        on_end: OnEnd,
        *,
        on_run: OnRun | None = None,
        on_line: OnLine | None = None,
    ) -> HandleThatHangs:
        self.handles.append(HandleThatHangs(len(self.handles) + 1, on_end))
        return self.handles[-1]


def play(scene: Callable[[anyio.abc.TaskGroup], Awaitable[None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                await scene(tasks)

    anyio.run(main)


def test_messages_come_one_by_one_and_the_lock_is_kept() -> None:
    """Each of a group in order; what a child gave up is a fact about it, and no message for its caller."""

    def worker(channel: Channel[Any]) -> None:
        channel.send(Locked(["no network"], []))
        channel.send(Ready(1.0, 4))
        print("it is told")
        while not isinstance(channel.receive(), Finish):
            pass
        channel.send(Began(7))

    log = Log()

    async def scene(tasks: anyio.abc.TaskGroup) -> None:
        executor = FakeExecutor(tasks, {"ingestd.worker": worker})
        children = Children(tasks, log.started.append, log.line, log.abandoned.append, executor=executor)
        ended = anyio.Event()

        def end(ending: Ending) -> None:
            log.endings.append(ending)
            ended.set()

        child = children.start("worker", "worker 1", log.messages.append, end, job="holiday", batch=1)
        assert children.alive == [child]
        child.send(Finish())
        await ended.wait()
        assert children.alive == []
        assert child.locked == Locked(["no network"], [])
        assert child.traces == {"job": "holiday", "batch": 1, "pid": None}

    play(scene)
    assert log.messages == [Ready(1.0, 4), Began(7)]
    assert [child.name for child in log.started] == ["worker 1"]
    assert log.lines == [("worker 1", "stdout", "it is told")]
    assert log.endings[0].clean
    assert log.abandoned == []


def test_no_more_than_two_hang_over_one_thing() -> None:
    """Then the next is refused, with the processes' numbers; what goes elsewhere is started, and so is the next one
    when a hanging one has gone after all."""
    log, executor = Log(), ExecutorThatCannotKill()

    async def scene(tasks: anyio.abc.TaskGroup) -> None:
        children = Children(tasks, log.started.append, log.line, log.abandoned.append, executor=executor)

        def start(touches: str) -> Child:
            return children.start("walker", "roots", log.messages.append, log.endings.append, touches=[touches])

        for _ in range(MOST_ABANDONED):
            start("/nas").kill()
        assert [ending.hung for ending in log.endings] == [True, True]
        assert [child.pid for child in log.abandoned] == [1, 2]
        assert children.alive == []

        refused = start("/nas")
        assert len(log.endings) == MOST_ABANDONED, "the caller has its child before it is told of its end"
        refused.send(Finish())
        await anyio.wait_all_tasks_blocked()
        last = log.endings[-1]
        assert (last.clean, last.hung, last.fatal.kind if last.fatal else "") == (False, True, "unavailable")
        assert "cannot start another process (roots): processes 1, 2 hang in the kernel" in last.cause()

        elsewhere = start("/disk")
        assert children.alive == [elsewhere]
        executor.handles[0].lingers = False
        again = start("/nas")
        assert children.alive == [elsewhere, again]
        children.kill_all()
        assert children.alive == []

    play(scene)
    assert len(executor.handles) == MOST_ABANDONED + 2
