"""What a request for a model means: everything that can be wrong with it is found here, before weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from ingestd.errors import Misconfigured
from ingestd.protocol.work import Machine, Step, StepRequest
from ingestd.worker.media.picture import DECODER_VERSION
from ingestd.worker.models.hub.names import read_name
from ingestd.worker.models.transformers_ import describe, library, sentences, towers
from ingestd.worker.models.transformers_.device import Place, check_memory, choose
from ingestd.worker.models.transformers_.folder import (
    ModelFolder,
    Refusal,
    files_hash,
    need_image_processor,
    need_tokenizer,
    open_folder,
)
from ingestd.worker.models.weights import weights_hash
from ingestd.worker.steps.base import Tell, fingerprint

VERSION: Final = 1
"""Raise it when the same files, settings and pixels give other results."""

_TRIAL_SIZE: Final = (256, 192)

_WRITING: Final = ("prompt", "max_tokens", "temperature", "seed")
"""Settings that only a model that writes has."""


_PROJECTED: Final = ("clip", "metaclip_2", "chinese_clip", "altclip", "clipseg", "groupvit", "aimv2")
"""Types whose ``projection_dim`` is the length of their vectors."""


@dataclass(frozen=True)
class Parts:
    """An opened model: what was checked and chosen before its weights are loaded."""

    kind: str
    folder: ModelFolder
    place: Place
    refuse: Refusal
    dim: int


def resolve(request: StepRequest, machine: Machine, tell: Tell) -> Step:
    """The step that a request means. Raises ``Misconfigured`` in one sentence, or ``Unavailable``: from the hub, or
    while memory is short."""
    refuse = Refusal(request.kind, request.model)
    settings = _settings(request, refuse)
    read_name(request.model)  # a mistyped name is told before torch is imported, which takes seconds
    place = choose(machine.device, exact=bool(settings.get("exact")))
    located = _locate(request.model, tell)
    folder = open_folder(located.folder, refuse)
    library.quiet()
    config = library.config_of(folder, refuse)
    check_architecture(request.kind, folder, config, refuse)
    if request.kind == "describe" and library.captions_unasked(folder):
        if request.settings.get("prompt") is not None:
            raise refuse("it writes about a picture unasked and takes no prompt", "Leave --prompt out")
        settings["prompt"] = ""
    short = check_memory(folder.parameters, place)
    if short and short.lasting:
        raise refuse(short.words, "Choose a smaller model, or use an endpoint (openai:URL#model)")
    if short:  # another job's worker may hold it, or a browser
        raise refuse.unavailable(
            short.words, "It is tried again by itself; end what else runs, or choose a smaller model"
        )
    spec: dict[str, object] = {"model": request.model, "folder": str(located.folder), **settings}
    if located.hub_id:
        spec |= {"hub_id": located.hub_id, "revision": located.revision}
    if request.kind != "describe":
        spec |= {"dim": _dim(request.kind, folder, config, place, refuse), "vector": request.kind}
    _check_processor(request.kind, folder, config, spec, place, refuse)
    spec |= _hashes(folder, machine, refuse)
    return Step(0, request.kind, _fingerprint(request.kind, spec), spec)


def reopen(step: Step, machine: Machine) -> Parts:
    """The model of a resolved step, on this machine. Raises ``Misconfigured``, also when it is not the one resolved."""
    spec: dict[str, Any] = step.spec
    refuse = Refusal(step.kind, str(spec.get("model")))
    path = Path(str(spec.get("folder")))
    if not path.is_dir():
        # The commit that was resolved, whatever the name is pinned to by now. A worker has no network to fetch it.
        known = f"{spec['hub_id']}@{spec['revision']}" if spec.get("hub_id") else str(spec.get("model"))
        try:
            path = _locate(known, lambda *_: None).folder
        except Misconfigured:
            if not spec.get("hub_id"):
                raise
            raise refuse(
                "it is not on this machine any more", f"Bring it back: ingestctl models pull {known}"
            ) from None
    folder = open_folder(path, refuse)
    hashes = _hashes(folder, machine, refuse)
    if any(spec.get(key) != value for key, value in hashes.items()) or (
        _fingerprint(step.kind, spec) != step.fingerprint
    ):
        raise Misconfigured(
            "its files, or the installed code, are not those that the job was started with",
            operation="run",
            object=f"the {step.kind} step with {spec.get('model')!r}",
            remedy="Bring back what it was started with, or run `ingestctl upgrade`",
        )
    place = choose(machine.device, exact=bool(spec.get("exact")))
    return Parts(step.kind, folder, place, refuse, int(spec.get("dim", 0)))


def check_architecture(kind: str, folder: ModelFolder, config: Any, refuse: Refusal) -> None:
    """Raises ``Misconfigured`` when the model cannot do this kind of step, with what it is."""
    what = f"it is of the type {config.model_type!r}"
    if kind == "describe":
        if not library.describes(config):
            raise refuse(f"{what}, which does not write about pictures", "Choose one such as smolvlm or smolvlm2")
    elif kind == "embed":
        if not library.has_towers(config):
            raise refuse(
                f"{what}, which gives no vectors for pictures and texts alike", "Choose one such as siglip2 or clip"
            )
    elif not library.has_text_tower(config):
        names = [str(name) for name in folder.config.get("architectures") or []]
        writes = any(name.endswith(("ForCausalLM", "ForConditionalGeneration")) for name in names)
        if not library.is_plain(config) or (writes and not folder.has("modules.json")):
            raise refuse(f"{what}, which gives no vectors for texts", "Choose a sentence encoder, clip or siglip2")


# ---------------------------------------------------------------------------------------------------------------------


def _settings(request: StepRequest, refuse: Refusal) -> dict[str, object]:
    """What decides results, with defaults filled in. Raises ``Misconfigured``."""
    given = {name: value for name, value in request.settings.items() if value is not None}
    exact: dict[str, object] = {"exact": True} if given.get("exact") else {}
    if request.kind == "describe":
        defaults = {"prompt": describe.PROMPT, "max_tokens": describe.MAX_TOKENS, "temperature": 0.0, "seed": 0}
        settings: dict[str, Any] = {name: given.get(name, value) for name, value in defaults.items()}
        if settings["max_tokens"] < 1 or settings["temperature"] < 0 or not str(settings["prompt"]).strip():
            raise refuse("it is asked for nothing", "--prompt is a text, --max-tokens above 0, --temperature 0 or more")
        return {**exact, **settings, "temperature": float(settings["temperature"])}
    refused = [name for name in _WRITING if name in given]
    if refused:
        raise refuse(f"it gives vectors and takes no {refused[0].replace('_', ' ')}", "Leave that flag out")
    return exact


def _check_processor(
    kind: str, folder: ModelFolder, config: Any, spec: dict[str, Any], place: Place, refuse: Refusal
) -> None:
    """Builds what prepares its inputs and gives it a picture, so that whatever is wrong with those files, or with the
    prompt, is told now and not once for every picture."""
    need_tokenizer(folder, refuse)
    if kind == "embed_text":
        library.tokenizer_of(folder, refuse)
        return
    need_image_processor(folder, refuse)
    if kind == "describe":
        processor = library.processor_of(folder, refuse)
        prepare: Any = describe.Prompted(processor, spec["prompt"], place, refuse, exact=bool(spec.get("exact")))
    else:
        prepare = towers.Preparer(library.image_processor_of(folder, refuse), place)
        library.tokenizer_of(folder, refuse)
    try:
        inputs = prepare(Image.new("RGB", _TRIAL_SIZE, (128, 128, 128)))
    except Exception as error:  # nothing is wrong with that picture
        remedy = (
            "Choose another model" if kind == "embed" else "Choose another model, or leave special tokens out of it"
        )
        what = "pictures" if kind == "embed" else "a picture and the prompt"
        raise refuse(f"its processor fails on {what}: {library.first_line(error)}", remedy) from None
    tokens = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
    room = getattr(config.get_text_config(), "max_position_embeddings", None)
    if tokens and room and tokens >= room:
        raise refuse(f"the prompt takes {tokens} tokens with a picture, and it reads {room}", "Shorten the prompt")


def _dim(kind: str, folder: ModelFolder, config: Any, place: Place, refuse: Refusal) -> int:
    """How many numbers a vector has: from the configuration where that decides it, else from the model itself."""
    if kind == "embed_text" and not library.has_text_tower(config):
        sentences.pooling_of(folder, refuse)
        return int(config.get_text_config().hidden_size)
    if config.model_type in _PROJECTED:
        return int(config.projection_dim)
    if config.model_type in ("siglip", "siglip2"):
        text = config.text_config
        return int(getattr(text, "projection_size", None) or text.hidden_size)
    model = library.load_model(library.auto_class(kind), folder, place, refuse)
    tokens = library.tokenizer_of(folder, refuse)(["a"], padding=True, return_tensors="pt").to(place.device)
    output = model.get_text_features(**tokens)
    return int(getattr(output, "pooler_output", output).shape[-1])


def _hashes(folder: ModelFolder, machine: Machine, refuse: Refusal) -> dict[str, object]:
    try:
        weights = weights_hash(folder.weights, Path(machine.cache) if machine.cache else None)
        return {"weights": weights, "files": files_hash(folder)}
    except OSError as error:
        raise refuse(f"{error.filename} cannot be read: {error.strerror}", "Check its permissions and disk") from None


def _fingerprint(kind: str, spec: dict[str, Any]) -> str:
    what: dict[str, object] = {
        "kind": kind,
        "family": "transformers",
        "version": VERSION,
        "exact": bool(spec.get("exact")),
        **{name: spec.get(name) for name in ("weights", "files", "dim")},
    }
    if kind == "describe":
        what |= {name: spec.get(name) for name in _WRITING}
    if kind != "embed_text":
        what["decoder"] = DECODER_VERSION
    return fingerprint(what)


def _locate(model: str, tell: Tell) -> Any:
    from ingestd.worker.models.hub import locate

    return locate(model, tell)
