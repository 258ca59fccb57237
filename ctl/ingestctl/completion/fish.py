"""The script for fish: a line per option and positional argument, each with its verb as the condition."""

from __future__ import annotations

from ingestctl.completion.command_line import Option, Positional, Value, Verb, file_schemes, verbs
from ingestctl.completion.script_template import fill

_HEAD = "complete -c ingestctl"


def script() -> str:
    """The whole script, for a folder of ``$fish_complete_path``."""
    every = verbs()
    return fill(
        "fish",
        VALUED="\n".join(_valued(verb) for verb in every),
        VERBS="\n".join(f"""{_HEAD} -n "__ingestctl_at ''" -a {v.name} -d {_quote(v.help)}""" for v in every),
        NAMES=" ".join(verb.name for verb in every),
        FILES=" ".join(file_schemes()),
        LINES="\n".join(line for verb in every for line in _lines(verb)),
    )


def _valued(verb: Verb) -> str:
    flags = [flag for option in verb.options if option.value for flag in option.flags]
    return f"        case {verb.name}\n            printf '%s\\n' {' '.join(flags)}"


def _lines(verb: Verb) -> list[str]:
    lines = [_option(verb, option) for option in verb.options]
    return lines + [line for index, place in enumerate(verb.positionals, 1) for line in _positional(verb, index, place)]


def _option(verb: Verb, option: Option) -> str:
    # An option with a word must stay known while that word is typed, so it does not exclude itself.
    apart = (*(() if option.repeats or option.value else option.flags), *option.excludes)
    condition = " ".join(("__ingestctl_free", verb.name, *apart))
    names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
    value = f" {_value(verb, option.value)}" if option.value else ""
    return f"{_HEAD} -n {_quote(condition)} {names}{value} -d {_quote(option.help)}"


def _positional(verb: Verb, index: int, place: Positional) -> list[str]:
    offered = _offered(verb, place.value)
    at = f"__ingestctl_at {verb.name} {index}{' on' if place.many else ''}"
    if place.value.what == {"job", "file"}:
        # A job may stand at the first place alone, and files at all of them.
        return [f"{_HEAD} -n '__ingestctl_at {verb.name} {index}' -a {offered}", f"{_HEAD} -n '{at}' -F"]
    if place.value.what == {"file"}:
        return [f"{_HEAD} -n '{at}' -F"]
    return [f"{_HEAD} -n '{at}' -a {offered}"] if offered else []


def _value(verb: Verb, value: Value) -> str:
    """``-r``: a word must follow, which may be a file; ``-x``: it is none."""
    if value.what == {"file"}:
        return "-r -F"
    offered = _offered(verb, value)
    return f"-x -a {offered}" if offered else "-x"


def _offered(verb: Verb, value: Value) -> str:
    """What ``-a`` takes: words, or a call that prints them; empty, where only the person knows them."""
    names = " ".join(value.words)
    # An empty description of their own: else each would bear the option's.
    described = " ".join(f"{word}\\t" for word in value.words)
    match sorted(value.what):
        case ["job"] | ["file", "job"]:
            return f"'(__ingestctl_jobs {verb.name})'"
        case ["folder"]:
            return "'(__fish_complete_directories)'"
        case ["user"]:
            return "'(__fish_complete_users)'"
        case ["model"]:
            return f"'(__ingestctl_models {names})'"
        case ["sink"]:
            return f"'(__ingestctl_sinks {names})'"
        case _:
            return f"'{described}'" if names else ""


def _quote(text: str) -> str:
    """One word of fish, which knows two escapes inside of single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
