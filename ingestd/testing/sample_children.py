"""Children for tests, named after what they do wrong. The first message says which one it is to be.

As a process: ``python -m ingestd.testing.sample_children --fd N --parent PID``; in a thread: ``main``.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Final, NoReturn, Protocol

import msgspec

from ingestd.child import run_child
from ingestd.child_channel import Channel
from ingestd.errors import ProtocolError, Unavailable
from ingestd.protocol.wire import frame
from ingestd.protocol.work import PROTOCOL, Fatal, Finish, Hello, Locked, Message

MODULE: Final = "ingestd.testing.sample_children"


class Behave(Message):
    """→ child: be the one of this name. The first message."""

    name: str


class Say(Message):
    """→ child: what this asks for is each child's own."""

    number: int
    data: bytes = b""


class Told(Message):
    """child →."""

    number: int
    data: bytes = b""


class Novelty(Message):
    """child →: a message that nobody has heard of."""


ToTestChild = Behave | Say | Finish
FromTestChild = Hello | Locked | Told | Fatal


class Behaviour(Protocol):
    """One behaviour."""

    def run(self, channel: Channel[Any]) -> None:
        """All that the child does once it knows which one it is."""


class ChildThatEchoes:
    """It sends back every ``Say`` as ``Told``, until ``Finish``."""

    def run(self, channel: Channel[Any]) -> None:
        while isinstance(message := channel.receive(), Say):
            channel.send(Told(message.number, message.data))


class ChildThatSpeaksAndEnds:
    """It answers a ``Say`` with as many messages as that says, and is gone the moment that the last one is sent."""

    def run(self, channel: Channel[Any]) -> None:
        message = channel.receive()
        assert isinstance(message, Say)
        for number in range(message.number):
            channel.send(Told(number))


class ChildThatHangs:
    """It says that it is there, takes nothing from its socket that matters to it, and never ends."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        _hang()


class ChildThatDies:
    """It is gone with code 3, without a word: as if it had been killed, or a library had crashed."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        channel.leave(3)


class ChildThatSendsGarbage:
    """It sends bytes that are no frame, and goes on."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        channel.stream.sendall(b"\xff" * 100)
        _hang()


class ChildThatSendsGarbageAndEnds:
    """It sends bytes that are no frame, and ends as if all was well."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        channel.stream.sendall(b"\xff" * 100)


class ChildThatSendsNoList:
    """It sends a whole frame whose body is no list of messages, and goes on."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        channel.stream.sendall(frame(msgspec.msgpack.encode(Told(1))))
        _hang()


class ChildThatSendsTheUnknown:
    """It sends a message that nobody has heard of, and goes on."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        channel.send(Novelty())
        _hang()


class ChildThatSpeaksAnotherProtocol:
    """It is of another release, and goes on."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        channel.send(Hello("test child", 0, 0.0, PROTOCOL + 1))
        _hang()


class ChildThatGivesUp:
    """What it needs is away, and it says so."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        raise Unavailable("no route to it", operation="reach", object="the moon", remedy="Wait for the night")


class ChildThatCrashes:
    """It has a defect."""

    def run(self, channel: Channel[Any]) -> None:
        channel.send(Told(0))
        raise ZeroDivisionError("a defect")


class ChildThatMutters:
    """It prints as many lines as ``Say`` says on stderr, one on stdout, the last ones without an end, and dies."""

    def run(self, channel: Channel[Any]) -> None:
        message = channel.receive()
        assert isinstance(message, Say)
        print("on stdout", end="", flush=True)
        for number in range(message.number):
            print(f"line {number}", file=sys.stderr)
        print("the last words", end="", file=sys.stderr, flush=True)
        channel.leave(4)


class ChildThatCounts:
    """It counts what comes until ``Finish``, and says how much that was."""

    def run(self, channel: Channel[Any]) -> None:
        count = 0
        while isinstance(channel.receive(), Say):
            count += 1
        channel.send(Told(count))


CHILDREN: Final[dict[str, type[Behaviour]]] = {
    child.__name__: child
    for child in (
        ChildThatEchoes,
        ChildThatSpeaksAndEnds,
        ChildThatHangs,
        ChildThatDies,
        ChildThatSendsGarbage,
        ChildThatSendsGarbageAndEnds,
        ChildThatSendsNoList,
        ChildThatSendsTheUnknown,
        ChildThatSpeaksAnotherProtocol,
        ChildThatGivesUp,
        ChildThatCrashes,
        ChildThatMutters,
        ChildThatCounts,
    )
}


def main(channel: Channel[Any]) -> None:
    """Be the child that the first message names. Raises ``ProtocolError`` for another message."""
    match channel.receive():
        case Behave(name):
            CHILDREN[name]().run(channel)
        case other:
            raise ProtocolError(f"a test child's first message was {type(other).__name__}")


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    run_child("test child", ToTestChild, main)
