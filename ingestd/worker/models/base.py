"""What a model is to the pipeline: it prepares pictures in reader threads, and answers batches on the main thread.

A *family* is an entry of the registry: it resolves requests to steps, loads the steps that are its own, and encodes
queries. A *runner* is what it loads: one network, or several that share a forward pass, answering one or more steps.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from PIL import Image

from ingestd.errors import ItemError
from ingestd.protocol.work import Machine, Step, StepRequest, StepResult

Answer = dict[int, StepResult | ItemError]
"""What a runner made of one picture: by step bit, a result or why there is none."""

Tell = Callable[[str, int, int], None]
"""Hears how far the fetching of a model has got: its name, bytes that are here, bytes in all (0: not known)."""


class Runner(ABC):
    """A loaded model that answers the steps in ``mask``.

    ``reads`` is None for a model of pictures. For a model of text it is the bit of the step whose description it takes:
    ``prepare`` then gets that text. ``want`` is the shorter side in pixels of the picture that ``prepare`` needs (0:
    full size); it may get a larger one. ``batch`` is how many pictures ``run`` is best given at once; the pipeline
    halves it when memory runs out.
    """

    mask: int
    want: int
    batch: int
    reads: int | None = None

    @abstractmethod
    def prepare(self, source: Any) -> Any:
        """From an upright RGB picture (or a text, see ``reads``) to what ``run`` takes, as small as can be: a window of
        these waits in memory.

        Called in reader threads, several at once. An exception is this picture's failure.
        """

    @abstractmethod
    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        """One forward pass over at most ``batch`` pictures; ``asked[i]`` is the mask of steps to answer for each.

        Gives each picture's index with its answer, in any order and as soon as it is known; an answer holds exactly
        the bits asked for. An exception fails the pictures that have no answer yet: the pipeline then finds the culprit
        by running them one by one, or makes the batch smaller when memory ran out. ``Unavailable`` and
        ``Misconfigured`` end the worker: the job waits, or fails, and the items go back. After ``drain`` those that
        were not begun may be left without an answer: they go back too.
        """

    def drain(self) -> None:  # noqa: B027 - most batches end soon: nothing to do is the common case
        """The worker is to end soon. Called from another thread, maybe during ``run``.

        For a model whose batch takes long: finish what is under way, begin nothing more.
        """


class Encoder(ABC):
    """Turns query text into a vector that is compared with an ``embed`` step's by cosine."""

    want: int = 0
    """The shorter side in pixels of the picture that ``encode_image`` needs (0: full size)."""

    @abstractmethod
    def encode(self, text: str) -> bytes:
        """Little-endian float32, L2-normalised, of the step's dimension."""

    def encode_image(self, image: Image.Image) -> bytes:
        """The same for an upright RGB picture. Raises ``ValueError`` in a sentence where vectors are of text alone."""
        raise ValueError("its vectors are of text: search it with words")


class Family(ABC):
    """One way to come by models, found in the registry by the model name of a request."""

    kinds: ClassVar[frozenset[str]]

    @abstractmethod
    def resolve(self, request: StepRequest, machine: Machine, tell: Tell) -> Step:
        """What the request means on this machine; may fetch a model, and compute and keep derived files.

        ``spec["model"]`` is the model as typed, by which the family is found again. ``bit`` and ``pass_`` are left 0.
        Raises ``Misconfigured``, or ``Unavailable`` for what may come right by itself.
        """

    @abstractmethod
    def load(self, steps: Sequence[Step], machine: Machine) -> list[Runner]:
        """Load what answers these steps. Raises ``Misconfigured``."""

    @abstractmethod
    def encoder(self, step: Step, machine: Machine) -> Encoder:
        """Load what encodes queries for this step with vectors. Raises ``Misconfigured``."""

    @abstractmethod
    def provenance(self, request: StepRequest, machine: Machine) -> dict[str, object]:
        """Versions, device and dtype: recorded with a resolved step, never part of its fingerprint."""


def description_of(body: bytes) -> str:
    """The text in a ``describe`` step's body."""
    text: str = msgspec.json.decode(body, type=dict)["description"]
    return text


def flagged(result: StepResult) -> StepResult:
    """A result with its flag in its body, as ``odd``, where the ledger counts it and sinks show it."""
    if not result.flag:
        return result
    body = msgspec.json.decode(result.body, type=dict) | {"odd": result.flag}
    return msgspec.structs.replace(result, body=msgspec.json.encode(body))


def fingerprint(what: dict[str, object]) -> str:
    """sha256 (hex) over the canonical JSON of what decides a step's results."""
    return hashlib.sha256(msgspec.json.encode(what, order="sorted")).hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def out_of_memory(error: BaseException) -> bool:
    """Whether this is memory running out, in any of the forms that torch gives it."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text))
    )
