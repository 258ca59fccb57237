"""The script for zsh: a call of ``_arguments`` per verb, which knows options, their help and what excludes what."""

from __future__ import annotations

from shlex import quote

from ingestctl.completion.command_line import Option, Positional, Value, Verb, file_schemes, verbs
from ingestctl.completion.script_template import fill


def script() -> str:
    """The whole script: a file of ``fpath`` as it is, or text to be sourced after ``compinit``."""
    every = verbs()
    lines = [*(f"{verb.name}:{verb.help}" for verb in every), "help:the help of a verb"]
    return fill(
        "zsh",
        VERBS="\n".join(f"        {quote(line)}" for line in lines),
        ARGUMENTS="\n".join(_verb(verb) for verb in every),
        FILES=" ".join(file_schemes()),
    )


def _verb(verb: Verb) -> str:
    specs = [spec for option in verb.options for spec in option_specs(verb.name, option)]
    specs += [spec for index, place in enumerate(verb.positionals, 1) for spec in _positional(verb, index, place)]
    # What other packages add is looked up once a flag is on the line.
    head = ["    [[ -z ${words[(r)-*]} ]] || _ingestctl_added", "    _arguments -s -S $added \\"]
    lines = [f"{verb.name})", *(head if verb.name == "start" else ["    _arguments -s -S \\"])]
    lines += [f"        {quote(spec)} \\" for spec in specs[:-1]] + [f"        {quote(specs[-1])}", "    ;;"]
    return "\n".join(f"        {line}" for line in lines)


def option_specs(verb: str, option: Option) -> list[str]:
    """One spec of ``_arguments`` per flag: the flags that it excludes, its help, and what may follow it."""
    apart = [*(() if option.repeats else option.flags), *option.excludes]
    if "--help" in option.flags:
        apart = ["-", ":", "*"]
    lead = "*" if option.repeats else f"({' '.join(apart)})"
    # A long option takes its word behind a space or an =.
    ways = [(flag, ("=" if flag.startswith("--") else "+") if option.value else "") for flag in option.flags]
    value = f":{_message(option.value)}:{_action(verb, option.value)}" if option.value else ""
    return [f"{lead}{flag}{way}[{_text(option.help)}]{value}" for flag, way in ways]


def _positional(verb: Verb, index: int, place: Positional) -> list[str]:
    optional = "" if place.needed else ":"
    one = f"{index}:{optional}{_message(place.value)}:{_action(verb.name, place.value)}"
    if not place.many:
        return [one]
    # A job may stand at the first place alone, and files at all of them.
    if place.value.what == {"job", "file"}:
        return [one, "*:PATH:_files"]
    return [f"*:{_message(place.value)}:{_action(verb.name, place.value)}"]


def _message(value: Value) -> str:
    return _text(value.label.replace("|", " or "))


def _action(verb: str, value: Value) -> str:
    """What completes it; a blank, where only the person knows. A blank before a call keeps its arguments apart."""
    names = " ".join(value.words).replace(":", "\\:")
    match sorted(value.what):
        case ["job"]:
            return f" _ingestctl_jobs {verb}"
        case ["file"]:
            return "_files"
        case ["file", "job"]:
            return f" _ingestctl_job_or_file {verb}"
        case ["folder"]:
            return "_files -/"
        case ["user"]:
            return "_users"
        case ["model"]:
            return f" _ingestctl_models {names}"
        case ["sink"]:
            return f" _ingestctl_sinks {names}"
        case _:
            return f"({names})" if names else " "


def _text(help: str) -> str:
    """Help as ``_arguments`` takes it between brackets or colons."""
    return help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
