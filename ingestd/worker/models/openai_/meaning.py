"""What a request asks and what a reply means. Pure: bytes in, a decision out; no clock, no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from ingestd.worker.models.openai_.patience import Later

REQUEST_VERSION: Final = 1
"""Raise it when the same settings and picture make another request."""

SECOND_TEMPERATURE: Final = 0.7
"""For the second request after an odd answer: at 0 most servers give the same text again."""

MAX_TEXT: Final = 1 << 17
"""Characters of a description that are kept: 4,096 tokens, the most that can be asked for, are a quarter of that."""

_THOUGHT: Final = re.compile(r"\A\s*<think>.*?(</think>|\Z)", re.DOTALL)
"""The thinking of a reasoning model, which some servers leave at the head of its answer; maybe it never ends."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What decides a description, the picture apart. ``seed`` None: none is sent."""

    served: str
    prompt: str
    max_tokens: int
    temperature: float
    seed: int | None


@dataclass(frozen=True, slots=True)
class Said:
    """A completion. ``ended``: the model ended it, not the token limit."""

    text: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will not do it with this input, whenever it is asked."""

    words: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """Nothing but a person's change will help: key, name of the model, URL."""

    words: str
    remedy: str


Reply = Said | Refused | Wrong | Later


def request_body(wish: Wish, picture: str | None, *, again: bool = False) -> bytes:
    """A chat completion's JSON. ``picture``: a JPEG in base64, or None to ask without. ``again``: sampled otherwise."""
    content: list[dict[str, Any]] = [{"type": "text", "text": wish.prompt}]
    if picture is not None:
        content.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}})
    body: dict[str, Any] = {
        "model": wish.served,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": wish.max_tokens,
        "temperature": max(wish.temperature, SECOND_TEMPERATURE) if again else wish.temperature,
        "stream": False,
    }
    if wish.seed is not None:
        body["seed"] = wish.seed + again
    return msgspec.json.encode(body)


def read_completion(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Reply:
    """What the server said to a chat completion. ``now`` is for a Retry-After that is a date."""
    if status != 200:
        return _read_error(status, error_words(body), _retry_after(headers, now))
    found = _json(body)
    if not isinstance(found, dict):
        return Later("garbled", "its answer is not the JSON of a chat completion")
    if error := found.get("error"):
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and 400 <= code <= 599:
            return _read_error(code, error_words(body), None)
        return Later("garbled", f"it answered with an error: {error_words(body)}")
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Later("garbled", "its answer holds no choices")
    text = _text_of(message.get("content"))
    if text is None:
        return Later("garbled", "its answer holds no text")
    text = _THOUGHT.sub("", text, count=1).strip()
    ended = choice.get("finish_reason") != "length" and len(text) <= MAX_TEXT
    return Said(text[:MAX_TEXT], ended)


def read_models(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> list[str] | Wrong | Later:
    """The names that the server goes by, from its list of models."""
    if status != 200:
        reply = _read_error(status, error_words(body), _retry_after(headers, now))
        return Wrong(reply.words, _LOOK_AT_URL) if isinstance(reply, Refused) else reply
    found = _json(body)
    data = found.get("data") if isinstance(found, dict) else None
    # Ollama without any model gives null.
    if isinstance(found, dict) and "data" in found and data is None:
        return []
    if not isinstance(data, list):
        return Wrong("what is there does not speak the OpenAI API: its list of models is not one", _LOOK_AT_URL)
    return [one["id"] for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)]


def error_words(body: bytes) -> str:
    """The server's own words for what is wrong, as found; empty when it gave none."""
    found = _json(body)
    for key in ("error", "message", "detail", "msg"):
        while isinstance(found, dict) and key in found:
            found = found[key]
    if isinstance(found, str):
        return found
    if found is not None:
        return msgspec.json.encode(found).decode()
    text = body.decode("utf-8", "replace").strip()
    return "an HTML page" if text[:200].lower().startswith(("<!doctype", "<html")) else text


_LOOK_AT_URL: Final = "Look at the URL: it is mostly http://HOST:PORT/v1"


def _read_error(status: int, words: str, wait_s: float | None) -> Refused | Wrong | Later:
    said = f"it answered {status}" + (f": {words}" if words else "")
    match status:
        case 401 | 402 | 403 | 407:
            return Wrong(said, "Give a key that it accepts, by INGESTD_ENDPOINT_KEY or the setting endpoint_key_file")
        case 404 | 405 | 410:
            return Wrong(said, f"{_LOOK_AT_URL}, and at the name of the model after the #")
        case 429 | 503 | 529:
            return Later("busy", said, wait_s)
        case 408 | 409 | 425:
            return Later("failing", said, wait_s)
        case _ if status >= 500:
            return Later("failing", said, wait_s)
        case _ if status >= 400:
            return Refused(said)
        case _ if status >= 300:
            return Wrong(f"it answered {status}, a way to another URL", "Give the URL that it leads to")
    return Later("garbled", f"it answered {status}, which is no answer to this request")


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from a Retry-After header, which is a number of them or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _text_of(content: object) -> str | None:
    """A message's content: text, a list of parts of which some are text, or null for a model that said nothing."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
