"""A child that is asked one question: what it answers, and every way in which it does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import psutil
import pytest

from ingestd.doctor.doctor_child import ask, child
from ingestd.errors import IngestError, Unavailable
from ingestd.executors.base import ChildSpec
from ingestd.protocol.work import Locked
from ingestd.testing.sample_children import MODULE, Behave, FromTestChild, Say, Told, ToTestChild

SPEC = ChildSpec(MODULE, "doctor: test", ToTestChild, FromTestChild)


def asked(name: str, answer: type[Any] = Told) -> tuple[list[Any], IngestError | None]:
    """What a child of ``sample_children`` answered, and the error."""
    heard: list[Any] = []

    async def main() -> IngestError | None:
        try:
            with anyio.fail_after(60):
                await ask(SPEC, Behave(name), answer, heard.append)
        except IngestError as error:
            return error
        return None

    return heard, anyio.run(main)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ChildThatDies", "it exited with code 3"),
        ("ChildThatSendsGarbage", "it sent what is no message"),
        ("ChildThatSendsTheUnknown", "'Novelty'"),
        ("ChildThatSpeaksAnotherProtocol", "it speaks protocol"),
        ("ChildThatCrashes", "ZeroDivisionError: a defect"),
    ],
)
def test_a_child_that_ends_badly_is_an_error_with_its_cause(name: str, says: str) -> None:
    """What it answered before is heard."""
    heard, error = asked(name)
    assert heard == [Told(0)]
    assert error is not None
    assert says in error.message


def test_what_is_away_is_told_apart() -> None:
    """A child's own account of its end is the error, part by part."""
    heard, error = asked("ChildThatGivesUp")
    assert heard == [Told(0)]
    assert isinstance(error, Unavailable)
    assert error.sentence() == "cannot reach the moon: no route to it. Wait for the night"


def test_an_answer_that_was_not_asked_for_is_an_error_that_names_it() -> None:
    """Nothing is skipped in silence."""
    heard, error = asked("ChildThatGivesUp", Locked)
    assert heard == []
    assert error is not None
    assert error.message == "it answered with Told, which was not asked for"
    assert MODULE in error.object


def test_a_child_ends_with_its_block() -> None:
    """One that hangs is killed when its deadline has passed; an error within the block comes out as it is."""
    processes: list[psutil.Process] = []

    async def talk(heard: Callable[[], Awaitable[None]]) -> None:
        async with child(SPEC) as (handle, answers):
            handle.send(Behave("ChildThatHangs"))
            async for message in answers.answers():
                assert message == Told(0)
                processes.append(psutil.Process(handle.facts["pid"]))
                await heard()

    async def past_its_deadline() -> None:
        with anyio.CancelScope() as scope:

            async def heard() -> None:
                scope.cancel()
                await anyio.sleep_forever()

            await talk(heard)
        assert scope.cancelled_caught

    async def fails() -> None:
        async def heard() -> None:
            raise ZeroDivisionError

        await talk(heard)

    anyio.run(past_its_deadline)
    with pytest.raises(ZeroDivisionError):
        anyio.run(fails)
    assert len(processes) == 2
    for process in processes:
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_child_may_be_asked_more_than_once() -> None:
    """Within its block it is sent what there is to ask, one by one."""

    async def main() -> None:
        with anyio.fail_after(60):
            async with child(SPEC) as (handle, answers):
                handle.send(Behave("ChildThatEchoes"))
                handle.send(Say(1))
                number = 1
                async for message in answers.answers():
                    assert message == Told(number)
                    number += 1
                    if number > 3:
                        break
                    handle.send(Say(number))

    anyio.run(main)
