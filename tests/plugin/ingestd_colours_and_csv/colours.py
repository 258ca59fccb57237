"""The step ``colours``: the main colours of a picture, by Pillow's median cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
import PIL
from PIL import Image

from ingestd.protocol.work import Machine, Step, StepRequest, StepResult
from ingestd.worker.steps.base import Answer, Bodies, Runner, StepProvider, Tell, fingerprint

VERSION = 1
"""Part of the fingerprint: raise it when the same picture gives other colours."""

MOST = 5
SIDE = 64
"""Pixels of the side that a picture is shrunk to: colours that are not seen at this size are no main ones."""


class Colours(Runner):
    """Answers one step; the work is done in ``prepare``, on reader threads."""

    def __init__(self, step: Step) -> None:
        self.mask, self.want, self.batch = 1 << step.bit, SIDE, 32
        self._bit = step.bit
        self._most = int(str(step.spec["most"]))

    def prepare(self, view: Image.Image, bodies: Bodies) -> list[dict[str, object]]:
        small = view.copy()
        small.thumbnail((SIDE, SIDE))
        reduced = small.quantize(self._most)
        palette, pixels = reduced.getpalette() or [], small.width * small.height
        counts = sorted(reduced.getcolors() or [], reverse=True)
        return [
            {
                "hex": "#{:02x}{:02x}{:02x}".format(*palette[3 * index : 3 * index + 3]),
                "share": round(count / pixels, 3),
            }
            for count, index in counts
        ]

    def run(self, prepared: Sequence[list[dict[str, object]]], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        for at, colours in enumerate(prepared):
            yield at, {self._bit: StepResult(self._bit, msgspec.json.encode({"colours": colours}))}


class ColoursProvider(StepProvider):
    kinds: ClassVar[frozenset[str]] = frozenset(("colours",))

    def resolve(self, request: StepRequest, machine: Machine, tell: Tell) -> Step:
        most = request.settings.get("most_colours", MOST)
        print_ = fingerprint({"kind": "colours", "version": VERSION, "most": most})
        return Step(0, request.kind, print_, {"model": request.model, "most": most})

    def load(self, steps: Sequence[Step], machine: Machine) -> list[Runner]:
        return [Colours(step) for step in steps]

    def provenance(self, request: StepRequest, machine: Machine) -> dict[str, object]:
        return {"pillow": PIL.__version__}


PROVIDER = ColoursProvider()
