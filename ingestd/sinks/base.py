"""What a sink is: it stands at a cursor, takes pages of records, and says when they are durable.

The follower (``follow``) reads the feed and calls a sink from one thread, in this order::

    open(cursor) ▸ deliver(page) ▸ deliver(page) ▸ …            search(…) between any two calls
      nothing left, or about to close ▸ caught_up()
      any Unavailable ▸ wait ▸ open(…) again if the sink is no longer ``opened`` ▸ deliver(the same page) ▸ …

Delivery is at least once: after a death, a page that was durable already may come again. Records carry whole current
states and are written by key, so the effect is exactly once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, Literal, NamedTuple

from ingestd.errors import Misconfigured, Unavailable
from ingestd.kinds.sinks import OURS, SinkKind
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Hit, Search, SinkSetup
from ingestd.protocol.work import Step


class Cursor(NamedTuple):
    """Everything up to ``seq`` is in the place; ``token`` is the sink's own evidence of it ("" for a new sink)."""

    seq: int
    token: str


class Checked(NamedTuple):
    """What a kind's check found, a function ``check(setup, served)`` in the module that its declaration names.

    It changes nothing that is there and answers within seconds. ``served``: a daemon runs and may hold the place. It
    may raise ``IngestError`` instead, which is a failure. ``remedy`` is empty where nothing is to do.
    """

    level: Literal["ok", "warn", "fail"]
    finding: str
    remedy: str = ""


class AskedToWait(Unavailable):
    """The place asks for a pause of ``seconds`` (0: it does not say how long); nothing there is in doubt."""

    def __init__(self, message: str, *, operation: str, object: str, remedy: str, seconds: float) -> None:
        super().__init__(message, operation=operation, object=object, remedy=remedy)
        self.seconds = seconds


class Sink(ABC):
    """One place that results go to. It is made with a ``SinkSetup`` and touches nothing before ``open``.

    ``max_paths`` bounds the paths of the records it is given (None: all). ``opened`` is false before ``open``, after
    ``close``, and after an error that left the place in doubt: the follower then opens it again.
    """

    max_paths: ClassVar[int | None] = None
    opened: bool = False

    @abstractmethod
    def open(self, cursor: Cursor) -> Cursor:
        """Take the place for this process alone; return where it truly stands, never after ``cursor``.

        What lies there beyond ``cursor`` is dropped or will be overwritten. What does not belong to ``cursor`` is
        moved aside, and the answer is seq 0. Raises ``Unavailable`` (it may come right by itself) or
        ``Misconfigured`` (a person must change something).
        """

    @abstractmethod
    def deliver(self, page: Sequence[Record]) -> str:
        """Write each record's state (upsert, or delete by key); return the token for the last record's ``seq``.

        Keys are unique within a page and ``seq`` rises. It returns when all of it is durable. Raises ``Unavailable``:
        nothing is reported then, and the same page comes again.
        """

    def caught_up(self) -> None:  # noqa: B027  (most sinks have nothing to do then)
        """The feed held nothing more when it was last read, or the sink is about to be closed: undo what was set for a
        bulk load.

        It is called each time, also after ``open`` alone, so it must cost nothing when nothing is to do. Raises
        ``Unavailable``: it is called again after the wait.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the place. What was delivered stays durable; calling it twice is no error."""

    def search(self, ask: Search) -> list[Hit]:
        """The points nearest to ``ask.vector`` by cosine, best first. Raises ``ValueError`` with a sentence."""
        raise ValueError("this sink keeps no vectors, so it cannot be searched")


def dimensions(steps: Sequence[Step]) -> dict[str, int]:
    """The vectors that a recipe makes: a step's name → the dimension in its spec."""
    return {step.name: dim for step in steps if isinstance(dim := step.spec.get("dim"), int)}


def check_query(ask: Search, vectors: Mapping[str, int]) -> None:
    """Raises ``ValueError`` when no vector of a store (name → dimension) can be compared with the query."""
    dim = vectors.get(ask.vector_name)
    if dim is None:
        raise ValueError(f"this store has no vectors named '{ask.vector_name}'")
    if len(ask.vector) != 4 * dim:
        raise ValueError(f"the query has {len(ask.vector) // 4} dimensions, the store's vectors have {dim}")


def make(setup: SinkSetup) -> Sink:
    """The sink of the kind that ``setup`` declares; its module is imported here and nowhere else.

    Raises ``Misconfigured`` for a kind without a declaration, and for one whose code cannot be loaded.
    """
    kind = setup.declaration
    if kind is None:
        raise Misconfigured(
            "there is no sink of this kind", operation="open the sink", object=setup.kind,
            remedy="Install the package that has it; ingestctl doctor shows what is there",
        )  # fmt: skip
    return load(kind)(setup)  # type: ignore[call-arg]


def load(kind: SinkKind) -> type[Sink]:
    """The class that a declaration names. Raises ``Misconfigured``."""
    module, _, name = kind.module.partition(":")
    found = loaded(kind, module, name)
    if not (isinstance(found, type) and issubclass(found, Sink)):
        raise _unusable(kind, f"{kind.module} is no sink")
    return found


def loaded(kind: SinkKind, module: str, name: str) -> Any:
    """Something of a kind's code by its name. Raises ``Misconfigured``, in words, where it cannot be imported."""
    try:
        return getattr(import_module(module), name)
    except Exception as error:
        if kind.package == OURS:
            raise
        raise _unusable(kind, f"{module} cannot be loaded: {type(error).__name__}: {error}"[:500]) from error


def _unusable(kind: SinkKind, message: str) -> Misconfigured:
    return Misconfigured(
        message, operation="open the sink", object=kind.name,
        remedy=f"Install the package {kind.package} again, or tell those who make it",
    )  # fmt: skip
