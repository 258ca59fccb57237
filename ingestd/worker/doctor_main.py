"""The models looker, a child of ``doctor``: are these models whole on this machine? Loads nothing, fetches nothing.

``python -m ingestd.worker.doctor_main --fd N --parent PID``. Answers come as they are known: a slow endpoint is last.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio

from ingestd import paths
from ingestd.child import run_child
from ingestd.child_channel import Channel
from ingestd.errors import IngestError, ProtocolError
from ingestd.protocol.addresses.endpoint_url import PREFIX, parse
from ingestd.protocol.doctor import LookAtModels, Looked, ModelAsk, ToLooker
from ingestd.protocol.work import Finish
from ingestd.worker.models import builtin, minilm
from ingestd.worker.models.hub.names import Wanted, known, read_name, short_names
from ingestd.worker.models.hub.store import Store, size_of, what_is_wrong
from ingestd.worker.models.transformers_ import device
from ingestd.worker.models.transformers_.folder import Refusal, need_image_processor, need_tokenizer, open_folder
from ingestd.worker.sandbox import hub_cache

_TRUE: Final = ("1", "on", "yes", "true")
"""What the hub's library takes for yes in its variables."""


def main(channel: Channel[Any]) -> None:
    """Answer one request."""
    match channel.receive():
        case LookAtModels(asks):
            slow = []
            for index, ask in enumerate(asks):
                if ask.model.startswith(PREFIX):
                    slow.append((index, ask))
                else:
                    channel.send(looked(index, ask, _on_this_machine))
            for index, ask in slow:
                channel.send(looked(index, ask, _endpoint))
        case Finish():
            pass
        case other:
            raise ProtocolError(f"the models looker's first message was {type(other).__name__}")


def looked(index: int, ask: ModelAsk, look: Callable[[int, ModelAsk], Looked]) -> Looked:
    """What ``look`` finds, or its error as a failure."""
    try:
        return look(index, ask)
    except IngestError as error:
        return Looked(index, "fail", error.message, error.remedy)
    except OSError as error:
        return Looked(index, "fail", f"{error.filename}: {error.strerror}", "Check its permissions and its disk")


def _on_this_machine(index: int, ask: ModelAsk) -> Looked:
    if ask.model == builtin.NAME:
        return _builtin(index, ask)
    folder = Path(ask.folder) if ask.folder else None
    if folder is None or (ask.hub_id and not folder.is_dir()):
        wanted = read_name(f"{ask.hub_id}@{ask.revision}" if ask.hub_id else ask.model)
        if isinstance(wanted, Wanted):
            store = Store(Path(hub_cache(os.environ)), paths.places().state / "models")
            here = store.here(wanted)
            if here is None:
                return _not_here(index, ask, store, wanted)
            wanted = here[0]
        folder = wanted
    return _folder(index, ask, folder)


def _builtin(index: int, ask: ModelAsk) -> Looked:
    refuse = Refusal(ask.kind, ask.model)
    files = [minilm.weights()]
    open_folder(minilm.folder(), refuse)
    if ask.kind != "embed_text":
        files.append(builtin.weights_file())
    total = 0
    for file in files:
        if not (length := size_of(file)):
            raise refuse(f"{file} is missing", "Install ingestd again: pip install --force-reinstall ingestd")
        total += length
    memory = int(device.weights_memory(total // device.BYTES["float32"], "float32"))
    return Looked(index, "ok", f"whole, {_mb(total)}, ships with ingestd", "", memory, device.LIBRARIES)


def _folder(index: int, ask: ModelAsk, path: Path) -> Looked:
    refuse = Refusal(ask.kind, ask.model)
    if not path.is_dir():
        raise refuse(f"there is no folder {path}", "Bring it back, or mount the disk that holds it")
    folder = open_folder(path, refuse)
    need_tokenizer(folder, refuse)
    if ask.kind != "embed_text":
        need_image_processor(folder, refuse)
    total = sum(size_of(file) or 0 for file in folder.weights)
    place = device.guess(ask.machine.device, exact=ask.exact)
    where = f"whole, {_mb(total)}, in {path}"
    if place is None:
        return Looked(index, "ok", f"{where}; whether the GPU holds it, --load tells")
    memory = int(device.weights_memory(folder.parameters, place.dtype))
    return Looked(index, "ok", f"{where}, runs in {place.dtype}", "", memory, device.LIBRARIES)


def _not_here(index: int, ask: ModelAsk, store: Store, wanted: Wanted) -> Looked:
    commit = store.commit(wanted)
    there = store.snapshot(wanted.hub_id, commit) if commit else None
    wrong = what_is_wrong(there) if there is not None and there.is_dir() else None
    partial = store.partial_bytes(wanted.hub_id)
    told = f"it is not whole on this machine: {wrong}" if wrong else "it is not on this machine"
    if partial:
        told += f", {_mb(partial)} of it are fetched"
    pull = f"ingestctl models pull {wanted.typed}"
    if ask.hub_id:  # a worker has no network: what a job was resolved to must be here
        return Looked(index, "fail", told, f"Bring it back: {pull}")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
        return Looked(index, "fail", f"{told}, and HF_HUB_OFFLINE forbids fetching it", f"Unset HF_HUB_OFFLINE; {pull}")
    about = next((known(name).about for name in short_names() if known(name).hub_id == wanted.hub_id), None)
    size = f" (about {_mb(about)})" if about else ""
    return Looked(index, "warn", f"{told}: the job fetches it first{size}", f"Have it beforehand: {pull}")


def _endpoint(index: int, ask: ModelAsk) -> Looked:
    from ingestd.worker.models.openai_.http_client import Client
    from ingestd.worker.models.openai_.keys import read_key
    from ingestd.worker.models.openai_.patience import Patience
    from ingestd.worker.models.openai_.provider import choose

    endpoint = parse(ask.model)
    key = read_key(ask.machine, endpoint, os.environ)

    async def served() -> list[str]:
        async with Client(endpoint, key, 1, Patience(0.2, 0.5, 1.0, 4.0, 3.0)) as client:
            return await client.served()

    name = choose(endpoint, anyio.run(served))
    return Looked(index, "ok", f"{endpoint.base} answers and serves {name}")


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


if __name__ == "__main__":
    run_child("models looker", ToLooker, main)
