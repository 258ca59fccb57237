"""Speaks to one endpoint: sends, waits, sends again, and finds out whose fault a failure is.

A failure is an item's own only when the endpoint answers something else: a *control*, the same request with a small
grey picture. Where that fails too, the endpoint is away (``Unavailable``) or cannot do this at all (``Misconfigured``).
Nothing of the key reaches a message: all that the server says goes through ``_words``.
"""

from __future__ import annotations

import base64
import io
import os
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import anyio
import httpx

from ingestd import __version__
from ingestd.errors import ItemError, Misconfigured, Unavailable
from ingestd.protocol.addresses.endpoint_url import Endpoint
from ingestd.worker.models.openai_.keys import without
from ingestd.worker.models.openai_.meaning import (
    Refused,
    Reply,
    Said,
    Wish,
    Wrong,
    read_completion,
    read_models,
    request_body,
)
from ingestd.worker.models.openai_.patience import Kind, Later, Patience, wait_before_next
from ingestd.worker.models.transformers_.quality import Odd, odd, worse

MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes of a reply: a gateway's list of models has some hundreds of kilobytes, a description a few."""

MAX_WORDS: Final = 300
"""Characters of what a server says that are passed on."""

REFUSALS_TRUSTED: Final = 5
"""Pictures refused in a row before the endpoint is asked again whether it takes any: the model behind it may have been
changed for one that reads only text."""

CONTROL_TOKENS: Final = 16

Raw = tuple[int, httpx.Headers, bytes]


