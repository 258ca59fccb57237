"""Embedders with a tower for pictures and one for texts (CLIP, SigLIP, …): vectors that can be compared."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

from PIL import Image

from ingestd.protocol.work import Step, StepResult
from ingestd.worker.models.transformers_.device import Place, torch_dtype
from ingestd.worker.models.transformers_.library import want_of
from ingestd.worker.steps.base import Answer, Bodies, Encoder, Runner

CPU_BATCH: Final = 16
"""SigLIP-base gives 13.7 images a second at 16 and no more at 32, on 2 cores."""

GPU_BATCH: Final = 64

_TEXT_PARTS: Final = ("text_model", "text_projection")
"""What a runner of pictures does not need: a tenth of CLIP, half of SigLIP 2 with its 256,000 words."""


LONGEST: Final = 20
"""Sides that a picture may be long. A processor that scales the shorter side and then takes the middle would make ten
gigabytes of a strip of 65,000 pixels by 1; of a strip, only the part around that middle is given to it."""


class Preparer:
    """The image processor for several threads at once, each with a copy of its own."""

    def __init__(self, images: Any, place: Place) -> None:
        self._images = images
        self._crops = bool(getattr(images, "do_center_crop", False))
        self._half = place.dtype != "float32"
        self._local = threading.local()

    def __call__(self, picture: Image.Image) -> dict[str, Any]:
        """The model's inputs for one picture: numpy arrays whose first dimension is 1."""
        images = getattr(self._local, "images", None)
        if images is None:
            images = self._local.images = copy.deepcopy(self._images)
        if self._crops:
            picture = middle(picture)
        return slim(dict(images(images=[picture], return_tensors="np")), half=self._half)


class PictureRunner(Runner):
    """Answers an ``embed`` step by the picture tower of ``model``."""

    def __init__(self, step: Step, model: Any, images: Any, place: Place, *, keep_text: bool) -> None:
        self.mask = 1 << step.bit
        self.want = 0 if step.spec.get("exact") else want_of(images)
        self.batch = GPU_BATCH if place.accelerated else CPU_BATCH
        self._bit = step.bit
        self._dim = step.spec["dim"]
        self._model, self._place = model, place
        self._prepare = Preparer(images, place)
        if not keep_text:
            for part in _TEXT_PARTS:
                if hasattr(model, part):
                    delattr(model, part)

    def prepare(self, view: Image.Image, bodies: Bodies) -> Any:
        return self._prepare(view)

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        vectors = picture_vectors(self._model, self._place, prepared, self._dim)
        return enumerate({self._bit: StepResult(self._bit, b"{}", vector)} for vector in vectors)


class TowerTexts:
    """Texts to vectors by a text tower, padded the way that the model was trained."""

    def __init__(self, model: Any, tokenizer: Any, place: Place, dim: int) -> None:
        self._model, self._tokenizer, self._place, self._dim = model, tokenizer, place, dim
        text = model.config.get_text_config()
        limits = [getattr(text, "max_position_embeddings", None), tokenizer.model_max_length]
        self._length = min(int(limit) for limit in limits if limit)
        # SigLIP saw texts in lower case and padded to the full length (transformers' documentation of SigLIP; the
        # training configurations of SigLIP and SigLIP 2 in big_vision say the same).
        self._siglip = str(model.config.model_type).startswith("siglip")

    def tokens(self, texts: Sequence[str]) -> dict[str, Any]:
        """What the text tower takes, as tensors; whether a mask is among it is the tokenizer's own setting."""
        return dict(
            self._tokenizer(
                [text.lower() for text in texts] if self._siglip else list(texts),
                padding="max_length" if self._siglip else True,
                truncation=True,
                max_length=self._length,
                return_tensors="pt",
            )
        )

    def __call__(self, texts: Sequence[str]) -> list[bytes]:
        import torch

        with torch.inference_mode():
            tokens = {name: tensor.to(self._place.device) for name, tensor in self.tokens(texts).items()}
            return unit(self._model.get_text_features(**tokens), self._dim)


class TowerEncoder(Encoder):
    """Queries, words and pictures, for an ``embed`` step."""

    def __init__(self, step: Step, model: Any, images: Any, tokenizer: Any, place: Place) -> None:
        self.want = 0 if step.spec.get("exact") else want_of(images)
        self._model, self._place, self._dim = model, place, int(str(step.spec["dim"]))
        self._prepare = Preparer(images, place)
        self._texts = TowerTexts(model, tokenizer, place, self._dim)

    def encode(self, text: str) -> bytes:
        return self._texts([text])[0]

    def encode_image(self, image: Image.Image) -> bytes:
        return picture_vectors(self._model, self._place, [self._prepare(image)], self._dim)[0]


def middle(picture: Image.Image, sides: int = LONGEST) -> Image.Image:
    """The picture, or of a strip the middle that is ``sides`` times as long as it is wide."""
    width, height = picture.size
    longest = sides * min(width, height)
    if max(width, height) <= longest:
        return picture
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return picture.crop((left, top, min(width, left + longest), min(height, top + longest)))


def picture_vectors(model: Any, place: Place, prepared: Sequence[dict[str, Any]], dim: Any) -> list[bytes]:
    """One vector for each prepared picture."""
    import torch

    with torch.inference_mode():
        inputs = {name: torch.cat([torch.from_numpy(one[name]) for one in prepared]) for name in prepared[0]}
        return unit(model.get_image_features(**to_place(inputs, place)), dim)


def to_place(inputs: dict[str, Any], place: Place) -> dict[str, Any]:
    """Tensors on the model's device; those of fractions in its dtype."""
    dtype = torch_dtype(place)
    return {
        name: tensor.to(place.device, dtype) if tensor.is_floating_point() else tensor.to(place.device)
        for name, tensor in inputs.items()
    }


def slim(inputs: dict[str, Any], *, half: bool) -> dict[str, Any]:
    """Numpy arrays as small as they can wait: fractions as float32, or as float16 where the model rounds more than that
    anyway (normalised pixels lie within ±3)."""
    import numpy

    fractions = numpy.float16 if half else numpy.float32
    arrays = {name: numpy.asarray(value) for name, value in inputs.items()}
    return {name: value.astype(fractions) if value.dtype.kind == "f" else value for name, value in arrays.items()}


def unit(output: Any, dim: Any) -> list[bytes]:
    """Little-endian float32 rows of length 1, from what ``get_image_features`` and its like give.

    Raises ``ValueError`` when they do not have ``dim`` numbers each.
    """
    import torch

    rows = getattr(output, "pooler_output", output)
    if rows.dim() != 2 or rows.shape[1] != dim:
        raise ValueError(f"the model gives vectors of shape {tuple(rows.shape[1:])} where {dim} numbers were announced")
    rows = torch.nn.functional.normalize(rows.float(), dim=1).cpu().numpy()
    return [row.astype("<f4").tobytes() for row in rows]
