"""The script for bash: its template, filled with each verb's options and values as arms of ``case``."""

from __future__ import annotations

from shlex import quote

from ingestctl.completion.command_line import Option, Value, Verb, file_schemes, verbs
from ingestctl.completion.script_template import fill


def script() -> str:
    """The whole script. It needs nothing beside bash, 3.2 or newer."""
    every = verbs()
    names = " ".join(verb.name for verb in every)
    values = [arm for verb in every for arm in _values(verb)]
    values.append("    ' --color') _ingestctl_offer auto always never ;;")
    values.append(f"    'help 1') _ingestctl_offer {names} ;;")
    return fill(
        "bash",
        VERBS="\n".join(_verb(verb) for verb in every),
        VALUES="\n".join(values),
        NAMES=names,
        FILES=" ".join(file_schemes()),
    )


def _verb(verb: Verb) -> str:
    options = " ".join(quote(_entry(option)) for option in verb.options)
    valued = " ".join(flag for option in verb.options if option.value for flag in option.flags)
    last = f"{len(verb.positionals)}{'+' if verb.positionals and verb.positionals[-1].many else ''}"
    lines = (f"{verb.name})", f"    options=({options})", f"    valued={quote(valued)}", f"    last={last}", "    ;;")
    return "\n".join(f"    {line}" for line in lines)


def _entry(option: Option) -> str:
    """The flag that is offered, the long one, then the flags beside which it is not offered."""
    return f"{option.flags[-1]} {' '.join((*(() if option.repeats else option.flags), *option.excludes))}"


def _values(verb: Verb) -> list[str]:
    arms = [
        ("|".join(quote(f"{verb.name} {flag}") for flag in option.flags), _offer(option.value))
        for option in verb.options
        if option.value
    ]
    arms += [(quote(f"{verb.name} {i}"), _offer(place.value)) for i, place in enumerate(verb.positionals, 1)]
    return [f"    {pattern}) {call} ;;" for pattern, call in arms if call]


def _offer(value: Value) -> str:
    """The call that offers the values; empty, where only the person knows them."""
    names = "".join(f" {quote(word)}" for word in value.words)
    match sorted(value.what):
        case ["job"]:
            return "_ingestctl_jobs"
        case ["file"]:
            return "_ingestctl_files"
        case ["file", "job"]:
            return "_ingestctl_job_or_file"
        case ["folder"]:
            return "_ingestctl_folders"
        case ["user"]:
            return "_ingestctl_users"
        case ["model"]:
            return f"_ingestctl_models{names}"
        case ["sink"]:
            return f"_ingestctl_sinks{names}"
        case _:
            return f"_ingestctl_offer{names}" if names else ""
