"""What a step is to a worker: it is prepared in reader threads, and answered in batches on the main thread.

A *provider* resolves requests to steps, loads the steps that are its own, and encodes queries; a module that has one as
``PROVIDER`` is all that a package with a step of its own needs beside the declaration (``kinds.steps``). A *runner* is
what it loads: one network, or several that share a forward pass, answering one or more steps.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from PIL import Image

from ingestd.errors import ItemError, Misconfigured
from ingestd.protocol.work import Machine, Step, StepRequest, StepResult

Answer = dict[int, StepResult | ItemError]
"""What a runner made of one item: by step bit, a result or why there is none."""

Bodies = Mapping[str, Mapping[str, Any]]
"""Results of an item that other steps read: by the step's name, its body as JSON's types."""

Tell = Callable[[str, int, int], None]
"""Hears how far the fetching of a model has got: its name, bytes that are here, bytes in all (0: not known)."""


class Runner(ABC):
    """Something loaded that answers the steps in ``mask``.

    ``want`` is the shorter side in pixels of the picture that ``prepare`` needs (0: full size; of a text it means
    nothing); it may get a larger one. None: it looks at other steps' results alone. ``needs`` are the names of those
    steps, set by the registry. ``batch`` is how many items ``run`` is best given at once; the pipeline halves it when
    memory runs out.
    """

    mask: int
    want: int | None
    batch: int
    needs: tuple[str, ...] = ()

    @abstractmethod
    def prepare(self, view: Any, bodies: Bodies) -> Any:
        """From what the medium gives (an upright RGB picture, a text; None where ``want`` is None) and the results of
        ``needs`` to what ``run`` takes, as small as can be: a window of these waits in memory.

        Called in reader threads, several at once, and on the main thread. An exception is this item's failure.
        """

    @abstractmethod
    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        """One forward pass over at most ``batch`` items; ``asked[i]`` is the mask of steps to answer for each.

        Gives each item's index with its answer, in any order and as soon as it is known; an answer holds exactly
        the bits asked for. An exception fails the items that have no answer yet: the pipeline then finds the culprit
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


class StepProvider(ABC):
    """Makes the kinds of steps in ``kinds``. Those of ingestd are found by the name of a request's model."""

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

    def encoder(self, step: Step, machine: Machine) -> Encoder:
        """Load what encodes queries for this step, where its kind makes vectors. Raises ``Misconfigured``."""
        raise Misconfigured(
            "it makes no vectors", operation="search by", object=f"the step {step.name or step.kind}",
            remedy="Search by a step that embeds",
        )  # fmt: skip

    @abstractmethod
    def provenance(self, request: StepRequest, machine: Machine) -> dict[str, object]:
        """Versions, device and dtype: recorded with a resolved step, never part of its fingerprint."""


def description_in(bodies: Bodies) -> str:
    """The description that a step of text works on: of the first step in ``bodies`` that has one.

    Raises ``ItemError`` when there is none.
    """
    for body in bodies.values():
        if isinstance(text := body.get("description"), str):
            return text
    raise ItemError("model", "there is no description to work on", stage="model")


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
