"""The sinks of a job as they are asked for: ``--sink`` texts become specs, settings become values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds import sink_addresses
from ingestd.kinds.sinks import SHIPPED, SinkKind, SinkKinds, SinkSpec, Takes, declared
from ingestd.kinds.steps import Setting


def parse_sinks(texts: Iterable[str], kinds: SinkKinds = SHIPPED) -> list[SinkSpec]:
    """``WORD`` or ``WORD:PLACE``, as ``kinds`` declare them → specs with distinct names.

    Raises ``Misconfigured``.
    """
    specs: list[SinkSpec] = []
    for text in texts:
        word, _, place = text.partition(":")
        kind, takes = _kind(word, place, kinds)
        declared(kind.name, kinds)
        if takes == "file" and not place.startswith("/"):
            raise _bad_sink(word, "its place is not absolute", kinds)
        if takes == "url":
            sink_addresses.check(kind, place)
        spec = SinkSpec(text if place else word, kind.name, place or None)
        if all(other.name != spec.name for other in specs):
            specs.append(spec)
    return specs


def _kind(word: str, place: str, kinds: SinkKinds) -> tuple[SinkKind, Takes]:
    """The kind that a text means, of those with its word, and as what it takes what follows."""
    same = [kind for kind in kinds.values() if kind.asked == word]
    if not same:
        # What follows the colon is not shown: it may be a URL with a key in it that wants the sink's word before it.
        raise _bad_sink(word if word.isalpha() and word.islower() else "that", "there is no sink of this kind", kinds)
    wanted: tuple[Takes, ...] = ("nothing",)
    if place:
        wanted = ("file", "url") if place.startswith("/") else ("url", "file")
    for takes in wanted:
        for kind in same:
            if takes in kind.takes:
                return kind, takes
    raise _bad_sink(word, "nothing can follow its name" if place else "its place is missing", kinds)


def _bad_sink(word: str, message: str, kinds: SinkKinds) -> Misconfigured:
    forms = [form for kind in kinds.values() for form in kind.forms]
    return Misconfigured(
        message,
        operation="use",
        object=f"the sink {word}",
        remedy=f"Use --sink {', '.join(forms[:-1])} or {forms[-1]}; repeat --sink for several",
        exit=EXIT_USAGE,
    )


def default_sinks(kinds: SinkKinds = SHIPPED) -> str:
    """What a job gets that asks for no sink, as the setting ``sinks`` has it."""
    return ",".join(kind.asked for kind in kinds.values() if kind.default)


def keeps_vectors(kind: str, kinds: SinkKinds = SHIPPED) -> bool:
    """Whether sinks of this kind can be searched; false for one that is not declared."""
    return kind in kinds and kinds[kind].vectors


def settings_of(kinds: SinkKinds = SHIPPED) -> dict[str, Setting | None]:
    """The keys that sinks add to ``config.toml``; None for one that names the file of a key."""
    found: dict[str, Setting | None] = {}
    for kind in kinds.values():
        if kind.key_file:
            found[kind.key_file] = None
        found.update({setting.name: setting for setting in kind.settings})
    return found


def setting_problem(setting: Setting, text: str) -> str:
    """What is wrong with the text of a sink's setting, in words; empty when nothing is. An empty text is none."""
    if not text:
        return ""
    number: float
    try:
        match setting.type:
            case "switch":
                return "" if text in ("yes", "no") else "yes or no is needed"
            case "text":
                number, what = len(text), "characters"
            case "int":
                number, what = int(text), "a whole number"
            case "float":
                number, what = float(text), "a number"
    except ValueError:
        return f"{'a whole number' if setting.type == 'int' else 'a number'} is needed"
    low, high = setting.low, setting.high
    if (low is None or low <= number) and (high is None or number <= high):
        return ""
    bounds = [f"from {low:g}"] * (low is not None) + [f"to {high:g}"] * (high is not None)
    return f"{what} {' '.join(bounds)} {'are' if setting.type == 'text' else 'is'} needed"


def values_of(kind: SinkKind, given: Callable[[str], str]) -> dict[str, Any]:
    """A kind's own settings, as a sink is told them, by their types. ``given`` says what is set, empty for nothing."""
    types: dict[str, Callable[[str], Any]] = {"switch": lambda text: text == "yes", "int": int, "float": float}
    texts = {setting: given(setting.name) for setting in kind.settings}
    return {setting.name: types.get(setting.type, str)(text) for setting, text in texts.items() if text}
