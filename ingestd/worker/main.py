"""What a worker does, by its first message: probe a recipe, work through items, or encode queries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ingestd.child import Channel
from ingestd.errors import IngestError, ProtocolError
from ingestd.protocol.work import (
    Drain,
    Encode,
    Encoded,
    EncodeSetup,
    Finish,
    Probe,
    Probed,
    Ready,
    WorkerSetup,
)
from ingestd.worker import models
from ingestd.worker.decode import be_strict
from ingestd.worker.pipeline import Pipeline
from ingestd.worker.usage import usage


def main(channel: Channel[Any]) -> None:
    """Run until the mode's work is done. Raises ``Misconfigured``, and ``ProtocolError`` for a wrong first message."""
    be_strict()
    match channel.receive():
        case Probe() as probe:
            _probe(channel, probe)
        case WorkerSetup() as setup:
            _work(channel, setup)
        case EncodeSetup() as setup:
            _encode(channel, setup)
        case Finish() | Drain():
            pass
        case other:
            raise ProtocolError(f"a worker's first message was {type(other).__name__}")


def _probe(channel: Channel[Any], probe: Probe) -> None:
    for request in probe.requests:  # a mistyped name is told before seconds are spent on the others
        models.check(request)
    cache = Path(probe.cache)
    steps = [models.resolve(request, cache) for request in probe.requests]
    channel.send(Probed(steps, models.provenance(probe.requests)))


def _work(channel: Channel[Any], setup: WorkerSetup) -> None:
    began = time.perf_counter()
    runners = models.load(setup.steps, Path(setup.cache), setup.threads)
    pipeline = Pipeline(channel, setup.steps, runners)
    batch = max((runner.batch for runner in runners), default=1)
    channel.send(Ready((time.perf_counter() - began) * 1e3, batch))
    pipeline.run()
    channel.send(usage())


def _encode(channel: Channel[Any], setup: EncodeSetup) -> None:
    began = time.perf_counter()
    encoder = models.encoder(setup.step, Path(setup.cache))
    channel.send(Ready((time.perf_counter() - began) * 1e3, 1))
    while True:
        match channel.receive():
            case Encode(id=id, text=text):
                try:
                    channel.send(Encoded(id, encoder.encode(text)))
                except IngestError:
                    raise
                except Exception as error:  # one query's trouble is answered, the next may be fine
                    channel.send(Encoded(id, None, f"{type(error).__name__}: {error}"[:500]))
            case Finish() | Drain():
                return
            case other:
                raise ProtocolError(f"a worker that encodes was sent {type(other).__name__}")
