"""Endpoints as the registry and the pipeline see them."""

from __future__ import annotations

import base64
import io
import os
import queue
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import anyio
import anyio.from_thread
import msgspec
from PIL import Image

from ingestd.errors import IngestError, ItemError, Misconfigured
from ingestd.protocol.addresses.endpoint_url import Endpoint, parse
from ingestd.protocol.work import Machine, Step, StepRequest, StepResult
from ingestd.worker.media.picture import DECODER_VERSION, OVERSAMPLE
from ingestd.worker.models.openai_.http_client import Client
from ingestd.worker.models.openai_.keys import read_key
from ingestd.worker.models.openai_.meaning import REQUEST_VERSION, Wish
from ingestd.worker.steps.base import Answer, Bodies, Encoder, Runner, StepProvider, Tell, fingerprint

PROMPT: Final = (
    "Describe this picture in one to three sentences: what it shows, who and what is in it, where it is, and any text "
    "that can be read in it. Answer with the description alone."
)
MAX_TOKENS: Final = 256
TEMPERATURE: Final = 0.0

LONGEST_SIDE: Final = 1024
"""Pixels of the picture that is sent: what common models look at; they cut it into tiles or shrink it to less."""

JPEG_QUALITY: Final = 85

BATCHES: Final = 4
"""Pictures in one ``run`` for each request in flight: at its end, requests wait for the slowest one."""

_MAX_NAMES: Final = 10
"""Served models that an error lists."""


class _Endpoints(StepProvider):
    kinds: ClassVar[frozenset[str]] = frozenset(("describe",))

    def __init__(self) -> None:
        self._resolved = ""

    def resolve(self, request: StepRequest, machine: Machine, tell: Tell) -> Step:
        """Asks the endpoint for its models, and for one small grey picture: so a wrong key, a wrong name and a model
        without eyes are told before any item is claimed."""
        endpoint = parse(request.model)
        if request.settings.get("exact"):
            raise Misconfigured(
                "what a server computes with cannot be chosen from here",
                operation="resolve",
                object="the option exact for an endpoint",
                remedy="Leave --exact out, or describe with a local model",
            )
        key = read_key(machine, endpoint, os.environ)

        async def ask() -> Wish:
            async with Client(endpoint, key, 1) as client:
                wish = _wish(choose(endpoint, await client.served()), request.settings)
                await client.check_pictures(wish)
                return wish

        wish = anyio.run(ask)
        self._resolved = endpoint.base
        return Step(0, request.kind, _fingerprint(request.kind, wish), {"model": request.model} | _as_spec(wish))

    def load(self, steps: Sequence[Step], machine: Machine) -> list[Runner]:
        """Raises ``Misconfigured`` and ``Unavailable``: the endpoint is asked whether it still is what was resolved."""
        return [_Describer(step, machine) for step in steps]

    def encoder(self, step: Step, machine: Machine) -> Encoder:
        raise Misconfigured(
            "an endpoint gives descriptions alone",
            operation="search",
            object=f"the step {step.kind!r}",
            remedy="Embed with another model",
        )

    def provenance(self, request: StepRequest, machine: Machine) -> dict[str, object]:
        from importlib.metadata import version

        return {"httpx": version("httpx"), "endpoint": self._resolved}


PROVIDER: Final = _Endpoints()


