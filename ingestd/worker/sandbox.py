"""What a worker may touch, by its first message: its job's sources, its models, a folder for what it derives from them.

Nothing else of this room is imported: the lock falls before any library is loaded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ingestd import paths
from ingestd.errors import Misconfigured
from ingestd.kinds.steps import ON
from ingestd.lockdown import DNS, Access
from ingestd.lockdown.environment import may_fetch, port_of, proxy_ports
from ingestd.lockdown.limits import patience
from ingestd.protocol.addresses import endpoint_url
from ingestd.protocol.work import EncodeSetup, Machine, Probe, Step, StepRequest, WorkerSetup
from ingestd.worker.usage import cores

EVERYTHING: Final = (b"/",)

_STALE_S: Final = 86_400


def access(message: object) -> Access | None:
    """What the work needs that this first message asks for."""
    match message:
        case Probe(requests, machine):
            # It fetches models and fills caches (Python's compiled modules among them), and sees nobody's pictures.
            _scratch(machine)
            models = [request.model for request in requests if request.model != ON]
            ports = None if may_fetch(models) else (*_ports(models), *_declared(requests))
            return Access(anywhere=True, ports=ports)
        case WorkerSetup(steps, machine, sources):
            asked = _ports(_models(steps))
            keys = (os.fsencode(machine.key_file),) if asked and machine.key_file else ()
            read = (*sources, *_model_places(steps), *keys)
            seconds = patience((_tokens(step) for step in steps), cores())
            ports = (*asked, *_declared(steps))
            return Access(read, _scratch(machine), ports=ports, cpu_s=seconds, short=True)
        case EncodeSetup(_, machine):
            # A query may be any picture that the daemon's user can read; no network, and nothing is written.
            return Access(EVERYTHING, _scratch(machine), cpu_s=patience((), cores()), short=True)
        case _:
            return Access()


def _declared(steps: Iterable[Step | StepRequest]) -> list[int]:
    """The ports that the kinds of these steps declare."""
    return sorted({port for step in steps for port in step.ports})


def _models(steps: Iterable[Step]) -> list[str]:
    return [str(step.spec.get("model", "")) for step in steps]


def _tokens(step: Step) -> int:
    found: Any = step.spec.get("max_tokens")
    return int(found) if isinstance(found, int) else 0


def _scratch(machine: Machine) -> tuple[bytes, ...]:
    """The folder for derived files, with one for temporary ones in it, both made if they are not there."""
    if not machine.cache:
        return ()
    temporary = Path(machine.cache) / "tmp"
    with suppress(OSError):
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in temporary.iterdir():  # by a worker that was killed
            if left.lstat().st_mtime < time.time() - _STALE_S and not left.is_dir():
                left.unlink()
        os.environ["TMPDIR"] = str(temporary)
    return (os.fsencode(machine.cache),)


def _model_places(steps: Iterable[Step]) -> Iterator[bytes]:
    """The folders of models, and what the links in them lead to: a hub's cache is made of links."""
    for step in steps:
        if not (folder := step.spec.get("folder")):
            continue
        if os.path.isdir(str(folder)):
            yield os.fsencode(str(folder))
            yield from _behind_links(str(folder))
        elif step.spec.get("hub_id"):  # the cache was moved since: it is looked for where it is now
            yield os.fsencode(hub_cache(os.environ))
            yield os.fsencode(paths.places().state / "models")


def _behind_links(folder: str) -> Iterator[bytes]:
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            if os.path.islink(path):
                yield os.fsencode(os.path.realpath(path))


def hub_cache(environ: Mapping[str, str]) -> str:
    """Where the hub's library keeps models, by its own variables; the library itself takes half a second to ask."""
    home = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = environ.get("HF_HOME") or os.path.join(home, "huggingface")
    named = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    return os.path.abspath(os.path.expanduser(named or os.path.join(base, "hub")))


def _ports(models: Iterable[str]) -> tuple[int, ...]:
    """The ports of endpoints, of the proxies on the way to them, and of name resolution; none without endpoints."""
    urls = []
    for model in models:
        if model.startswith(endpoint_url.PREFIX):
            with suppress(Misconfigured):  # it is told when it is used
                urls.append(endpoint_url.parse(model).base)
    if not urls:
        return ()
    return (*sorted({*map(port_of, urls), *proxy_ports(os.environ)}), DNS)
