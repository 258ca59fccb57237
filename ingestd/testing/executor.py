"""The contract suite of executors: what ``executors.base`` promises, tried with children that do everything wrong.

Subclass ``ExecutorContract`` with a name that pytest collects, and say how your executor is made::

    class TestMine(ExecutorContract):
        def executor(self, tasks: TaskGroup) -> Executor:
            return MyExecutor(tasks)

It must be able to run the module ``ingestd.testing.sample_children``.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import msgspec
import pytest
from anyio.abc import TaskGroup

from ingestd.errors import ProtocolError
from ingestd.executors.base import ChildSpec, Ending, Executor, Handle
from ingestd.protocol.wire import MAX_MESSAGE
from ingestd.protocol.work import PROTOCOL, Finish
from ingestd.testing.sample_children import MODULE, Behave, FromTestChild, Novelty, Say, Told, ToTestChild

WAIT_S: Final = 120.0
"""Seconds after which what has not come never will: a slow machine needs a second to start a child."""


class Watched:
    """A child, and all that its executor has told of it, in the order of ``events``."""

    handle: Handle

    def __init__(self) -> None:
        self.events: list[str] = []
        self.heard: list[Any] = []
        self.endings: list[Ending] = []
        self.lines: list[tuple[str, str]] = []
        self.threads: set[int] = set()
        self._changed = anyio.Event()

    def start(self, executor: Executor, spec: ChildSpec) -> None:
        """Start it; nothing may be told before that has returned."""
        self.handle = executor.start(
            spec, self._on_messages, self._on_end, on_run=self._on_run, on_line=lambda *line: self.lines.append(line)
        )
        assert self.events == []
        assert self.handle.ending is None

    def _on_run(self) -> None:
        assert self.handle.facts
        self._note("run")

    def _on_messages(self, messages: list[Any]) -> None:
        assert messages
        self.heard += messages
        self._note("messages")

    def _on_end(self, ending: Ending) -> None:
        assert self.handle.ending is ending
        self.endings.append(ending)
        self._note("end")

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when ``condition`` holds; it is looked at whenever something was told."""
        while not condition():
            self._changed = anyio.Event()
            await self._changed.wait()

    async def ended(self) -> Ending:
        """Wait for its end; it has one."""
        await self.until(lambda: bool(self.endings))
        await anyio.wait_all_tasks_blocked()
        assert len(self.endings) == 1
        assert self.events[-1] == "end"
        return self.endings[0]


