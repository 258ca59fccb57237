"""The command line as data: every verb with its options and positional arguments, read from its parser."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from ingestctl import kinds
from ingestctl.completion import known_values
from ingestctl.main import VERBS, parser_of
from ingestctl.verbs import start


class Value(NamedTuple):
    """What is written behind an option, or as a positional argument.

    ``words`` are offered as they are. ``what`` is what else may stand there, and who knows it: ``job`` (the daemon),
    ``file``, ``folder`` and ``user`` (the shell), ``model`` (a folder as well), ``sink`` (a file behind its scheme).
    """

    label: str
    words: tuple[str, ...] = ()
    what: frozenset[str] = frozenset()


class Option(NamedTuple):
    """``value`` is None for a switch; ``excludes`` has the flags that cannot be used together with it."""

    flags: tuple[str, ...]
    help: str
    value: Value | None
    repeats: bool
    excludes: tuple[str, ...]


class Positional(NamedTuple):
    """A positional argument. ``many``: it takes whatever words are left."""

    value: Value
    help: str
    needed: bool
    many: bool


class Verb(NamedTuple):
    """One verb, with its line of the overview."""

    name: str
    help: str
    options: tuple[Option, ...]
    positionals: tuple[Positional, ...]


NOTHING: frozenset[str] = frozenset(("TEXT", "N", "T", "S", "DATE", "GLOB", "NAME"))
"""Labels for which nobody but the person knows the word."""

_SCHEMES = tuple(scheme for sink in kinds.SINKS for scheme in sink["schemes"])


def file_schemes() -> list[str]:
    """Schemes of the shipped sinks that a file follows, as in ``jsonl:FILE``."""
    return [scheme for sink in kinds.SINKS if sink["place"] == "file" for scheme in sink["schemes"]]


KNOWN: dict[str, Value] = {
    "JOB": Value("JOB", what=frozenset(("job",))),
    "SOURCE": Value("SOURCE", what=frozenset(("file",))),
    "PATH": Value("PATH", what=frozenset(("file",))),
    "[JOB] PATH": Value("[JOB] PATH", what=frozenset(("job", "file"))),
    "IMAGE": Value("IMAGE", what=frozenset(("file",))),
    "FOLDER": Value("FOLDER", what=frozenset(("folder",))),
    "USER": Value("USER", what=frozenset(("user",))),
    "SINK": Value("SINK", _SCHEMES, frozenset(("sink",))),
    "DEVICE": Value("DEVICE", known_values.DEVICES),
    "KIND": Value("KIND", known_values.FAILURES),
    "LEVEL": Value("LEVEL", known_values.LEVELS),
}
"""What a label (an argument's ``metavar``, else its name in capitals) means, in every verb."""

HERE: dict[tuple[str, str], Value] = {
    **{
        ("start", step): Value("MODEL", ("builtin", "none", *known_values.models(step)), frozenset(("model",)))
        for step in known_values.MODELS
    },
    ("start", "cooldown"): Value("S", ("auto",)),
    ("models", "name"): Value("NAME", known_values.models("")),
}
"""Arguments of one verb that mean more than their label says."""


def verbs() -> list[Verb]:
    """Every verb, in the order of the overview."""
    return [_verb(name, help) for name, help in VERBS.items()]


def added_options() -> list[Option]:
    """The options that other packages add to ``start`` in this installation, now."""
    parser = parser_of("start")
    known = len(parser._actions)
    start.catalogue_arguments(parser)
    models = {step["flag"]: step["choices"] for step in parser.get_default("added") if step["takes"] == "model"}
    options = [_option("start", parser, action, ()) for action in parser._actions[known:]]
    return [
        option._replace(value=Value(option.value.label, tuple(models[flag]), frozenset(("model",))))
        if (flag := option.flags[0]) in models and option.value
        else option
        for option in options
    ]


def unexplained() -> list[str]:
    """``verb LABEL`` of each argument that is neither in ``KNOWN`` nor ``HERE`` nor ``NOTHING``: a test wants none."""
    labels = [(verb.name, option.value) for verb in verbs() for option in verb.options if option.value]
    labels += [(verb.name, place.value) for verb in verbs() for place in verb.positionals]
    return [
        f"{verb} {value.label}"
        for verb, value in labels
        if not value.words and not value.what and value.label not in NOTHING
    ]


def _verb(name: str, help: str) -> Verb:
    parser = parser_of(name)
    rivals: dict[argparse.Action, tuple[str, ...]] = {}
    for group in parser._mutually_exclusive_groups:
        members = group._group_actions
        for one in members:
            rivals[one] = tuple(flag for other in members if other is not one for flag in other.option_strings)
    options, positionals = [], []
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        if action.option_strings:
            options.append(_option(name, parser, action, rivals.get(action, ())))
        else:
            needed, many = action.nargs not in ("?", "*"), action.nargs in ("*", "+")
            positionals.append(Positional(_value(name, action), _help(parser, action), needed, many))
    return Verb(name, help, tuple(options), tuple(positionals))


def _option(verb: str, parser: argparse.ArgumentParser, action: argparse.Action, rivals: tuple[str, ...]) -> Option:
    value = None if action.nargs == 0 else _value(verb, action)
    repeats = isinstance(action, argparse._AppendAction)
    return Option(tuple(action.option_strings), _help(parser, action), value, repeats, rivals)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _value(verb: str, action: argparse.Action) -> Value:
    label = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None:
        # A label that lists the choices may leave out those that are for no person.
        chosen = label.split("|") if "|" in label else [str(choice) for choice in action.choices]
        return Value("|".join(chosen), tuple(chosen))
    return HERE.get((verb, action.dest)) or KNOWN.get(label) or Value(label)
