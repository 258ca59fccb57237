"""The kinds of steps and sinks that ``start`` offers: those that ship, and those that other packages declare.

The daemon writes every kind that it knows into ``<state>/kinds.json``. This client reads that file for ``start``'s
flags, its help and completion alone; what a job may be is the daemon's decision. A file that is absent, broken or of
another API is ignored, and so is a single entry that is: what ships is offered always. The file holds::

    {"api": 1,
     "steps": [{"name": "colours", "flag": "--colours", "metavar": "", "help": "the main colours of each photo",
                "takes": "switch", "choices": [], "package": "ingestd-colours",
                "settings": [{"flag": "--colours-count", "metavar": "N", "help": "how many", "type": "int",
                              "low": 1, "high": 9}]}],
     "sinks": [{"name": "csv", "schemes": ["csv"], "help": "a row per photo", "place": "file",
                "package": "ingestd-csv"}]}

A step ``takes`` a model's name (``choices``: names that completion offers), one of its ``choices``, or nothing
(``switch``). A setting's ``type`` is ``text``, ``int``, ``float`` or ``switch``; ``low`` and ``high`` bound a number.
It is sent under its ``name``: its flag with underscores, unless the file says another. A sink is written
``SCHEME:PLACE``, and its ``place`` is a ``file``, a ``url`` or ``none``.
"""

from __future__ import annotations

import json
import re

from ingestctl import locations
from ingestctl.terminal_text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

API = 1

MAX_BYTES = 1 << 20
"""Bytes of the catalogue that are read: a thousand kinds have room, and a file of another origin is not loaded."""

STEPS: list[dict[str, Any]] = [
    {
        "name": "describe",
        "flag": "--describe",
        "metavar": "MODEL",
        "help": "builtin, none, smolvlm, smolvlm2:500m, a hub id, a folder, or openai:URL#model (default: builtin)",
        "takes": "model",
        "settings": [
            {
                "flag": "--prompt",
                "metavar": "TEXT",
                "help": "what the describing model is asked about each photo",
                "type": "text",
            },
            {"flag": "--max-tokens", "metavar": "N", "help": "the longest description", "type": "int", "low": 1},
            {
                "flag": "--temperature",
                "metavar": "T",
                "help": "0 says the likeliest; more, more freely (0 to 2)",
                "type": "float",
                "low": 0,
                "high": 2,
            },
            {
                "flag": "--seed",
                "metavar": "N",
                "help": "where the dice of a temperature begin",
                "type": "int",
                "low": 0,
                "high": 2**31 - 1,
            },
        ],
    },
    {
        "name": "embed",
        "flag": "--embed",
        "metavar": "MODEL",
        "help": "builtin, none, siglip2, clip, a hub id, or a folder (default: builtin)",
        "takes": "model",
        "settings": [],
    },
    {
        "name": "embed_text",
        "flag": "--embed-text",
        "metavar": "MODEL",
        "help": "make a vector of each description too: builtin, a hub id, or a folder (default: none)",
        "takes": "model",
        "settings": [],
    },
]
"""The steps that ship, in the order of the help. Each has a field of its own in the request, as has each setting."""

SETTINGS: list[dict[str, Any]] = [
    {
        "flag": "--exact",
        "help": "full decoding and 32-bit arithmetic: slower",
        "type": "switch",
    },
]
"""Settings that are about every step."""

SINKS: list[dict[str, Any]] = [
    {
        "name": "qdrant",
        "schemes": ["qdrant"],
        "help": "qdrant (in the state folder), qdrant:URL of a server",
        "place": "url",
    },
    {"name": "jsonl", "schemes": ["jsonl"], "help": "jsonl or jsonl:FILE", "place": "file"},
]
"""The sinks that ship. Here ``help`` is the whole phrase, with what is typed."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_FLAG = re.compile(r"--[a-z0-9][a-z0-9-]{0,63}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]{0,127}")
"""A choice: a word that every shell takes as it is."""

_METAVAR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:.]{0,31}")
_METAVARS = {"text": "TEXT", "int": "N", "float": "X"}
_FORMS = {"file": ":FILE", "url": ":URL", "none": ""}


def catalogue() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The steps and the sinks that other packages declare, each entry complete and checked."""
    document = _read(locations.state() + "/kinds.json")
    # The running code of what ships is the client's own version; an entry of the file would only repeat it.
    steps = _checked(document.get("steps"), _step, {step["name"] for step in STEPS})
    sinks = _checked(document.get("sinks"), _sink, {sink["name"] for sink in SINKS})
    shipped = {scheme for sink in SINKS for scheme in sink["schemes"]}
    return steps, [sink for sink in sinks if not shipped & set(sink["schemes"])]


