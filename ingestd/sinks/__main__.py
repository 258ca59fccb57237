"""``python -m ingestd.sinks --fd N --parent PID``: one sink of one job."""

from __future__ import annotations

from ingestd.child import run_child
from ingestd.child_channel import Channel
from ingestd.errors import ProtocolError
from ingestd.protocol.sink import SinkSetup, ToSink
from ingestd.protocol.work import Finish
from ingestd.sinks import base
from ingestd.sinks.follow import Follower
from ingestd.sinks.sandbox import access


def main(channel: Channel[ToSink]) -> None:
    """Wait for the setup, then follow the feed until ``Finish``."""
    match channel.receive():
        case SinkSetup() as setup:
            Follower(channel, setup, base.make(setup)).run()
        case Finish():
            return
        case other:
            raise ProtocolError(f"a sink was sent {type(other).__name__} before its setup")


if __name__ == "__main__":
    run_child("sink", ToSink, main, access)
