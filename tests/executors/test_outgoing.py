"""What is queued for a child leaves together, and nothing waits for company."""

from __future__ import annotations

import anyio
import pytest

from ingestd.errors import ProtocolError
from ingestd.executors.base import ChildSpec
from ingestd.executors.outgoing import Outgoing
from ingestd.protocol.wire import MAX_MESSAGE, FrameReader, decoder
from ingestd.protocol.work import Drain, Encode, Finish, FromWorker, Ready, ToWorker

SPEC = ChildSpec("ingestd.worker", "worker 1", ToWorker, FromWorker)


def read(frames: list[bytes]) -> list[list[object]]:
    return [decoder(ToWorker).decode(body) for body in FrameReader().feed(b"".join(frames))]


def test_what_was_queued_before_the_socket_could_take_it_goes_in_one_frame() -> None:
    """In the order of ``put``; one message alone goes at once."""

    async def main() -> None:
        outbox = Outgoing(SPEC)
        outbox.put(Encode(1, "one"))
        assert read(await outbox.take()) == [[Encode(1, "one")]]
        for number in range(100):
            outbox.put(Encode(number, ""))
        outbox.put(Finish())
        assert read(await outbox.take()) == [[*(Encode(number, "") for number in range(100)), Finish()]]

    anyio.run(main)


def test_what_does_not_fit_one_frame_goes_in_several() -> None:
    """Large messages, all of them, in order."""

    async def main() -> None:
        outbox = Outgoing(SPEC)
        texts = [letter * (MAX_MESSAGE // 2) for letter in "abc"]
        for text in texts:
            outbox.put(Encode(0, text))
        assert read(await outbox.take()) == [[Encode(0, text)] for text in texts]

    anyio.run(main)


def test_what_the_child_is_not_sent_is_an_error_that_names_it() -> None:
    """So is a message over the size of a frame; both where they are sent, not later in a task."""

    async def main() -> None:
        outbox = Outgoing(SPEC)
        with pytest.raises(TypeError, match="worker 1 is not sent messages of type Ready"):
            outbox.put(Ready(1.0, 1))
        with pytest.raises(ProtocolError, match="over the limit"):
            outbox.put(Encode(1, "x" * MAX_MESSAGE))

    anyio.run(main)


def test_a_closed_outbox_drops_and_wakes_whoever_waits() -> None:
    """The child is gone: nothing is sent, nothing hangs, now or later."""

    async def main() -> None:
        outbox = Outgoing(SPEC)
        taken: list[list[bytes]] = []

        async def take() -> None:
            taken.append(await outbox.take())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await anyio.wait_all_tasks_blocked()
            outbox.close()
        outbox.put(Drain())
        assert [*taken, await outbox.take()] == [[], []]

    anyio.run(main)
