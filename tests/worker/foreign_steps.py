"""Steps as another package would bring them: they look at text, at pictures, at what other steps made, or fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import msgspec

from ingestd.protocol.work import Machine, Step, StepRequest, StepResult
from ingestd.worker.steps.base import Answer, Bodies, Runner, StepProvider, Tell, fingerprint


class Counting(Runner):
    """``letters``: how often the commonest letters are. ``shade``: a picture's mean grey. ``report``: the bodies that
    it was given, and the length of the text when it looks at that too. ``trouble`` raises."""

    def __init__(self, step: Step) -> None:
        self.mask, self.batch, self._bit, self._kind = 1 << step.bit, 4, step.bit, step.kind
        self.want = None if self._kind == "report" else 0

    def prepare(self, view: Any, bodies: Bodies) -> Any:
        match self._kind:
            case "letters":
                return dict(Counter(letter for letter in view.lower() if letter.isalpha()).most_common(3))
            case "shade":
                return {"grey": round(sum(view.convert("L").resize((1, 1)).getdata()))}
            case "review":
                return {"length": len(view), **bodies}
            case "trouble":
                raise ValueError("no luck")
        return dict(bodies)

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        return enumerate({self._bit: StepResult(self._bit, msgspec.json.encode(one))} for one in prepared)


class Provider(StepProvider):
    kinds: ClassVar[frozenset[str]] = frozenset(("letters", "shade", "report", "review", "trouble"))

    def resolve(self, request: StepRequest, machine: Machine, tell: Tell) -> Step:
        return Step(
            0, request.kind, fingerprint({"kind": request.kind, "name": request.name}), {"model": request.model}
        )

    def load(self, steps: Sequence[Step], machine: Machine) -> list[Runner]:
        return [Counting(step) for step in steps]

    def provenance(self, request: StepRequest, machine: Machine) -> dict[str, object]:
        return {"counting": 1}


PROVIDER = Provider()
