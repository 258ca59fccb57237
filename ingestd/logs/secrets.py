"""The last line of defence: what is certainly a secret is taken out of every text that goes into a log.

Keys are kept out of messages where they are used; this is for what libraries print. It takes out values that are known
to be secret, and what stands where only a secret stands: the userinfo and the key parameters of a URL, and the
credentials of an Authorization header. It does not guess from the look of a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from ingestd.kinds.sinks import SHIPPED

HIDDEN: Final = "[hidden]"

VARIABLES: Final = (
    "INGESTD_ENDPOINT_KEY",
    *(name for kind in SHIPPED.values() for name in kind.secrets),
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_API_KEY",
)
"""Variables of the environment whose values are secrets."""

LEAST: Final = 8
"""Characters of a secret: where a server wants no key, people give "none" or "ollama", and those are words."""

_NAMES: Final = r"(?:[\w-]*(?:api|access|auth)[_-]?(?:key|token)|key|token|secret|password|passwd|signature|sig)"
_URL: Final = re.compile(r"(?<=://)[^\s/?#@\"'<>]+@")
_QUERY: Final = re.compile(rf"(?i)(?<=[?&])({_NAMES})=[^&\s\"'<>#]+")
_HEADERS: Final = ("authorization", "api-key", "api_key")
_HEADER: Final = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:x-)?api[-_]key)\b([\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic|token)\s+)?"
    r"[\w.~+/=-]{4,}"
)


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values in ``environ`` that no log may hold, the longest first (one may hold another)."""
    found = {environ.get(name, "").strip() for name in VARIABLES}
    return tuple(sorted((value for value in found if len(value) >= LEAST), key=len, reverse=True))


def without(text: str, secrets: Iterable[str]) -> str:
    """``text`` without these ``secrets``; each becomes ``[hidden]``."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def hidden(text: str) -> str:
    """``text`` without what stands where only a secret stands; each becomes ``[hidden]``."""
    if "://" in text:
        text = _QUERY.sub(rf"\1={HIDDEN}", _URL.sub(f"{HIDDEN}@", text))
    lower = text.casefold()
    if any(name in lower for name in _HEADERS):
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    return text
