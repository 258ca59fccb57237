"""The console script: reads the argument line, runs a verb, prints errors, returns the exit code."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

VERBS: dict[str, str] = {
    "start": "ingest folders, files or a list of them; start the daemon if none runs",
    "status": "what is done, what is left, how long it takes, and why nothing runs if nothing runs",
    "pause": "let the images in the model finish, then free memory and processor",
    "resume": "go on with a paused job",
    "stop": "end a job for good; its results stay",
    "wait": "wait until a job rests, and exit with its result",
    "summary": "success rate, seconds per item, failures by kind, batches, memory",
    "failed": "which files failed, why, and what to do",
    "show": "everything known about one file",
    "retry": "try failed files again",
    "search": "find photos by what is in them",
    "logs": "the daemon's log; -f follows it",
    "remove": "forget a job that does not run, with its stores; your photos stay",
    "models": "which models are on this machine; fetch one, or remove one",
    "doctor": "will jobs run well on this machine? one line a finding, with the remedy",
    "config": "every setting, its value and where that comes from",
    "shutdown": "end the daemon; running jobs go on when it starts again",
    "service": "have the daemon start by itself: install, uninstall, status, logs",
    "completion": "a script for bash, zsh or fish that completes verbs, options, jobs and models",
}
"""Verb: its line in the help. Its file is ``verbs/VERB.py``, with ``arguments(parser)`` and ``run(args)``."""

ALONE = frozenset(("models", "doctor", "service", "completion"))
"""Verbs that no daemon answers: they are the same with and without one."""

EXAMPLES = """\
in a hurry:
  ingestctl start ~/Pictures                 ingest a folder in the background
  ingestctl status --watch                   look at it live; Ctrl-C leaves it running
  ingestctl search a cat on a sofa           find photos
  ingestctl failed                           what did not work, and why
  find /nas -name '*.jpg' -print0 | ingestctl start -0 -

exit codes: 0 good, 1 error, 2 wrong arguments, 3 finished with failed files, 4 no daemon, 5 try later, 130 interrupted
'ingestctl VERB --help' tells more about a verb.
"""

_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit code. Never raises, apart from what argparse exits with."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shows question marks rather than ending the command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has seen what it wanted (``| head``). Python flushes stdout once more at its end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _run(argv: list[str]) -> int:
    color = "auto"
    while argv and argv[0].startswith("-") and argv[0] != "-":
        option = argv.pop(0)
        if option in ("-h", "--help"):
            print(overview(), end="")
            return 0
        if option in ("-V", "--version"):
            from ingestctl import __version__

            print(f"ingestctl {__version__}")
            return 0
        name, equals, value = option.partition("=")
        value = value if equals or name != "--color" or not argv else argv.pop(0)
        if name != "--color" or value not in ("auto", "always", "never"):
            return _misused(f"there is no option {option!r} before the verb", "ingestctl --help")
        color = value
    if not argv:
        print(overview(), end="", file=sys.stderr)
        return _EXIT_USAGE
    verb, *rest = argv
    if verb == "help":
        verb, rest = (rest[0], ["--help"]) if rest else ("help", [])
        if verb == "help":
            print(overview(), end="")
            return 0
    if verb not in VERBS:
        from difflib import get_close_matches

        # A verb cut short (``stat``) is meant as its beginning, whatever else looks like it.
        near = [known for known in VERBS if known.startswith(verb)] or get_close_matches(verb, VERBS, 1)
        return _misused(f"there is no verb {verb!r}", f"ingestctl {near[0] if near else '--help'}")

    from ingestctl.rpc import CommandError

    try:
        return _call(verb, rest, color)
    except CommandError as failure:
        complain(failure, color)
        return failure.exit


def _call(verb: str, rest: list[str], color: str) -> int:
    """Load the verb's module, let it describe its arguments, run it. Only this verb's parser is ever built."""
    from importlib import import_module

    module = import_module(f"ingestctl.verbs.{verb}")
    parser = parser_of(verb)
    if hasattr(module, "catalogue_arguments"):
        module.catalogue_arguments(parser)
    parser.set_defaults(color=color)
    # Several words with options between them (``search a cat --n 3 asleep``) need argparse's slower way.
    args = _intermixed(parser, rest) if verb in ("start", "search", "retry") else parser.parse_args(rest)
    code: int = module.run(args)
    return code


def _intermixed(parser: argparse.ArgumentParser, rest: list[str]) -> argparse.Namespace:
    """``parse_intermixed_args``, which loses what follows ``--``: a NUL, which no word holds, marks those words."""
    if "--" in rest:
        at = rest.index("--")
        rest = rest[:at] + ["\0" + word for word in rest[at + 1 :]]
    args = parser.parse_intermixed_args(rest)
    for key, value in vars(args).items():
        if isinstance(value, list):
            setattr(args, key, [word.removeprefix("\0") for word in value])
    return args


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The verb's parser, from which its help, its completion and its part of the manual are made.

    What a verb's ``catalogue_arguments(parser)`` adds when it runs is not in it, because that differs by installation.
    """
    import argparse
    from importlib import import_module

    def formatter(prog: str) -> argparse.RawDescriptionHelpFormatter:
        # Given a width, argparse need not import shutil to ask for it, on every run, help or not.
        return argparse.RawDescriptionHelpFormatter(prog, width=_width(), max_help_position=28)

    summary = VERBS[verb]
    parser = argparse.ArgumentParser(
        prog=f"ingestctl {verb}",
        description=summary[0].upper() + summary[1:] + ".",
        formatter_class=formatter,
        allow_abbrev=False,
    )
    import_module(f"ingestctl.verbs.{verb}").arguments(parser)
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="colour (default: auto)")
    return parser


def overview() -> str:
    """The help without a verb."""
    wide = max(map(len, VERBS)) + 2
    lines = [f"  {verb:<{wide}}{summary}" for verb, summary in VERBS.items()]
    head = "usage: ingestctl [--help] [--version] [--color auto|always|never] VERB …\n\n"
    tale = "Every image in a folder ends up described, embedded and searchable, or listed as failed with the reason.\n"
    return head + tale + "\nverbs:\n" + "\n".join(lines) + "\n\n" + EXAMPLES


def complain(failure: Exception, color: str) -> None:
    """The two lines of an error, on stderr."""
    from ingestctl.rpc import CommandError
    from ingestctl.terminal_text import clean, paint_for

    assert isinstance(failure, CommandError)
    paint = paint_for(sys.stderr, color)
    message = "\n       ".join(clean(line) for line in failure.message.splitlines())
    what = f"cannot {failure.operation} {clean(failure.object)}: {message}"
    print(f"{paint('red', 'Error:')} {what}", file=sys.stderr)
    if failure.remedy:
        print(f"{paint('bold', 'Try:')} {clean(failure.remedy)}", file=sys.stderr)


def _misused(message: str, remedy: str) -> int:
    print(f"Error: cannot run that: {message}\nTry: {remedy}", file=sys.stderr)
    return _EXIT_USAGE


def _width() -> int:
    try:
        return min(110, int(os.environ.get("COLUMNS", 0)) or os.get_terminal_size(2).columns)
    except (OSError, ValueError):
        return 100