def sink_help(sinks: list[dict[str, Any]]) -> str:
    """The help of ``--sink``, with ``sinks`` after those that ship."""
    added = [f"{'/'.join(sink['schemes'])}{_FORMS[sink['place']]} ({sink['help']})" for sink in sinks]
    return f"{', '.join([sink['help'] for sink in SINKS] + added)}; may be repeated (default: qdrant and jsonl)"


def sink_of(text: str) -> dict[str, Any] | None:
    """The sink that ``text`` on the argument line means, if it is known: its scheme is what stands before a colon."""
    scheme = text.partition(":")[0]
    for sink in (*SINKS, *catalogue()[1]):
        if scheme in sink["schemes"]:
            return sink
    return None


def _read(path: str) -> dict[str, Any]:
    """The catalogue's document; empty for a file that cannot be read or that another API wrote."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        document = json.loads(raw) if len(raw) <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or type(document.get("api")) is not int or document["api"] != API:
        return {}
    return document


def _checked(entries: Any, check: Any, taken: set[str]) -> list[dict[str, Any]]:
    """The good ones of ``entries``; of several with one name, the first."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else []:
        good = check(entry) if isinstance(entry, dict) else None
        if good is not None and good["name"] not in taken:
            found.setdefault(good["name"], good)
    return list(found.values())


def _step(entry: dict[str, Any]) -> dict[str, Any] | None:
    name, flag, takes = entry.get("name"), entry.get("flag"), entry.get("takes")
    choices = _words(entry.get("choices"), _WORD)
    if not (_fits(name, _NAME) and _fits(flag, _FLAG)) or takes not in ("model", "switch", "choice"):
        return None
    if takes == "choice" and not choices:
        return None
    metavar = entry.get("metavar")
    return {
        "name": name,
        "flag": flag,
        "metavar": "|".join(choices) if takes == "choice" else metavar if _fits(metavar, _METAVAR) else "MODEL",
        "help": _sentence(entry.get("help"), f"the step {name}"),
        "takes": takes,
        "choices": choices,
        "settings": _checked(entry.get("settings"), _setting, set()),
        "package": _sentence(entry.get("package"), "another package"),
    }


def _setting(entry: dict[str, Any]) -> dict[str, Any] | None:
    flag, kind = entry.get("flag"), entry.get("type")
    if not _fits(flag, _FLAG) or kind not in ("text", "int", "float", "switch"):
        return None
    name, metavar = entry.get("name"), entry.get("metavar")
    return {
        "name": name if _fits(name, _NAME) else str(flag)[2:].replace("-", "_"),
        "flag": flag,
        "metavar": metavar if _fits(metavar, _METAVAR) else _METAVARS.get(str(kind), ""),
        "help": _sentence(entry.get("help"), f"a setting of {flag}"),
        "type": kind,
        "low": _number(entry.get("low")),
        "high": _number(entry.get("high")),
    }


def _sink(entry: dict[str, Any]) -> dict[str, Any] | None:
    name, place = entry.get("name"), entry.get("place")
    schemes = _words(entry.get("schemes"), _SCHEME)
    if not _fits(name, _NAME) or not schemes or place not in _FORMS:
        return None
    help = _sentence(entry.get("help"), f"the sink {name}")
    package = _sentence(entry.get("package"), "another package")
    return {"name": name, "schemes": schemes, "help": help, "place": place, "package": package}


def _fits(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _words(values: Any, pattern: re.Pattern[str]) -> list[str]:
    return [value for value in values if _fits(value, pattern)] if isinstance(values, list) else []


def _sentence(value: Any, default: str) -> str:
    """Text of another package for a person: one line, nothing that could steer a terminal."""
    return clean(" ".join(value.split())) or default if isinstance(value, str) else default


def _number(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if number and float("-inf") < value < float("inf") else None
