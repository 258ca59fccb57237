"""``models list|pull|remove`` without a daemon: a child does it, and its messages become JSON lines.

The ledger is only looked at, for the jobs that use a model which is to be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import msgspec

from ingestd.errors import EXIT_ERROR, EXIT_TEMPORARY, EXIT_USAGE, IngestError, Misconfigured
from ingestd.executors.base import ChildSpec, Ending
from ingestd.executors.spawn import SpawnExecutor
from ingestd.ledger.report import JobFacts
from ingestd.protocol import models, work

ACTIVE: Final = ("queued", "running", "waiting", "paused")

_CHILD: Final = ChildSpec("ingestd.worker.models_main", "models", models.ToModels, models.FromModels, online=True)

_LINES: Final[dict[type[Any], str]] = {
    models.Models: "models",
    models.Planned: "planned",
    work.Fetching: "fetching",
    models.Pulled: "pulled",
    models.Removed: "removed",
}
"""The name under which each message of the child is printed."""


def run(words: Sequence[str], jobs: Callable[[], list[JobFacts]], say: Callable[[object], None]) -> int:
    """``list``, ``pull NAME`` or ``remove NAME [force]``: a line ``{"planned": {…}}`` for each message; the exit code.

    Raises ``IngestError``.
    """
    match list(words):
        case ["list"]:
            request: models.ListModels | models.PullModel | models.RemoveModel = models.ListModels()
        case ["pull", name]:
            request = models.PullModel(name)
        case ["remove", name, *rest] if rest in ([], ["force"]):
            request = models.RemoveModel(name, _uses(jobs, forced=bool(rest)), bool(rest))
        case _:
            raise Misconfigured(
                f"{list(words)} are no words for it",
                operation="answer",
                object="the verb models",
                remedy="Call it through ingestctl models list, pull NAME or remove NAME",
                exit=EXIT_USAGE,
            )
    ending = anyio.run(_ask, request, say, backend="asyncio")
    if ending.fatal is not None:
        raise _error(ending.fatal)
    if not ending.clean:
        raise _ended(ending.cause())
    return 0


def _ended(why: str) -> IngestError:
    return IngestError(
        f"its process ended: {why}", operation="ask for", object="models", remedy="Try again; what has come stays"
    )


async def _ask(request: msgspec.Struct, say: Callable[[object], None]) -> Ending:
    """Print what the child answers, as it comes; how it ended. It ends with this call.

    Raises ``IngestError`` for an answer that was not asked for, also of a child that has ended well since.
    """
    unexpected: list[str] = []
    endings: list[Ending] = []
    ended = anyio.Event()

    def hear(messages: list[Any]) -> None:
        for message in messages:
            if kind := _LINES.get(type(message)):
                say({kind: msgspec.structs.asdict(message) | _rows(message)})
            else:
                unexpected.append(f"it answered with {type(message).__name__}, which was not asked for")
                child.kill(unexpected[0])

    def end(ending: Ending) -> None:
        endings.append(ending)
        ended.set()

    async with anyio.create_task_group() as tasks:
        child = SpawnExecutor(tasks).start(_CHILD, hear, end)
        child.send(request)
        try:
            await ended.wait()
        finally:
            child.kill()
            tasks.cancel_scope.cancel()  # it does not wait for what the kernel holds
    if unexpected:
        raise _ended(unexpected[0])
    return endings[0]


def _uses(jobs: Callable[[], list[JobFacts]], *, forced: bool) -> list[models.ModelUse]:
    """Which job was asked for with which models. Raises ``IngestError`` for a ledger that cannot be read."""
    try:
        rows = [facts.row for facts in jobs()]
    except IngestError:
        if forced:
            return []
        raise
    return [models.ModelUse(row.name, row.status in ACTIVE, [ask.model for ask in row.spec.steps]) for row in rows]


def _rows(message: Any) -> dict[str, object]:
    """Rows are arrays on the wire; a person's script wants names."""
    if not isinstance(message, models.Models):
        return {}
    return {"models": [msgspec.structs.asdict(row) for row in message.models]}


def _error(fatal: work.Fatal) -> IngestError:
    code = EXIT_TEMPORARY if fatal.kind == "unavailable" else EXIT_ERROR
    return IngestError(fatal.message, operation=fatal.operation, object=fatal.object, remedy=fatal.remedy, exit=code)
