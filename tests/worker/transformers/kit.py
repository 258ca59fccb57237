"""Resolves steps of tiny models, runs them through real workers, and does the same in plain transformers code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy
from PIL import Image

from ingestd.protocol.work import (
    Encode,
    Encoded,
    EncodeSetup,
    FromWorker,
    Hello,
    Machine,
    Outcome,
    Ready,
    Step,
    StepRequest,
    StepResult,
)
from ingestd.worker.steps import registry
from tests.childkit import Child, running
from tests.worker.workerkit import META_STEP

LIMIT = 32
"""Tokens of a description here."""


def machine(cache: Path | None = None, device: str = "cpu") -> Machine:
    return Machine(str(cache or ""), device, threads=1)


def resolve(kind: str, model: Path | str, cache: Path | None = None, device: str = "cpu", **settings: object) -> Step:
    """The step that a request means, resolved in this process; ``bit`` is 1."""
    step = registry.resolve(
        StepRequest(kind, str(model), settings, needs=("describe",) if kind == "embed_text" else ()),
        machine(cache, device),
        lambda *_: None,
    )
    return msgspec.structs.replace(step, bit=1)


def recipe(*steps: Step) -> list[Step]:
    """``meta`` and these steps, each with its bit."""
    return [META_STEP, *(msgspec.structs.replace(step, bit=bit) for bit, step in enumerate(steps, 1))]


def result(outcome: Outcome, bit: int) -> StepResult:
    """The result of one step; the outcome has no failures."""
    assert outcome.failures == [], outcome.failures
    [found] = [result for result in outcome.results if result.bit == bit]
    return found


def vector(data: bytes | None) -> numpy.ndarray:
    assert data is not None
    return numpy.frombuffer(data, "<f4")


def text(found: StepResult) -> str:
    description = msgspec.json.decode(found.body)["description"]
    assert isinstance(description, str)
    return description


def unit(rows: Any) -> numpy.ndarray:
    """Torch's rows as float32, each of length 1."""
    array: numpy.ndarray = rows.detach().float().numpy()
    return array / numpy.linalg.norm(array, axis=1, keepdims=True)


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


class Encoders:
    """One worker in encode mode."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def ask(self, text: str = "", image: Path | None = None) -> Encoded:
        self._child.send(Encode(1, text, None if image is None else bytes(image)))
        answer: Encoded = self._child.expect(Encoded)
        return answer


def encoded(step: Step, questions: Sequence[str | Path], cache: Path) -> list[Encoded]:
    """Answers of a worker in encode mode: to texts, and to pictures by their paths."""
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(EncodeSetup(step, machine(cache)))
        child.expect(Ready)
        encoders = Encoders(child)
        return [
            encoders.ask(image=question) if isinstance(question, Path) else encoders.ask(question)
            for question in questions
        ]
