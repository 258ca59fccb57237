"""The registry of model families, by name. Families are imported when they are asked for: some cost seconds."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ingestd.errors import Misconfigured
from ingestd.protocol.work import Machine, Step, StepRequest

if TYPE_CHECKING:
    from ingestd.worker.models.base import Encoder, Family, Runner, Tell

META: Final = "meta"
"""The step that every recipe has; it reads the file itself and is no model."""

_FAMILIES: Final = {
    "builtin": "ingestd.worker.models.builtin",
    "transformers": "ingestd.worker.models.transformers_",
    "openai": "ingestd.worker.models.openai_",
}
"""Family name → the module that has its ``FAMILY``."""


def _family_name(model: str) -> str:
    """``openai:URL#model`` is an endpoint; any other name but ``builtin`` is a short name, a hub id or a folder."""
    if model == "builtin":
        return model
    return "openai" if model.startswith("openai:") else "transformers"


def family_of(kind: str, model: str) -> Family:
    """The family that answers to a model name for a kind of step. Raises ``Misconfigured``."""
    family: Family = importlib.import_module(_FAMILIES[_family_name(model)]).FAMILY
    if kind not in family.kinds:
        raise Misconfigured(
            f"{model!r} cannot do that step",
            operation="resolve",
            object=f"the step {kind!r}",
            remedy=f"It can do: {', '.join(sorted(family.kinds))}",
        )
    return family


def check(request: StepRequest) -> None:
    """Raises ``Misconfigured`` if nothing here answers to what is requested; loads no library."""
    if request.kind != META:
        family_of(request.kind, request.model)


def resolve(request: StepRequest, machine: Machine, tell: Tell) -> Step:
    """What a request means on this machine, ``bit`` and ``pass_`` left 0. Raises ``Misconfigured``."""
    if request.kind == META:
        return _meta_step()
    return family_of(request.kind, request.model).resolve(request, machine, tell)


def provenance(requests: Sequence[StepRequest], machine: Machine) -> dict[str, object]:
    """Versions behind these requests; what a model's family says of its libraries, device and numbers, by the kind of
    its step."""
    import platform

    import PIL

    found: dict[str, object] = {"python": platform.python_version(), "pillow": PIL.__version__}
    for request in requests:
        if request.kind != META:
            found[request.kind] = family_of(request.kind, request.model).provenance(request, machine)
    return found


def load(steps: Sequence[Step], machine: Machine) -> list[Runner]:
    """The runners for these steps, ``meta`` left out, steps of one family together; those that read text come last.

    Raises ``Misconfigured``.
    """
    by_family: dict[Family, list[Step]] = {}
    for step in steps:
        if step.kind != META:
            by_family.setdefault(family_of(step.kind, str(step.spec.get("model"))), []).append(step)
    runners = [runner for family, own in by_family.items() for runner in family.load(own, machine)]
    described = next((step.bit for step in steps if step.kind == "describe"), -1)
    for runner in runners:
        if runner.reads is not None:
            runner.reads = described
    return sorted(runners, key=lambda runner: runner.reads is not None)


def encoder(step: Step, machine: Machine) -> Encoder:
    """What encodes queries for a step with vectors. Raises ``Misconfigured``."""
    return family_of(step.kind, str(step.spec.get("model"))).encoder(step, machine)


def _meta_step() -> Step:
    from ingestd.worker.metadata import META_VERSION
    from ingestd.worker.models.base import fingerprint

    return Step(0, META, fingerprint({"kind": META, "version": META_VERSION}), {"model": "builtin"})
