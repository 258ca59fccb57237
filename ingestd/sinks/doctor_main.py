"""The child that looks at sinks for ``doctor``: can these places be reached and written? Nothing there is changed.

``python -m ingestd.sinks.doctor_main --fd N --parent PID``. Each kind has a check of its own, a module that its
declaration names. Answers come as they are known: what lies across a network is asked last.
"""

from __future__ import annotations

import traceback
from typing import Any

from ingestd.child import run_child
from ingestd.child_channel import Channel
from ingestd.errors import IngestError, ProtocolError
from ingestd.protocol.doctor import LookAtSinks, Looked, ToLooker
from ingestd.protocol.sink import SinkSetup
from ingestd.protocol.work import Finish
from ingestd.sinks import base
from ingestd.sinks.sandbox import access_of_checks


def main(channel: Channel[Any]) -> None:
    """Answer one request."""
    match channel.receive():
        case LookAtSinks(setups, served):
            for index, setup in sorted(enumerate(setups), key=lambda pair: _is_far(pair[1])):
                channel.send(looked(index, setup, served))
        case Finish():
            pass
        case other:
            raise ProtocolError(f"the sinks looker's first message was {type(other).__name__}")


def _is_far(setup: SinkSetup) -> bool:
    return setup.declaration is not None and setup.declaration.networked


def looked(index: int, setup: SinkSetup, served: bool) -> Looked:
    """How one sink is; ``served``: a daemon runs and may hold it. A check that fails leaves the others' answers."""
    kind = setup.declaration
    if kind is None:
        return Looked(
            index, "warn", f"a sink of the kind {setup.kind} is not known here", "Install the package that has it"
        )
    try:
        if not kind.doctor:
            base.load(kind)
            return Looked(index, "ok", f"{setup.place}: its kind, of {kind.package}, has no check of its own")
        found = base.loaded(kind, kind.doctor, "check")(setup, served)
        return Looked(index, found.level, found.finding, found.remedy)
    except IngestError as error:
        return Looked(index, "fail", f"cannot {error.operation} {error.object}: {error.message}", error.remedy)
    except Exception as error:
        traceback.print_exc()
        return Looked(
            index, "fail", f"the check of the kind {kind.name} failed: {type(error).__name__}: {error}"[:500],
            f"Tell those who make {kind.package}",
        )  # fmt: skip


if __name__ == "__main__":
    run_child("sinks looker", ToLooker, main, access_of_checks)
