"""The manual page ``ingestd(1)``. Its parser is passed in: this client imports nothing of the daemon."""

from __future__ import annotations

import argparse

from ingestctl.manual import markup

_DESCRIPTION = """
ingestd walks folders, gives their images to models, keeps the results in a ledger and delivers them to sinks: a search
index, files of JSON lines. People talk to it with ingestctl(1), and mostly need not start it: ingestctl start begins
it in the background, and ingestctl service install has systemd or launchd begin it and start it again when it dies.

One daemon holds one state folder; a second one exits and names the first. Folders, images, models and sinks are
touched by child processes alone, so that none of them can stall or end the daemon. However it ends, at most the images
that were in the models are done again.
"""

_CONFIGURATION = """
A flag of ingestctl start wins over the environment (INGESTD_ and the key in capitals, as the daemon saw it when it
started), that over the file config.toml, that over the default. ingestctl config prints each value and where it comes
from. The keys, with their defaults:
"""

SETTINGS: dict[str, tuple[str, str]] = {
    "describe": ("builtin", "the model that describes, or none"),
    "embed": ("builtin", "the model that embeds, or none: without vectors there is no search"),
    "embed_text": ("none", "the model that makes a vector of each description"),
    "device": ("auto", "where models run: auto, cpu, cuda, cuda:N or mps"),
    "concurrency": ("4", "requests that an endpoint gets at once"),
    "endpoint_key_file": ("", "a file with the endpoint's key"),
    "endpoint_open_http": ("no", "yes: the key may go over plain HTTP to another machine"),
    "qdrant_key_file": ("", "a file with the Qdrant server's API key"),
    "batch_size": ("100", "items per worker process; each batch is a fresh one"),
    "cooldown": ("auto", "seconds between worker processes; auto is none"),
    "workers": ("1", "worker processes at a time"),
    "sinks": ("qdrant,jsonl", "where results go"),
    "awake": ("auto", "no: the machine may go to sleep while a job runs"),
    "read_group": ("", "a group whose members may look on: status, search and what else changes nothing"),
    "lockdown": ("auto", "no: child processes are not shut in by the kernel"),
    "log_level": ("info", "debug, info, warning or error"),
}
"""Key: default and meaning. A test holds keys and defaults equal to ``ingestd.config``."""

_SIGNALS = [
    ("SIGTERM", "end in order: what is in the models is finished, the rest is given back; the next start goes on"),
    ("SIGINT", "the same"),
    ("SIGHUP", "read the configuration again, and begin the log file anew"),
]

EXITS = {
    0: "ended in order",
    2: "wrong arguments",
    64: "it was not told rightly how to start",
    69: "another daemon holds the state folder",
    70: "an error inside; the log says which",
    75: "something was away, such as space on the disk: it is worth trying again",
    78: "a mistake in the configuration: it is told, and a restart does not help",
}
"""The codes of sysexits(3) that a service manager decides by."""

_ENVIRONMENT = [
    ("INGESTD_KEY", "where KEY is a key of the configuration in capitals: its value"),
    ("INGESTD_HOME", "a folder that holds state, log, socket and configuration; see ingestctl(1)"),
    ("INGESTD_ENDPOINT_KEY", "the key of an endpoint that describes"),
    ("INGESTD_QDRANT_KEY", "the API key of a Qdrant server"),
    ("HF_HOME", "where models lie; HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured as well"),
    ("NOTIFY_SOCKET", "set by systemd, which is told of readiness, state and progress"),
]


_FILES = "See ingestctl(1); ingestctl config prints the places as they are for you."


def page(parser: argparse.ArgumentParser) -> str:
    """The whole page. ``parser`` is the daemon's own."""
    options = [action for action in parser._actions if action.option_strings]
    settings = [(f"{markup.bold(key)} = {_quoted(default)}", words) for key, (default, words) in SETTINGS.items()]
    synopsis = [_usage(action) for action in options if "--help" not in action.option_strings]
    return markup.page(
        "ingestd",
        "the daemon that describes, embeds and indexes the images of a folder",
        markup.section("SYNOPSIS", markup.bold("ingestd"), *synopsis),
        markup.section("DESCRIPTION", markup.paragraphs(_DESCRIPTION)),
        markup.section("OPTIONS", markup.items((_flags(action), _sentence(action)) for action in options)),
        markup.section("CONFIGURATION", markup.paragraphs(_CONFIGURATION), markup.items(settings)),
        markup.section("SIGNALS", markup.items((markup.bold(name), words) for name, words in _SIGNALS)),
        markup.section("EXIT STATUS", markup.items((markup.bold(str(code)), words) for code, words in EXITS.items())),
        markup.section("ENVIRONMENT", markup.items((markup.bold(name), words) for name, words in _ENVIRONMENT)),
        markup.section("FILES", markup.text(_FILES)),
        markup.section("SEE ALSO", f"{markup.bold('ingestctl')}(1), {markup.bold('systemctl')}(1)"),
    )


def _flags(action: argparse.Action) -> str:
    flags = ", ".join(markup.bold(flag) for flag in action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {markup.italic(_label(action))}"


def _usage(action: argparse.Action) -> str:
    """One of the synopsis's options, in brackets."""
    value = "" if action.nargs == 0 else f" {markup.italic(_label(action))}"
    return f"[{markup.bold(action.option_strings[-1])}{value}]"


def _label(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()


def _sentence(action: argparse.Action) -> str:
    return f"{markup.begun((action.help or '').rstrip('.'))}."


def _quoted(default: str) -> str:
    """As ``config.toml`` writes it: numbers bare, lists in brackets, text in quotes."""
    if default.isdecimal():
        return default
    return markup.text(
        "[" + ", ".join(f'"{part}"' for part in default.split(",")) + "]" if "," in default else f'"{default}"'
    )