class _Describer(Runner):
    """Pictures wait as JPEG in base64, some 100 to 300 kB each."""

    want = LONGEST_SIDE // OVERSAMPLE
    """The decoder gives ``OVERSAMPLE`` times as much where the file has it, so a square has its longest side too."""

    def __init__(self, step: Step, machine: Machine) -> None:
        self.mask = 1 << step.bit
        self.batch = BATCHES * machine.concurrency
        self._bit = step.bit
        self._wish = msgspec.convert({name: step.spec.get(name) for name in Wish.__slots__}, Wish)
        if _fingerprint(step.kind, self._wish) != step.fingerprint:
            raise Misconfigured(
                "the installed version asks in another way than the one that the job was started with",
                operation="run",
                object=f"the {step.kind} step with {step.spec['model']}",
                remedy="Install the version that it was started with, or run `ingestctl upgrade`",
            )
        self._endpoint = parse(str(step.spec["model"]))
        self._key = read_key(machine, self._endpoint, os.environ)
        self._concurrency = machine.concurrency
        self._loop = anyio.from_thread.start_blocking_portal()
        self._portal: Any = None
        self._client: Client | None = None
        self._draining = False
        anyio.run(self._check)

    async def _check(self) -> None:
        """Servers with one model answer for any name: another model behind the URL would speak under this one's."""
        async with Client(self._endpoint, self._key, 1) as client:
            names = await client.served()
            if self._wish.served not in names:
                raise _not_served(self._endpoint, self._wish.served, names)

    def prepare(self, view: Image.Image, bodies: Bodies) -> str:
        scale = LONGEST_SIDE / max(view.size)
        if scale < 1:
            size = max(1, round(view.width * scale)), max(1, round(view.height * scale))
            view = view.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        out = io.BytesIO()
        # Pixels alone: a comment or a place in the EXIF is nobody else's business.
        view.save(out, "JPEG", quality=JPEG_QUALITY, comment=b"", exif=b"")
        return base64.b64encode(out.getvalue()).decode("ascii")

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """Answers in the order in which they come. After ``drain`` pictures that were not sent have none."""
        if self._draining:
            return
        client = self._started()
        answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

        async def describe(at: int) -> None:
            try:
                answers.put((at, await client.describe(self._wish, prepared[at])))
            except IngestError as error:
                client.end()  # the worker is over: what is in flight finishes, nothing else is sent
                answers.put((at, error))
            except Exception as error:  # a defect of ours: the picture's failure, by way of the pipeline
                answers.put((at, error))

        for at in range(len(prepared)):
            self._portal.start_task_soon(describe, at)
        over: Exception | None = None
        for _ in prepared:
            at, found = answers.get()
            match found:
                case IngestError() if not self._draining:
                    over = over if isinstance(over, IngestError) else found
                case IngestError() | None:
                    pass  # it goes back, to be done another time
                case Exception() if not isinstance(found, ItemError):
                    over = over or found
                case _:
                    yield at, {self._bit: self._result(found)}
        if over is not None:
            raise over

    def drain(self) -> None:
        self._draining = True
        if self._portal is not None and self._client is not None:
            self._portal.start_task_soon(self._client.end)

    def _result(self, found: tuple[str, str] | ItemError) -> StepResult | ItemError:
        if isinstance(found, ItemError):
            return found
        text, flag = found
        return StepResult(self._bit, msgspec.json.encode({"description": text}), flag=flag)

    def _started(self) -> Client:
        """The client, in an event loop of its own thread, which lives as long as the process."""
        if self._client is None:
            self._portal = self._loop.__enter__()
            self._client = self._portal.call(lambda: Client(self._endpoint, self._key, self._concurrency))
            if self._draining:
                self._portal.start_task_soon(self._client.end)
        return self._client


def _wish(served: str, settings: dict[str, object]) -> Wish:
    """Raises ``Misconfigured`` for a setting of the wrong type."""
    given = {name: value for name, value in settings.items() if value is not None and name in Wish.__slots__}
    defaults = {"prompt": PROMPT, "max_tokens": MAX_TOKENS, "temperature": TEMPERATURE, "seed": None}
    return msgspec.convert(defaults | given | {"served": served}, Wish)


def _as_spec(wish: Wish) -> dict[str, object]:
    return {name: getattr(wish, name) for name in Wish.__slots__}


def _fingerprint(kind: str, wish: Wish) -> str:
    what = {"kind": kind, "family": "openai", "request": REQUEST_VERSION, "decoder": DECODER_VERSION}
    picture = {"longest_side": LONGEST_SIDE, "jpeg_quality": JPEG_QUALITY}
    return fingerprint(what | picture | _as_spec(wish))


def choose(endpoint: Endpoint, names: list[str]) -> str:
    """The name by which the server knows the model that was asked for. Raises ``Misconfigured``."""
    if endpoint.model:
        # Ollama lists "llava:latest" for what everybody calls "llava".
        for name in (endpoint.model, f"{endpoint.model}:latest"):
            if name in names:
                return name
        raise _not_served(endpoint, endpoint.model, names)
    if len(names) == 1:
        return names[0]
    raise Misconfigured(
        f"it serves {_listed(names)}, and none was chosen",
        operation="use",
        object=f"the endpoint {endpoint.base}",
        remedy="Put #MODEL after its URL",
    )


def _not_served(endpoint: Endpoint, asked: str, names: list[str]) -> Misconfigured:
    return Misconfigured(
        f"it has no model {asked!r}: it serves {_listed(names)}",
        operation="use",
        object=f"the endpoint {endpoint.base}",
        remedy="Name one of its models after the #, or let it serve this one",
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return (", ".join(names[:_MAX_NAMES]) or "no model") + more