class Client:
    """One endpoint, with at most ``concurrency`` requests at once. Used inside ``async with``, in one event loop."""

    def __init__(self, endpoint: Endpoint, key: str, concurrency: int, patience: Patience | None = None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._patience = patience or Patience()
        self._slots = anyio.Semaphore(concurrency)
        self._controlling = anyio.Lock()
        self._ending = anyio.Event()
        self._answered_at = time.monotonic()
        self._answers = 0
        self._refused_in_row = REFUSALS_TRUSTED
        self._http = self._connections(concurrency)

    async def __aenter__(self) -> Client:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    def end(self) -> None:
        """Begin nothing any more: what is under way finishes, what would wait or be sent again is left undone."""
        self._ending.set()

    # ---------------------------------------------------------------------------------------------- what can be asked

    async def served(self) -> list[str]:
        """The names of the models behind the endpoint. Raises ``Unavailable`` and ``Misconfigured``."""

        async def ask() -> list[str] | Wrong | Later:
            raw = await self._exchange("GET", "/models", None)
            return raw if isinstance(raw, Later | Wrong) else read_models(*raw, datetime.now(UTC))

        reply = await self._patiently(ask)
        if isinstance(reply, Wrong):
            self._misconfigured(reply)
        if reply is None or isinstance(reply, Later):
            self._away(reply)
        return [self._words(name, MAX_WORDS) for name in reply]

    async def check_pictures(self, wish: Wish) -> None:
        """Whether the model describes pictures at all. Raises ``Misconfigured`` when not, and ``Unavailable``."""
        reply = await self._patiently(lambda: self._ask(request_body(_small(wish), _grey_picture())))
        if isinstance(reply, Said):
            return
        if isinstance(reply, Wrong):
            self._misconfigured(reply)
        if isinstance(reply, Refused) or (isinstance(reply, Later) and reply.kind == "failing"):
            # Some servers answer 500 to a picture that their model cannot take: a question without one tells.
            words = await self._ask(request_body(_small(wish), None))
            if isinstance(words, Said):
                self._misconfigured(
                    Wrong(f"the model takes no pictures: {reply.words}", "Name a model that reads pictures")
                )
        if isinstance(reply, Refused):
            self._misconfigured(Wrong(reply.words, "Look at the settings of the step and at the server's own log"))
        self._away(reply)

    async def describe(self, wish: Wish, picture: str) -> tuple[str, Odd] | ItemError | None:
        """A description and what is odd about it; why this picture has none; or None when it was left undone.

        ``picture`` is a JPEG in base64. Raises ``Unavailable`` and ``Misconfigured``.
        """
        async with self._slots:
            if self._ending.is_set():
                return None
            first = await self._completed(wish, picture, again=False)
            if not isinstance(first, Said):
                return first
            flag = odd(first.text, ended=first.ended)
            if not flag:
                return first.text, flag
            second = await self._completed(wish, picture, again=True)
            if second is None:
                return None
            if isinstance(second, Said):
                other = odd(second.text, ended=second.ended)
                if worse(flag, other):
                    return second.text, other
            return first.text, flag

    # ------------------------------------------------------------------------------------------- whose fault it is

    async def _completed(self, wish: Wish, picture: str, *, again: bool) -> Said | ItemError | None:
        body = request_body(wish, picture, again=again)
        reply: Reply | None = await self._patiently(lambda: self._ask(body))
        if isinstance(reply, Later) and reply.kind != "absent" and not self._ending.is_set():
            if not await self._control(wish):
                return None
            # The endpoint works now. It may have come back just before: the picture gets one more chance.
            reply = await self._ask(body)
        match reply:
            case Said() | None:
                return reply
            case Wrong():
                self._misconfigured(reply)
            case Refused():
                self._refused_in_row += 1
                if self._refused_in_row > REFUSALS_TRUSTED and not await self._control(wish):
                    return None
                return _item_error(f"the endpoint refuses this picture: {reply.words}")
        if self._ending.is_set():
            return None
        if reply.kind == "absent":
            self._away(reply)
        return _item_error(f"the endpoint fails on this picture, and answers others: {reply.words}")

    async def _control(self, wish: Wish) -> bool:
        """Whether the endpoint answers a request that nothing is wrong with; False when we are ending, else raises."""
        answers = self._answers
        async with self._controlling:  # one at a time: its result is everybody's
            if self._answers > answers:
                return True
            if self._ending.is_set():
                return False
            reply = await self._ask(request_body(_small(wish), _grey_picture()))
            match reply:
                case Refused():
                    self._misconfigured(
                        Wrong(f"it refuses every picture: {reply.words}", "Name a model that reads them")
                    )
                case Wrong():
                    self._misconfigured(reply)
                case Later():
                    self._away(reply)
            return True

    # --------------------------------------------------------------------------------------------------- sending

    async def _patiently(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until the reply is another than ``Later``, or patience ends; None when we are ending meanwhile."""
        began = time.monotonic()
        tries: dict[Kind, int] = {}
        while True:
            reply = await ask()
            if not isinstance(reply, Later):
                return reply
            tries[reply.kind] = tries.get(reply.kind, 0) + 1
            quiet = time.monotonic() - max(began, self._answered_at)
            wait = wait_before_next(reply, tries[reply.kind], quiet, random.random(), self._patience)
            if wait is None:
                return reply
            with anyio.move_on_after(wait):
                await self._ending.wait()
            if self._ending.is_set():
                return None

    async def _ask(self, body: bytes) -> Reply:
        raw = await self._exchange("POST", "/chat/completions", body)
        if isinstance(raw, Later | Wrong):
            return raw
        reply = read_completion(*raw, datetime.now(UTC))
        match reply:
            case Said(text, ended):
                self._answers += 1
                self._answered_at = time.monotonic()
                self._refused_in_row = 0
                return Said(without(self._key, text), ended)
            case Later(kind, words, wait_s):
                return Later(kind, self._words(words), wait_s)
            case Refused(words):
                return Refused(self._words(words))
        return Wrong(self._words(reply.words), reply.remedy)

    async def _exchange(self, method: str, path: str, body: bytes | None) -> Raw | Later | Wrong:
        """One request and its whole reply. Exceptions of the library are translated here, and none of their texts is
        passed on: some show what was sent."""
        answering = False
        try:
            with anyio.fail_after(self._patience.answer_s):
                async with self._http.stream(method, self._endpoint.base + path, content=body) as response:
                    answering = True
                    data = bytearray()
                    async for chunk in response.aiter_bytes():
                        data += chunk
                        if len(data) > MAX_BODY:
                            return Later("garbled", f"its answer is longer than {MAX_BODY >> 20} MiB")
                    return response.status_code, response.headers, bytes(data)
        except TimeoutError:
            return Later("silent", f"it gave no whole answer within {self._patience.answer_s:g} s")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            return _not_connected(error)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
            return Wrong(f"no request can be made for its URL ({type(error).__name__})", "Look at the URL")
        except httpx.DecodingError:
            return Later("garbled", "its answer is compressed and damaged")
        except (httpx.HTTPError, OSError) as error:
            if answering:
                return Later("garbled", "its answer was cut")
            return Later("failing", f"it ended the connection without an answer ({type(error).__name__})")

    def _connections(self, concurrency: int) -> httpx.AsyncClient:
        headers = {
            "User-Agent": f"ingestd/{__version__}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            return httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(None, connect=self._patience.connect_s),
                limits=httpx.Limits(max_connections=concurrency + 2, max_keepalive_connections=concurrency + 2),
                verify=_roots(self._endpoint),
                trust_env=not self._endpoint.loopback,  # a proxy is another machine: its localhost is not ours
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            self._misconfigured(
                Wrong(
                    "the proxy that the environment names cannot be used", "Look at HTTP_PROXY, ALL_PROXY and NO_PROXY"
                )
            )

    # ----------------------------------------------------------------------------------------------------- words

    def _words(self, text: str, longest: int = MAX_WORDS) -> str:
        """What a server says, fit for a person's eyes: without the key, on one line, not long."""
        line = " ".join("".join(c if c.isprintable() else " " for c in without(self._key, text)).split())
        return line if len(line) <= longest else line[: longest - 1] + "…"

    def _misconfigured(self, wrong: Wrong) -> NoReturn:
        raise Misconfigured(
            self._words(wrong.words, 2 * MAX_WORDS),
            operation="use",
            object=f"the endpoint {self._endpoint.base}",
            remedy=wrong.remedy,
        )

    def _away(self, later: Later | None) -> NoReturn:
        slow = later is not None and later.kind == "silent"
        raise Unavailable(
            later.words if later is not None else "it was not asked to the end",
            operation="reach",
            object=f"the endpoint {self._endpoint.base}",
            remedy="It is tried again by itself; "
            + ("fewer requests at once (--concurrency) may help" if slow else "start it, or look at its log"),
        )


def _item_error(message: str) -> ItemError:
    return ItemError("model", message, stage="model")


def _small(wish: Wish) -> Wish:
    return Wish(wish.served, wish.prompt, min(CONTROL_TOKENS, wish.max_tokens), wish.temperature, wish.seed)


def _grey_picture() -> str:
    """A picture that nothing is wrong with, in base64: grey, of a size that every model takes."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (224, 224), (128, 128, 128)).save(out, "JPEG", quality=85)
    return base64.b64encode(out.getvalue()).decode()


def _roots(endpoint: Endpoint) -> ssl.SSLContext:
    """Certificates are checked against the system's roots (or SSL_CERT_FILE) and those that certifi brings."""
    if not endpoint.tls:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, and reading the roots takes time
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _not_connected(error: Exception) -> Later | Wrong:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # of every address that the name has
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Wrong(
                f"its certificate is not trusted: {cause.verify_message}",
                "Let SSL_CERT_FILE name the certificate of its authority, or mend the certificate",
            )
        if isinstance(cause, ssl.SSLError):
            return Later(
                "absent", f"no secure connection could be made ({cause.reason or 'cut'}): is it an https server?"
            )
        if isinstance(cause, socket.gaierror):
            return Later("absent", f"its name is not known: {cause.strerror}")
        if isinstance(cause, OSError) and cause.errno:
            return Later("absent", f"no connection could be made: {os.strerror(cause.errno)}")
        cause = cause.__cause__ or cause.__context__
    return Later("absent", "no connection could be made within the time for it")
