"""The step ``meta``, which every job has: what the medium says of a content. It reads the file itself, by no model."""

from __future__ import annotations

from typing import Final

import msgspec

from ingestd.kinds.steps import META
from ingestd.protocol.work import Step, StepRequest, StepResult
from ingestd.worker.media.base import Content
from ingestd.worker.media.picture_facts import META_VERSION
from ingestd.worker.steps.base import fingerprint

NAME: Final = META.name


def resolve(request: StepRequest) -> Step:
    """The step for a request; ``bit`` and ``pass_`` are left 0."""
    return Step(0, NAME, fingerprint({"kind": NAME, "version": META_VERSION}), {"model": "builtin"}, name=request.name)


def run(bit: int, content: Content) -> StepResult:
    """What the step makes of a content that is loaded."""
    return StepResult(bit, msgspec.json.encode(content.facts()))