class Stage:
    """An executor, and what was started with it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.children: list[Watched] = []

    def start(self, name: str, *messages: msgspec.Struct, module: str = MODULE) -> Watched:
        """A child of ``sample_children``, by the name of its class, and the first that it is sent."""
        child = Watched()
        child.start(self._executor, ChildSpec(module, f"{name} {len(self.children)}", ToTestChild, FromTestChild))
        self.children.append(child)
        for message in (Behave(name), *messages):
            child.handle.send(message)
        return child


Scene = Callable[[Stage], Awaitable[None]]


class ExecutorContract(ABC):
    """The suite."""

    @abstractmethod
    def executor(self, tasks: TaskGroup) -> Executor:
        """The executor under test; ``tasks`` may run what it needs for its children."""

    def play(self, scene: Scene) -> None:
        """Run a test, and end all that it has started."""

        async def main() -> None:
            failed: BaseException | None = None
            async with anyio.create_task_group() as tasks:
                stage = Stage(self.executor(tasks))
                try:
                    with anyio.fail_after(WAIT_S):
                        await scene(stage)
                except Exception as error:  # a task group would wrap it
                    failed = error
                for child in stage.children:
                    child.handle.kill()
                tasks.cancel_scope.cancel()
            if failed is not None:
                raise failed

        anyio.run(main)

    # --------------------------------------------------------------------------------------------------- messages

    def test_messages_keep_their_order_both_ways(self) -> None:
        """Each comes back once, in the order sent; those sent before the child runs are not lost."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatEchoes", *(Say(number, b"x" * (number % 50)) for number in range(1000)))
            await child.until(lambda: len(child.heard) == 1000)
            assert child.heard == [Told(number, b"x" * (number % 50)) for number in range(1000)]
            child.handle.send(Finish())
            assert (await child.ended()).clean

        self.play(scene)

    def test_a_message_alone_is_not_kept_waiting(self) -> None:
        """Every question is answered before the next is asked."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatEchoes")
            for number in range(20):
                child.handle.send(Say(number))
                await child.until(lambda number=number: len(child.heard) == number + 1)  # type: ignore[misc]

        self.play(scene)

    def test_the_end_comes_once_and_after_the_last_message(self) -> None:
        """A child that is gone the moment that it has sent its last message: all are heard, then the one ending."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatSpeaksAndEnds", Say(5000))
            ending = await child.ended()
            assert child.heard == [Told(number) for number in range(5000)]
            assert child.events[0] == "run"
            assert child.events.count("run") == 1
            assert (ending.code, ending.fatal, ending.hung, ending.reason) == (0, None, False, "")

        self.play(scene)

    def test_everything_is_told_in_the_event_loops_thread(self) -> None:
        """Callers need no locks."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatSpeaksAndEnds", Say(10))
            await child.ended()
            assert child.threads == {threading.get_ident()}

        self.play(scene)

    def test_large_messages(self) -> None:
        """The largest there is goes and comes back whole; a larger one is an error for who sends it."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatEchoes")
            room = MAX_MESSAGE - len(msgspec.msgpack.encode(Told(1, bytes(1 << 20)))) + (1 << 20)
            data = bytes(range(256)) * (room // 256)
            child.handle.send(Say(1, data))
            child.handle.send(Say(2, data))
            with pytest.raises(ProtocolError, match="over the limit"):
                child.handle.send(Say(3, bytes(MAX_MESSAGE)))
            await child.until(lambda: len(child.heard) == 2)
            assert child.heard == [Told(1, data), Told(2, data)]

        self.play(scene)

    def test_many_messages_at_once(self) -> None:
        """``send`` does not wait for the child; nothing is lost, however little fits its socket."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatCounts", *(Say(number, bytes(200)) for number in range(20_000)), Finish())
            assert (await child.ended()).clean
            assert child.heard == [Told(20_000)]

        self.play(scene)

    def test_children_do_not_hear_each_other(self) -> None:
        """Several at once: each has its own messages and its own end."""

        async def scene(stage: Stage) -> None:
            children = [stage.start("ChildThatEchoes", Say(number)) for number in range(4)]
            for number, child in enumerate(children):
                await child.until(lambda child=child: bool(child.heard))  # type: ignore[misc]
                assert child.heard == [Told(number)]
            children[0].handle.kill()
            await children[0].ended()
            children[1].handle.send(Say(9))
            await children[1].until(lambda: len(children[1].heard) == 2)
            assert [len(child.endings) for child in children] == [1, 0, 0, 0]

        self.play(scene)

    def test_what_a_child_is_not_sent_is_an_error_that_names_it(self) -> None:
        """A message outside ``ChildSpec.outgoing`` is a defect of who sends it."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatEchoes")
            with pytest.raises(TypeError, match="Novelty"):
                child.handle.send(Novelty())

        self.play(scene)

    # ----------------------------------------------------------------------------------------------------- endings

    def test_kill_ends_a_child_that_hangs(self) -> None:
        """At once and without its help; the first reason is the cause, later ones and later messages are dropped."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatHangs")
            await child.until(lambda: bool(child.heard))
            child.handle.kill("it takes too long")
            child.handle.kill("somebody else says so too")
            child.handle.send(Say(1))
            ending = await child.ended()
            assert (ending.clean, ending.reason) == (False, "it takes too long")
            assert "it takes too long" in ending.cause()
            child.handle.kill("it is long gone")
            child.handle.send(Say(2))
            await anyio.wait_all_tasks_blocked()
            assert child.handle.ending is ending
            assert ending.reason == "it takes too long"

        self.play(scene)

    def test_kill_before_it_runs(self) -> None:
        """It ends all the same, once, whether it ever ran or not."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatEchoes", Say(1))
            child.handle.kill()
            ending = await child.ended()
            assert not ending.clean
            assert ending.cause()

        self.play(scene)

    def test_what_is_sent_to_a_dead_child_is_dropped(self) -> None:
        """Without an error: whoever sends cannot know yet."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatDies", *(Say(number, bytes(1000)) for number in range(1000)))
            ending = await child.ended()
            assert child.heard == [Told(0)]
            assert (ending.code, ending.fatal, ending.reason) == (3, None, "")
            assert "3" in ending.cause()
            for number in range(1000):
                child.handle.send(Say(number))

        self.play(scene)

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("ChildThatSendsGarbage", "it sent what is no message"),
            ("ChildThatSendsGarbageAndEnds", "it sent what is no message"),
            ("ChildThatSendsNoList", "it sent what is no message"),
            ("ChildThatSendsTheUnknown", "'Novelty'"),
            ("ChildThatSpeaksAnotherProtocol", f"it speaks protocol {PROTOCOL + 1}, the daemon {PROTOCOL}"),
        ],
    )
    def test_nonsense_ends_it_with_a_cause(self, name: str, says: str) -> None:
        """What came before is heard; the child is ended, or has ended and was not well; a person reads why."""

        async def scene(stage: Stage) -> None:
            child = stage.start(name)
            ending = await child.ended()
            assert child.heard == [Told(0)]
            assert not ending.clean
            assert says in ending.cause()

        self.play(scene)

    def test_what_a_child_says_of_its_end_arrives(self) -> None:
        """A ``Fatal`` is no message to its caller: it is in the ending, with every part of it."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatGivesUp")
            ending = await child.ended()
            assert child.heard == [Told(0)]
            fatal = ending.fatal
            assert fatal is not None
            assert (fatal.kind, fatal.operation, fatal.object) == ("unavailable", "reach", "the moon")
            assert (fatal.message, fatal.remedy) == ("no route to it", "Wait for the night")
            assert ending.cause() == "cannot reach the moon: no route to it. Wait for the night"
            assert not ending.clean

        self.play(scene)

    def test_a_defect_of_a_child_is_named(self) -> None:
        """Its kind is ``crash``, and the traceback is among its last lines."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatCrashes")
            ending = await child.ended()
            assert ending.fatal is not None
            assert (ending.fatal.kind, ending.fatal.message) == ("crash", "ZeroDivisionError: a defect")
            assert ending.last_lines[-1] == "ZeroDivisionError: a defect"

        self.play(scene)

    def test_what_it_printed_last_arrives(self) -> None:
        """Lines are told as they come; the last of stderr are in the ending, and its cause where it said nothing."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatMutters", Say(50))
            ending = await child.ended()
            printed = [line for stream, line in child.lines if stream == "stderr"]
            assert printed == [*(f"line {number}" for number in range(50)), "the last words"]
            assert ("stdout", "on stdout") in child.lines
            assert ending.last_lines == printed[-len(ending.last_lines) :]
            assert len(ending.last_lines) > 10
            assert (ending.code, ending.cause()) == (4, "it exited with code 4: the last words")

        self.play(scene)

    def test_a_child_that_cannot_be_started_ends(self) -> None:
        """There is no such module: that is its cause, and no exception of ``start``."""

        async def scene(stage: Stage) -> None:
            child = stage.start("ChildThatEchoes", module="ingestd.testing.no_such_module")
            ending = await child.ended()
            assert not ending.clean
            assert "no_such_module" in ending.cause()

        self.play(scene)
