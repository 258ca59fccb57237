"""Models in folders of transformers: SmolVLM and its like describe, CLIP and its like embed, sentence encoders embed
descriptions.

The rooms: ``folder`` (what lies in a model's folder, checked without loading it), ``device`` (where it runs, in which
numbers), ``library`` (the border to transformers), ``resolve`` (what a request means), ``towers`` (CLIP, SigLIP),
``describe`` with ``sampling`` and ``quality`` (generation, draws, the check of what was written), ``sentences`` (text).

``exact`` means what plain transformers does with the same files: the picture decoded in full, float32, and split into
views as the folder's own processor does. Without it a picture is shrunk while it is decoded, numbers are what the
device is fast at, a picture that SmolVLM would split is one view, and Qwen-VL gets at most a million pixels of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from ingestd.protocol.work import Machine, Step, StepRequest
from ingestd.worker.models.torch_setup import prepare_torch
from ingestd.worker.steps.base import Encoder, Runner, StepProvider, Tell


class _Transformers(StepProvider):
    kinds: ClassVar[frozenset[str]] = frozenset(("describe", "embed", "embed_text"))

    def resolve(self, request: StepRequest, machine: Machine, tell: Tell) -> Step:
        from ingestd.worker.models.transformers_.resolve import resolve

        return resolve(request, machine, tell)

    def load(self, steps: Sequence[Step], machine: Machine) -> list[Runner]:
        loader = _Loader(machine)
        # Two steps of one model share it: then its text tower stays.
        pictures = {str(step.spec["folder"]) for step in steps if step.kind == "embed"}
        texts = {str(step.spec["folder"]) for step in steps if step.kind == "embed_text"}
        return [loader.runner(step, keep_text=bool(pictures & texts)) for step in steps]

    def encoder(self, step: Step, machine: Machine) -> Encoder:
        return _Loader(machine).encoder(step)

    def provenance(self, request: StepRequest, machine: Machine) -> dict[str, object]:
        from importlib.metadata import version

        from ingestd.worker.models.transformers_.device import choose

        place = choose(machine.device, exact=bool(request.settings.get("exact")))
        names = ("torch", "transformers", "tokenizers", "safetensors")
        return {**{name: version(name) for name in names}, "device": place.device, "dtype": place.dtype}


PROVIDER: Final = _Transformers()


class _Loader:
    """Loads what steps need, each model once."""

    def __init__(self, machine: Machine) -> None:
        from ingestd.worker.models.transformers_.library import quiet

        quiet()
        prepare_torch(machine.threads)
        self._machine = machine
        self._models: dict[tuple[str, str, str], Any] = {}

    def runner(self, step: Step, *, keep_text: bool) -> Runner:
        """Raises ``Misconfigured``."""
        from ingestd.worker.models.transformers_ import describe, library, sentences, towers

        parts = self._open(step)
        folder, place, refuse = parts.folder, parts.place, parts.refuse
        model = self._model(parts)
        if step.kind == "describe":
            processor = library.processor_of(folder, refuse)
            return describe.Describer(step, model, processor, place, folder.parameters, refuse)
        if step.kind == "embed":
            images = library.image_processor_of(folder, refuse)
            return towers.PictureRunner(step, model, images, place, keep_text=keep_text)
        return sentences.TextRunner(step, self._texts(parts, model, query=False), place)

    def encoder(self, step: Step) -> Encoder:
        """Raises ``Misconfigured``."""
        from ingestd.worker.models.transformers_ import library, sentences, towers

        parts = self._open(step)
        model = self._model(parts)
        if step.kind == "embed":
            images = library.image_processor_of(parts.folder, parts.refuse)
            tokenizer = library.tokenizer_of(parts.folder, parts.refuse)
            return towers.TowerEncoder(step, model, images, tokenizer, parts.place)
        return sentences.TextEncoder(self._texts(parts, model, query=True))

    def _open(self, step: Step) -> Any:
        from ingestd.worker.models.transformers_.resolve import reopen

        return reopen(step, self._machine)

    def _model(self, parts: Any) -> Any:
        from ingestd.worker.models.transformers_ import library, sentences

        auto = library.auto_class(parts.kind)
        key = (str(parts.folder.path), auto.__name__, parts.place.dtype)
        if key not in self._models:
            spare = sentences.SPARE if parts.kind == "embed_text" else ()
            self._models[key] = library.load_model(auto, parts.folder, parts.place, parts.refuse, spare=spare)
        return self._models[key]

    def _texts(self, parts: Any, model: Any, *, query: bool) -> Any:
        from ingestd.worker.models.transformers_ import library, sentences, towers

        tokenizer = library.tokenizer_of(parts.folder, parts.refuse)
        if hasattr(model, "get_text_features"):
            return towers.TowerTexts(model, tokenizer, parts.place, parts.dim)
        pooling = sentences.pooling_of(parts.folder, parts.refuse)
        return sentences.SentenceVectors(parts.folder, model, tokenizer, parts.place, parts.dim, pooling, query=query)
