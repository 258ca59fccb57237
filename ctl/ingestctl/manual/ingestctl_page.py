"""The manual page ``ingestctl(1)``."""

from __future__ import annotations

import re

from ingestctl import rpc
from ingestctl.completion.command_line import Option, Positional, Value, Verb, verbs
from ingestctl.main import EXAMPLES, parser_of
from ingestctl.manual import markup

_DESCRIPTION = """
ingestctl is what a person types to have every image below a folder described, embedded and made searchable on their
own machine, or listed as failed with the reason. The work is done by the daemon ingestd(1), which ingestctl start
begins when none runs: the terminal may be closed, the machine may lose its power, and the work goes on from where it
was.

A job is a set of sources (folders, files or a list of them) with the models and sinks that they go to. It has a name
and a uuid. Where a verb takes a JOB and none is given, verbs that change something take the one active job, and verbs
that only tell take the newest. The same sources again find the same job: new and changed files are done, and nothing
is done twice.

Data goes to standard output, and talk to standard error.
"""

_MAC = "~/Library/Application Support/ingestd"

_PLACES = [
    ("$INGESTD_HOME", "if set, the folder of all that follows: state, log, config.toml and run/ingestd.sock in it"),
    ("~/.local/state/ingestd", f"the ledger, the search index and the JSONL files; on macOS {_MAC}"),
    ("~/.local/state/ingestd/log", "the log, where it does not go to the journal; on macOS ~/Library/Logs/ingestd"),
    ("~/.config/ingestd/config.toml", f"the settings, see ingestd(1); on macOS {_MAC}/config.toml"),
    (
        "$XDG_RUNTIME_DIR/ingestd/ingestd.sock",
        "the control socket; without that folder, /tmp/ingestd-UID/ingestd/ingestd.sock;"
        f" on macOS {_MAC}/run/ingestd.sock",
    ),
]

_ENVIRONMENT = [
    ("INGESTD_HOME", "a folder that holds everything, and a daemon of its own"),
    ("XDG_STATE_HOME", "stands for ~/.local/state"),
    ("XDG_CONFIG_HOME", "stands for ~/.config"),
    ("XDG_RUNTIME_DIR", "the folder of the control socket"),
    ("HF_HOME", "where models that were fetched lie; also HF_HUB_CACHE and XDG_CACHE_HOME"),
    ("NO_COLOR", "if not empty, no colour; --color always wins over it"),
    ("COLUMNS", "the width of the terminal"),
]

EXITS = [
    (rpc.EXIT_OK, "good"),
    (rpc.EXIT_ERROR, "an error, told on standard error with what to do about it"),
    (rpc.EXIT_USAGE, "wrong arguments"),
    (rpc.EXIT_FAILED_ITEMS, "finished, and some files failed (wait, start --follow)"),
    (rpc.EXIT_UNREACHABLE, "no daemon can be reached"),
    (rpc.EXIT_TEMPORARY, "temporary: try later"),
    (rpc.EXIT_INTERRUPTED, "interrupted"),
]


def page() -> str:
    """The whole page."""
    exits = [(markup.bold(str(code)), words) for code, words in EXITS]
    return markup.page(
        "ingestctl",
        "describe, embed and search the images of a folder",
        markup.section("SYNOPSIS", _line("", "[--color WHEN] VERB [OPTION ...] [ARGUMENT ...]")),
        markup.section("DESCRIPTION", markup.paragraphs(_DESCRIPTION)),
        markup.section("OPTIONS", markup.items(_OPTIONS)),
        markup.section("VERBS", *(_verb(verb) for verb in verbs())),
        markup.section("EXIT STATUS", markup.items(exits)),
        markup.section("ENVIRONMENT", markup.items((markup.bold(name), words) for name, words in _ENVIRONMENT)),
        markup.section("FILES", markup.items((markup.italic(path), words) for path, words in _PLACES)),
        markup.section("EXAMPLES", markup.examples(_in_a_hurry())),
        markup.section(
            "SEE ALSO", f"{markup.bold('ingestd')}(1), {markup.bold('journalctl')}(1), {markup.bold('jq')}(1)"
        ),
    )


_OPTIONS = [
    (
        markup.bold("--help") + ", " + markup.bold("-h"),
        "Before the verb: list the verbs. Behind it: what this verb takes.",
    ),
    (markup.bold("--version") + ", " + markup.bold("-V"), "Show the version, and end."),
    (
        f"{markup.bold('--color')} {markup.italic('auto')}|{markup.italic('always')}|{markup.italic('never')}",
        "Colour. It stands before or behind the verb; auto, the default, is for terminals.",
    ),
]
"""What every verb takes, told once."""

COMMON = frozenset(("--help", "--color"))


def _verb(verb: Verb) -> str:
    epilog = parser_of(verb.name).epilog
    options = [option for option in verb.options if not COMMON & set(option.flags)]
    places = " ".join(_positional(place) for place in verb.positionals)
    parts = [
        _line(verb.name, " ".join(filter(None, ("[OPTION ...]" if options else "", places)))),
        ".PP",
        markup.text(_sentence(verb.help)),
        markup.items(
            (markup.italic(place.value.label), _sentence(place.help)) for place in verb.positionals if place.help
        ),
        markup.items((_flags(option), _sentence(option.help, option.value)) for option in options),
    ]
    return markup.subsection(verb.name, *filter(None, parts), *([markup.epilog(epilog)] if epilog else []))


def _line(verb: str, rest: str) -> str:
    """A line of synopsis: the program, its verb, its options and arguments."""
    return " ".join(filter(None, (markup.bold(f"ingestctl {verb}".strip()), markup.text(rest))))


def _positional(place: Positional) -> str:
    many = " ..." if place.many else ""
    return f"{place.value.label}{many}" if place.needed else f"[{place.value.label}{many}]"


def _flags(option: Option) -> str:
    flags = ", ".join(markup.bold(flag) for flag in option.flags)
    return f"{flags} {markup.italic(option.value.label)}" if option.value else flags


def _sentence(help: str, value: Value | None = None) -> str:
    """Help as a sentence: with a capital letter and a full stop, which it has not in the columns of ``--help``.

    A word that is typed, at its beginning, keeps its case.
    """
    first = re.split(r"[\s,:]", help)[0]
    whole = help if value is not None and first in value.words else markup.begun(help)
    return whole if whole.endswith((".", "…")) else f"{whole}."


def _in_a_hurry() -> str:
    """The commands of the overview: its indented lines."""
    return "\n".join(line for line in EXAMPLES.splitlines() if line.startswith("  "))
