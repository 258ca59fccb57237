"""The child's end of its socket: every message whole and in order, from any thread, in few frames."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NoReturn

import msgspec
import pytest

from ingestd.child_channel import Channel, PeerGone
from ingestd.errors import ProtocolError
from ingestd.protocol.wire import MAX_MESSAGE, FrameReader, decoder, frames
from ingestd.protocol.work import Drain, Encode, Encoded, Finish, FromWorker, ToWorker

SENDERS = 8
EACH = 50


class ChannelOfAThread(Channel[object]):
    """Its reader ends with the socket, and not the whole process."""

    def leave(self, code: int = 0) -> NoReturn:
        raise PeerGone

    def _read(self) -> None:
        with suppress(PeerGone):
            super()._read()


@pytest.fixture
def ends() -> Iterator[tuple[Channel[object], socket.socket]]:
    """A channel, and the daemon's end of its socket."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.settimeout(30)
        yield ChannelOfAThread(theirs, ToWorker), ours


def frames_of(sock: socket.socket, count: int) -> list[list[Encoded]]:
    """The frames that come, until they hold ``count`` messages."""
    reader, found = FrameReader(), list[list[Encoded]]()
    while sum(map(len, found)) < count:
        found += [decoder(FromWorker).decode(body) for body in reader.feed(sock.recv(1 << 16))]
    return found


def test_one_message_goes_at_once(ends: tuple[Channel[object], socket.socket]) -> None:
    """Nothing waits for company."""
    channel, sock = ends
    for number in range(3):
        channel.send(Encoded(number, None))
        assert frames_of(sock, 1) == [[Encoded(number, None)]]


def test_threads_that_wait_for_each_other_share_frames(ends: tuple[Channel[object], socket.socket]) -> None:
    """While the daemon does not read, what is sent queues up and goes together: each once, each thread's in order."""
    channel, sock = ends
    blocked = threading.Thread(target=channel.send, args=(Encoded(-1, bytes(4 << 20)),), daemon=True)
    blocked.start()
    sock.recv(1, socket.MSG_PEEK)  # it is being sent, and does not fit the socket

    def say(sender: int) -> None:
        for number in range(EACH):
            channel.send(Encoded(sender, None, str(number)))

    threads = [threading.Thread(target=say, args=(sender,), daemon=True) for sender in range(SENDERS)]
    for thread in threads:
        thread.start()
    while len(channel._unsent) < SENDERS:  # each waits with its first message
        assert all(thread.is_alive() for thread in threads)
    found = frames_of(sock, SENDERS * EACH + 1)
    for thread in [blocked, *threads]:
        thread.join()
    assert len(found[0]) == 1
    assert {message.id for message in found[1]} == set(range(SENDERS))
    said = [message for frame in found[1:] for message in frame]
    for sender in range(SENDERS):
        assert [m.error for m in said if m.id == sender] == [str(number) for number in range(EACH)]


def test_a_frame_of_many_is_received_one_by_one(ends: tuple[Channel[object], socket.socket]) -> None:
    """What the daemon grouped is taken in order; what was awaited before the channel began comes again."""
    channel, sock = ends
    messages = [Encode(1, "a"), Encode(2, "b"), Drain(), Finish()]
    sock.sendall(b"".join(frames(map(msgspec.msgpack.encode, messages))))
    assert channel.await_one(lambda message: message if isinstance(message, Drain) else None) == Drain()
    channel.start()
    assert [channel.receive(30) for _ in messages] == messages
    assert channel.receive(0) is None


def test_a_message_over_the_limit_is_an_error_and_the_next_is_sent(ends: tuple[Channel[object], socket.socket]) -> None:
    """The thread that made it is told; nothing of it leaves."""
    channel, sock = ends
    with pytest.raises(ProtocolError, match="over the limit"):
        channel.send(Encoded(1, bytes(MAX_MESSAGE)))
    channel.send(Encoded(2, None))
    assert frames_of(sock, 1) == [[Encoded(2, None)]]
