"""Search: a query is encoded by a worker in encode mode that is kept warm, then asked of each job's store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from ingestd.errors import EXIT_USAGE, IngestError, Unavailable
from ingestd.policy import messages as w
from ingestd.policy.recipe import declared
from ingestd.protocol import work
from ingestd.protocol.pathtext import shown
from ingestd.protocol.sink import Hits, Search
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.shared import Shared
from ingestd.supervisor.sinks import Sinks

WARM_S: Final = 300.0
"""Seconds that an encoder stays loaded after its last query: loading one costs far more than keeping it."""

ENCODE_S: Final = 60.0
"""Seconds for a query, a cold start of the model's libraries on a busy machine included."""

STORE_S: Final = 10.0
"""Seconds that a store may take to open and answer."""


@dataclass(slots=True)
class EncoderProcess:
    """One encoder process, by its step's fingerprint."""

    child: Child
    used: float
    ready: bool = False
    answers: dict[int, work.Encoded | None] = field(default_factory=dict)
    ending: Ending | None = None


class Queries:
    """Encodes queries and asks stores."""

    def __init__(self, shared: Shared, sinks: Sinks) -> None:
        self._shared, self._sinks = shared, sinks
        self.encoders: dict[str, EncoderProcess] = {}
        self._next = 0

    async def ask(self, job: int, sink: str, query: Search) -> Hits:
        """The nearest points of one job's store. Raises ``Unavailable`` when the store does not answer in time."""
        return await self._sinks.search(job, sink, query, STORE_S)

    async def encode(self, step: work.Step, text: str, image: bytes | None = None) -> bytes:
        """The query vector of ``text``, or of the image file ``image``: little-endian float32, L2-normalised.

        Raises ``Unavailable``, and ``IngestError`` for an image that cannot be used.
        """
        s = self._shared
        encoder = self.encoders.get(step.fingerprint)
        if encoder is None:
            encoder = self._start(step)
        encoder.used = s.clocks.steady()
        self._next += 1
        ident = self._next
        encoder.answers[ident] = None
        encoder.child.send(work.Encode(ident, text, image))
        with anyio.move_on_after(ENCODE_S):
            await s.until(lambda: encoder.answers[ident] is not None or encoder.ending is not None)
        answer = encoder.answers.pop(ident)
        if answer is None and encoder.ready:  # it hangs over an image that cannot be read: the next query has another
            self._drop(step.fingerprint, encoder)
            encoder.child.kill()
        if answer is not None and answer.vector is not None:
            return answer.vector
        if answer is not None and image is not None:
            raise IngestError(
                answer.error, operation="use", object=f"the image {shown(image)[0]}",
                remedy="Give an image file that the daemon's user may read", exit=EXIT_USAGE,
            )  # fmt: skip
        why = (
            answer.error if answer else encoder.ending.cause() if encoder.ending else "the model did not answer in time"
        )
        raise Unavailable(
            why, operation="encode", object="the query", remedy="Try again; ingestctl logs shows what the model said"
        )

    def _start(self, step: work.Step) -> EncoderProcess:
        s = self._shared
        fingerprint = step.fingerprint

        def said(message: Any) -> None:
            match message:
                case work.Ready():
                    encoder.ready = True
                case work.Encoded(ident):
                    if ident in encoder.answers:  # else nobody waits for it any more
                        encoder.answers[ident] = message
                case _:
                    s.unexpected(child, message)
            s.post(w.Tick())

        def ended(ending: Ending) -> None:
            encoder.ending = ending
            self._drop(fingerprint, encoder)
            s.post(w.Tick())

        child = s.children.start("worker", f"encoder {step.spec.get('model', '')}", said, ended)
        encoder = self.encoders[fingerprint] = EncoderProcess(child, s.clocks.steady())
        child.send(work.EncodeSetup(declared([step], s.step_kinds)[0], s.machine()))
        return encoder

    def _drop(self, fingerprint: str, encoder: EncoderProcess) -> None:
        if self.encoders.get(fingerprint) is encoder:
            del self.encoders[fingerprint]

    async def keep(self) -> None:
        """End encoders that nobody has used for some minutes; runs as long as the daemon."""
        while True:
            await anyio.sleep(30)
            self.end_idle(WARM_S)

    def end_idle(self, seconds: float) -> None:
        """End encoders that were not used for ``seconds``."""
        now = self._shared.clocks.steady()
        for encoder in list(self.encoders.values()):
            if now - encoder.used >= seconds:
                encoder.child.send(work.Finish())
