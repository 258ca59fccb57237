"""What a worker does, by its first message: probe a recipe, work through items, or encode queries."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final

from ingestd.child_channel import Channel
from ingestd.errors import IngestError, ItemError, ProtocolError
from ingestd.protocol.work import (
    Drain,
    Encode,
    Encoded,
    EncodeSetup,
    Fetching,
    Finish,
    Probe,
    Probed,
    Ready,
    Step,
    WorkerSetup,
)
from ingestd.worker.media.picture import be_strict, open_picture
from ingestd.worker.pipeline import Pipeline
from ingestd.worker.read import read_file
from ingestd.worker.steps import registry
from ingestd.worker.steps.base import Encoder
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
        registry.check(request)

    def tell(model: str, done: int, total: int) -> None:
        channel.send(Fetching(model, done, total))

    steps = [registry.resolve(request, probe.machine, tell) for request in probe.requests]
    channel.send(Probed(steps, _with_weights(registry.provenance(probe.requests, probe.machine), steps)))


_WEIGHTS: Final = ("weights", "text_weights", "hub_id", "revision")


def _with_weights(provenance: dict[str, object], steps: Sequence[Step]) -> dict[str, object]:
    """What the weights are, by the sha256 of their files, and the hub's commit that they came from."""
    for step in steps:
        found = {name: step.spec[name] for name in _WEIGHTS if name in step.spec}
        if found and isinstance(known := provenance.get(step.name), dict):
            provenance[step.name] = known | found
    return provenance


def _work(channel: Channel[Any], setup: WorkerSetup) -> None:
    began = time.perf_counter()
    runners = registry.load(setup.steps, setup.machine)
    pipeline = Pipeline(channel, setup.steps, runners)
    batch = max((runner.batch for runner in runners), default=1)
    channel.send(Ready((time.perf_counter() - began) * 1e3, batch))
    pipeline.run()
    channel.send(usage())


def _encode(channel: Channel[Any], setup: EncodeSetup) -> None:
    began = time.perf_counter()
    encoder = registry.encoder(setup.step, setup.machine)
    channel.send(Ready((time.perf_counter() - began) * 1e3, 1))
    while True:
        match channel.receive():
            case Encode(id=id) as ask:
                try:
                    channel.send(Encoded(id, _encoded(encoder, ask)))
                except IngestError:
                    raise
                except (ItemError, ValueError) as error:
                    channel.send(Encoded(id, None, str(error)))
                except Exception as error:  # one query's trouble is answered, the next may be fine
                    channel.send(Encoded(id, None, f"{type(error).__name__}: {error}"[:500]))
            case Finish() | Drain():
                return
            case other:
                raise ProtocolError(f"a worker that encodes was sent {type(other).__name__}")


def _encoded(encoder: Encoder, ask: Encode) -> bytes:
    """Raises ``ItemError`` for an image that cannot be used, ``ValueError`` when the encoder takes no images."""
    if ask.image is None:
        return encoder.encode(ask.text)
    picture = open_picture(read_file(ask.image).data, os.path.splitext(ask.image)[1])
    picture.load(encoder.want)
    return encoder.encode_image(picture.view(encoder.want))
