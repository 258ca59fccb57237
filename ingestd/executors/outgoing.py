"""What goes to a child: messages checked and encoded when they are sent, and framed together when they can leave."""

from __future__ import annotations

from typing import Any, get_args

import anyio
import msgspec

from ingestd.executors.base import ChildSpec
from ingestd.protocol.wire import checked, frames


class Outgoing:
    """The queue of one child. ``put`` never blocks; ``take`` waits for what can be sent."""

    def __init__(self, spec: ChildSpec) -> None:
        self._name = spec.name
        self._types = types_of(spec.outgoing)
        self._encoder = msgspec.msgpack.Encoder()
        self._queued: list[bytes] = []
        self._filled = anyio.Event()
        self._closed = False

    def put(self, message: msgspec.Struct) -> None:
        """Queue a message; dropped once the outbox is closed. Raises ``TypeError`` for one that the child is not
        sent, ``ProtocolError`` for one over the size of a frame."""
        if type(message) not in self._types:
            raise TypeError(f"{self._name} is not sent messages of type {type(message).__name__}")
        body = checked(self._encoder.encode(message))
        if not self._closed:
            self._queued.append(body)
            self._filled.set()

    async def take(self) -> list[bytes]:
        """Everything that is queued, in as few frames as can be, once there is something; none after ``close``."""
        await self._filled.wait()
        if self._closed:
            return []
        self._filled = anyio.Event()
        taken, self._queued = self._queued, []
        return list(frames(taken))

    def close(self) -> None:
        """Nothing is sent any more."""
        self._closed = True
        self._queued.clear()
        self._filled.set()


def types_of(union: Any) -> frozenset[type[Any]]:
    """The message types of a union, or of one type alone."""
    return frozenset(get_args(union)) or frozenset((union,))
