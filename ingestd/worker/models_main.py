"""The models child: lists, fetches and removes models, by its first message. Beside a daemon or without one.

``python -m ingestd.worker.models_main --fd N --parent PID``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingestd.child import run_child
from ingestd.child_channel import Channel
from ingestd.errors import Misconfigured, ProtocolError
from ingestd.protocol.models import ListModels, Models, Planned, Pulled, PullModel, RemoveModel, ToModels
from ingestd.protocol.work import Fetching, Finish
from ingestd.worker.models.hub import shelf
from ingestd.worker.models.hub.fetch import Hub
from ingestd.worker.models.hub.names import read_name


def main(channel: Channel[Any]) -> None:
    """Answer one request. Raises ``Misconfigured`` and ``Unavailable``; ``ProtocolError`` for a wrong first message."""
    match channel.receive():
        case ListModels():
            store = Hub.from_environment().store
            channel.send(Models(shelf.rows(store), str(store.cache)))
        case PullModel(model):
            _pull(channel, model)
        case RemoveModel(model, uses, force):
            _refuse_others(model, "remove")
            channel.send(shelf.remove(Hub.from_environment().store, model, uses, force=force))
        case Finish():
            pass
        case other:
            raise ProtocolError(f"the models child's first message was {type(other).__name__}")


def _pull(channel: Channel[Any], model: str) -> None:
    def tell(name: str, done: int, total: int) -> None:
        channel.send(Fetching(name, done, total))

    _refuse_others(model, "fetch")
    wanted = read_name(model)
    if isinstance(wanted, Path):
        raise Misconfigured(
            "it is a folder, and is used where it lies",
            operation="fetch",
            object=f"the model {model!r}",
            remedy="Name it in a job: ingestctl start SOURCE --embed FOLDER, or --describe FOLDER",
        )
    hub = Hub.from_environment()
    fetched = 0
    found = hub.here(wanted)
    if found is None:
        plan = hub.plan(wanted, tell)
        commit, cache = plan.listing.commit, str(hub.store.cache)
        channel.send(Planned(model, wanted.hub_id, commit, cache, plan.total, plan.here, plan.free))
        found = hub.fetch(plan, tell)
        fetched = plan.total - plan.here
    channel.send(Pulled(model, found.hub_id, found.revision, str(found.folder), fetched))


def _refuse_others(model: str, operation: str) -> None:
    """What is no model of a hub has nothing to fetch or to remove."""
    if model == "builtin" or model.startswith("openai:"):
        why = "it ships with ingestd" if model == "builtin" else "an endpoint's models are the endpoint's own"
        raise Misconfigured(
            why,
            operation=operation,
            object=f"the model {model!r}",
            remedy="Name it in a job as it is: there is nothing to do before",
        )


if __name__ == "__main__":
    run_child("models", ToModels, main)
