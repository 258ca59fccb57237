"""What a model is to the pipeline: it prepares pictures in reader threads, and answers batches on the main thread.

A *family* is an entry of the registry: it resolves requests to steps, loads the steps that are its own, and encodes
queries. A *runner* is what it loads: one network, or several that share a forward pass, answering one or more steps.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from PIL import Image

from ingestd.errors import ItemError
from ingestd.protocol.work import Step, StepRequest, StepResult

Answer = dict[int, StepResult | ItemError]
"""What a runner made of one picture: by step bit, a result or why there is none."""


class Runner(ABC):
    """A loaded model that answers the steps in ``mask``.

    ``want`` is the shorter side in pixels of the picture that ``prepare`` needs (0: full size); it may get a larger
    one. ``batch`` is how many pictures ``run`` is best given at once; the pipeline halves it when memory runs out.
    """

    mask: int
    want: int
    batch: int

    @abstractmethod
    def prepare(self, image: Image.Image) -> Any:
        """From an upright RGB picture to what ``run`` takes, as small as can be: a window of these waits in memory.

        Called in reader threads, several at once. An exception is this picture's failure.
        """

    @abstractmethod
    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> list[Answer]:
        """One forward pass over at most ``batch`` pictures; ``asked[i]`` is the mask of steps to answer for each.

        Returns one answer per picture, holding exactly the bits asked for. An exception fails the whole batch: the
        pipeline then finds the culprit by running them one by one, or makes the batch smaller when memory ran out.
        """


class Encoder(ABC):
    """Turns query text into a vector that is compared with an ``embed`` step's by cosine."""

    @abstractmethod
    def encode(self, text: str) -> bytes:
        """Little-endian float32, L2-normalised, of the step's dimension."""


class Family(ABC):
    """One way to come by models, found in the registry by the model name of a request."""

    kinds: ClassVar[frozenset[str]]

    @abstractmethod
    def resolve(self, request: StepRequest, cache: Path) -> Step:
        """What the request means on this machine; may compute and keep derived files in ``cache``.

        ``bit`` and ``pass_`` are left 0. Raises ``Misconfigured``.
        """

    @abstractmethod
    def load(self, steps: Sequence[Step], cache: Path, threads: int) -> list[Runner]:
        """Load what answers these steps. ``threads`` is for the forward pass. Raises ``Misconfigured``."""

    @abstractmethod
    def encoder(self, step: Step, cache: Path) -> Encoder:
        """Load what encodes queries for this ``embed`` step. Raises ``Misconfigured``."""

    @abstractmethod
    def provenance(self) -> dict[str, object]:
        """Versions and the device: recorded with a step, never part of its fingerprint."""


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
