"""Models that write about a picture: the prompt, batched generation, and a second try for odd texts."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from PIL import Image

from ingestd.protocol.work import Step, StepResult
from ingestd.worker.models.transformers_.device import Place
from ingestd.worker.models.transformers_.folder import Refusal
from ingestd.worker.models.transformers_.library import pixel_limits, want_of
from ingestd.worker.models.transformers_.quality import Odd, odd, worse
from ingestd.worker.models.transformers_.sampling import sampler
from ingestd.worker.models.transformers_.towers import LONGEST, middle, slim, to_place
from ingestd.worker.steps.base import Answer, Bodies, Runner

PROMPT: Final = "Describe this photo in one or two sentences."

MAX_TOKENS: Final = 64
"""Two sentences are about 40 tokens."""

TRY_TEMPERATURE: Final = 0.7
"""Of the second attempt after a greedy one: enough to leave a loop, not enough to leave the picture."""

MOST_PIXELS: Final = 1280 * 28 * 28
"""Of a picture for a model that takes any number of them (Qwen-VL): the upper end of the range that its model card
calls a balance of speed and memory, 1,280 tokens. Its own limit is sixteen times as much, which a photo reaches."""

_LONGEST_KEPT: Final = 200
"""Sides that a picture may be long for such a model: of longer ones its processor makes an error."""

_BILLION: Final = 1_000_000_000


def default_batch(parameters: int, place: Place, *, split: bool) -> int:
    """Pictures in one batch. ``split``: each comes as a dozen views.

    A 256M SmolVLM on 2 cores takes 3.7 s alone, 1.5 s an image at 4 and 1.2 s at 8. A pause waits for the batch to end,
    so larger models get smaller ones there.
    """
    if place.accelerated:
        batch = 32 if parameters < _BILLION else 16 if parameters < 4 * _BILLION else 8
    else:
        batch = 8 if parameters < 0.4 * _BILLION else 4 if parameters < 0.8 * _BILLION else 1
    return max(1, batch // 8) if split else batch


class Prompted:
    """From a picture to a model's inputs: the prompt in the chat template, and the views of the picture.

    Without a prompt it is the picture alone, for a model that writes unasked.
    """

    def __init__(self, processor: Any, prompt: str, place: Place, refuse: Refusal, *, exact: bool) -> None:
        images = processor.image_processor
        self.splits = hasattr(images, "do_image_splitting")
        self._options: dict[str, Any] = {}
        if self.splits and not exact:
            # One view of the whole picture: a photo of 12 megapixels has 17 otherwise, and takes ten times as long.
            # Without the size, the picture would be enlarged to four sides of a view before it is made into one.
            self._options = {"do_image_splitting": False, "size": dict(images.max_image_size)}
        elif not exact and (pixels := pixel_limits(images)):
            self._options = {"size": {name: min(limit, MOST_PIXELS) for name, limit in pixels.items()}}
        self.want = 0 if exact else self._want(images)
        self._longest = 0  # sides of a picture; 0: any number
        if getattr(images, "do_center_crop", False):
            self._longest = LONGEST
        elif pixel_limits(images):
            self._longest = _LONGEST_KEPT
        self._half = place.dtype != "float32"
        self._processor = processor
        self._texts = {"text": [_templated(processor, prompt, refuse)]} if prompt else {}
        self._local = threading.local()

    def __call__(self, picture: Image.Image) -> dict[str, Any]:
        """Numpy arrays whose first dimension is 1 (or counts the views or patches of this picture)."""
        processor = getattr(self._local, "processor", None)
        if processor is None:  # a tokenizer may not be called by two threads at once
            processor = self._local.processor = copy.deepcopy(self._processor)
        if self._longest:
            picture = middle(picture, self._longest)
        inputs = processor(images=[picture], **self._texts, return_tensors="np", **self._options)
        return slim(dict(inputs), half=self._half)

    def _want(self, images: Any) -> int:
        if not self._options:
            return want_of(images)
        longest = int(self._options["size"]["longest_edge"])
        return longest if self.splits else int(longest**0.5) + 1


class Describer(Runner):
    """Answers a ``describe`` step. ``settings``: ``max_tokens``, ``temperature`` (0: the likeliest token), ``seed``."""

    def __init__(self, step: Step, model: Any, processor: Any, place: Place, parameters: int, refuse: Refusal) -> None:
        spec: dict[str, Any] = step.spec
        exact = bool(spec.get("exact"))
        self._prompted = Prompted(processor, spec["prompt"], place, refuse, exact=exact)
        self.mask = 1 << step.bit
        self.want = self._prompted.want
        self.batch = default_batch(parameters, place, split=self._prompted.splits and exact)
        self._bit = step.bit
        self._draining = False
        self._model, self._tokenizer, self._place = model, processor.tokenizer, place
        self._max_tokens = int(spec["max_tokens"])
        self._temperature, self._seed = float(spec["temperature"]), int(spec["seed"])
        self._ends = _end_tokens(model, processor.tokenizer)
        pad = processor.tokenizer.pad_token_id
        self._pad = int(min(self._ends, default=0) if pad is None else pad)
        self._tokens = {"pad_token_id": self._pad, "eos_token_id": sorted(self._ends) or None}
        if model.config.model_type == "blip":  # its ``generate`` names them itself, and takes them from nobody
            self._tokens = {}

    def prepare(self, view: Image.Image, bodies: Bodies) -> Any:
        return self._prompted(view)

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """What is fine comes first; what is odd is written once more, by sampling with another seed, or goes back when
        the worker is to end."""
        first = list(self._write(prepared, self._temperature, self._seed))
        again = [at for at, (_, what) in enumerate(first) if what]
        for at, (text, what) in enumerate(first):
            if not what:
                yield at, self._answer(text, what)
        if again and not self._draining:
            temperature = self._temperature or TRY_TEMPERATURE
            seconds = self._write([prepared[at] for at in again], temperature, self._seed + 1)
            for at, second in zip(again, seconds, strict=True):
                # What was asked for is kept, unless the other attempt is better.
                text, what = second if worse(first[at][1], second[1]) else first[at]
                yield at, self._answer(text, what)

    def drain(self) -> None:
        self._draining = True

    def _answer(self, text: str, what: Odd) -> Answer:
        return {self._bit: StepResult(self._bit, msgspec.json.encode({"description": text}), flag=what)}

    def _write(self, prepared: Sequence[Any], temperature: float, seed: int) -> Iterable[tuple[str, Odd]]:
        """A text for each picture, and what is odd about it."""
        import torch

        inputs = collate(prepared, self._pad)
        sampling = [sampler(temperature, seed)] if temperature > 0 else []
        with torch.inference_mode():
            written = self._model.generate(
                **to_place(inputs, self._place),
                max_new_tokens=self._max_tokens,
                do_sample=False,
                num_beams=1,
                logits_processor=sampling,
                **self._tokens,
            )
        if "input_ids" in inputs and not self._model.config.is_encoder_decoder:
            written = written[:, inputs["input_ids"].shape[1] :]
        return [self._read(tokens) for tokens in written.tolist()]

    def _read(self, tokens: list[int]) -> tuple[str, Odd]:
        end = next((at for at, token in enumerate(tokens) if token in self._ends), None)
        # Special tokens are left out of the text, so an end that is one too; one that is a word belongs to it.
        upto = None if end is None else end + 1
        text = self._tokenizer.decode(tokens[:upto], skip_special_tokens=True).strip()
        return text, odd(text, ended=end is not None)


def collate(prepared: Sequence[dict[str, Any]], pad: int) -> dict[str, Any]:
    """The inputs of several pictures as one batch of tensors.

    What runs along the tokens is padded on the left, where generation does not see it (``pad`` for the ids, 0 for
    masks and types). The rest is put one after the other; where its inner sizes differ (more views of one picture than
    of another) it is filled with zeros, which these models know as no view.
    """
    import numpy
    import torch

    batch = {}
    for name in prepared[0]:
        parts = [one[name] for one in prepared]
        along_tokens = "input_ids" in prepared[0] and all(one[name].shape == one["input_ids"].shape for one in prepared)
        if along_tokens:
            longest = max(part.shape[1] for part in parts)
            fill = pad if name == "input_ids" else 0
            parts = [numpy.pad(part, ((0, 0), (longest - part.shape[1], 0)), constant_values=fill) for part in parts]
        elif parts[0].ndim > 1 and len({part.shape[1:] for part in parts}) > 1:
            inner = numpy.max([part.shape[1:] for part in parts], axis=0)
            parts = [
                numpy.pad(part, [(0, 0), *((0, most - size) for most, size in zip(inner, part.shape[1:], strict=True))])
                for part in parts
            ]
        batch[name] = torch.from_numpy(numpy.concatenate(parts))
    return batch


def _templated(processor: Any, prompt: str, refuse: Refusal) -> str:
    """The conversation up to where the model goes on. Raises ``Misconfigured``."""
    template = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)
    if not template:
        raise refuse("it has no chat template, so there is no way to ask it", "Choose a model that was made for chat")
    conversation = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
    try:
        return str(processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))
    except Exception as error:
        raise refuse(f"its chat template fails: {error}", "Choose another model") from None


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a text, as the model's own settings name them; else the tokenizer's."""
    if model.config.model_type == "blip":
        return frozenset((int(model.config.text_config.sep_token_id),))
    said = model.generation_config.eos_token_id
    if said is None:
        said = tokenizer.eos_token_id
    return frozenset(said if isinstance(said, list) else [] if said is None else [said])
