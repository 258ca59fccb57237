"""Finds the code of a step: by the module that its kind declares, else by the name of its model.

Code is imported when it is asked for: some of it costs seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ingestd.errors import Misconfigured
from ingestd.kinds.media import PICTURE
from ingestd.kinds.steps import META
from ingestd.protocol.work import Machine, Step, StepRequest

if TYPE_CHECKING:
    from ingestd.worker.steps.base import Encoder, Runner, StepProvider, Tell

_PROVIDERS: Final = {
    "builtin": "ingestd.worker.models.builtin",
    "transformers": "ingestd.worker.models.transformers_",
    "openai": "ingestd.worker.models.openai_",
}
"""Where a model comes from → the module that has its ``PROVIDER``."""


def _provider_name(model: str) -> str:
    """``openai:URL#model`` is an endpoint; any other name but ``builtin`` is a short name, a hub id or a folder."""
    if model == "builtin":
        return model
    return "openai" if model.startswith("openai:") else "transformers"


def provider_of(kind: str, model: str, module: str = "") -> StepProvider:
    """Who makes a kind of step with this model. Raises ``Misconfigured``."""
    provider = (
        _imported(kind, module) if module else importlib.import_module(_PROVIDERS[_provider_name(model)]).PROVIDER
    )
    found: StepProvider = provider
    if kind not in found.kinds:
        raise Misconfigured(
            f"{model!r} cannot do that step",
            operation="resolve",
            object=f"the step {kind!r}",
            remedy=f"It can do: {', '.join(sorted(found.kinds))}",
        )
    return found


def _imported(kind: str, module: str) -> Any:
    """The ``PROVIDER`` of another package's module: whatever its import raises is that package's fault."""
    try:
        return importlib.import_module(module).PROVIDER
    except Exception as error:
        raise Misconfigured(
            f"its module {module} cannot be loaded: {type(error).__name__}: {error}", operation="load",
            object=f"the step {kind!r}", remedy="Install its package again, or leave the step out",
        ) from error  # fmt: skip


def check(request: StepRequest) -> None:
    """Raises ``Misconfigured`` if nothing here answers to what is requested; loads no library."""
    if request.kind != META.name:
        provider_of(request.kind, request.model, request.module)


def resolve(request: StepRequest, machine: Machine, tell: Tell) -> Step:
    """What a request means on this machine, ``bit`` and ``pass_`` left 0. Raises ``Misconfigured``."""
    from msgspec.structs import replace

    if request.kind == META.name:
        from ingestd.worker.steps import meta

        return meta.resolve(request)
    made = provider_of(request.kind, request.model, request.module).resolve(request, machine, tell)
    return replace(
        made, name=request.name, needs=request.needs, module=request.module, media=request.media, ports=request.ports
    )


def provenance(requests: Sequence[StepRequest], machine: Machine) -> dict[str, object]:
    """Versions behind these requests; what a step's provider says of its libraries, device and numbers, by the name of
    the step."""
    import platform

    import PIL

    found: dict[str, object] = {"python": platform.python_version(), "pillow": PIL.__version__}
    for request in requests:
        if request.kind != META.name:
            provider = provider_of(request.kind, request.model, request.module)
            found[request.name] = provider.provenance(request, machine)
    return found


def load(steps: Sequence[Step], machine: Machine) -> list[Runner]:
    """The runners for these steps, ``meta`` left out, steps of one provider together, each after those it reads.

    Raises ``Misconfigured``.
    """
    by_provider: dict[StepProvider, list[Step]] = {}
    for step in steps:
        if step.kind != META.name:
            provider = provider_of(step.kind, str(step.spec.get("model")), step.module)
            by_provider.setdefault(provider, []).append(step)
    runners = [runner for provider, own in by_provider.items() for runner in provider.load(own, machine)]
    depths = _depths(steps)
    for runner in runners:
        runner.needs = tuple(
            dict.fromkeys(name for step in steps if runner.mask >> step.bit & 1 for name in step.needs)
        )
    return sorted(runners, key=lambda runner: max(depths[step.bit] for step in steps if runner.mask >> step.bit & 1))


def _depths(steps: Sequence[Step]) -> dict[int, int]:
    """By bit, how many steps of this run come before a step because it reads them, one after the other."""
    depths = {step.bit: 0 for step in steps}
    by_name = {step.name: step for step in steps}
    for _ in steps:
        for step in steps:
            before = [depths[by_name[name].bit] + 1 for name in step.needs if name in by_name]
            depths[step.bit] = min(len(steps), max([depths[step.bit], *before]))
    return depths


def media_of(steps: Sequence[Step]) -> list[str]:
    """The media that these steps take, ``meta`` apart, which takes them all; pictures where nothing else is asked."""
    found: dict[str, None] = {}
    for step in steps:
        if step.kind != META.name:
            found |= dict.fromkeys(step.media)
    return list(found) or [PICTURE]


def encoder(step: Step, machine: Machine) -> Encoder:
    """What encodes queries for a step with vectors. Raises ``Misconfigured``."""
    return provider_of(step.kind, str(step.spec.get("model")), step.module).encoder(step, machine)
