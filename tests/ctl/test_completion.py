"""Completion in real shells: what is offered is what the parsers take, and what the running daemon has."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from ingestctl.completion import command_line, known_values
from ingestctl.main import VERBS, parser_of

from ctl import hatch_build
from ingestd import errors
from ingestd.policy import states
from ingestd.protocol import control as c
from ingestd.worker.models.hub import names
from tests.ctl.ctlkit import Home, daemon_status, home, job
from tests.ctl.shellkit import Fish, Shell
from tests.needs import program

SHELLS = ("bash", "zsh", "fish")
ODD = "it's 5:30 $HOME"
HOSTILE = ("1 $(touch made) \"'", "2 `touch made` \\ '", "3 '; touch made '", '4 "; touch made "', "5 * ~root")
"""Names that would run a program, or become something else, were they put between quotes as they are."""

JOBS = {"photos": "running", "my photos": "paused", ODD: "paused", "old": "completed"}


@pytest.fixture(scope="module")
def place() -> Iterator[Home]:
    """A home with a daemon that has ``JOBS``, files to complete, and the client on PATH."""
    with home() as made:
        known = [job(name=name, status=status, phase=status) for name, status in JOBS.items()]
        # Such names cannot be completed: no shell hands them back as they are, or they are taken for options.
        known += [job(name="-x", status="paused"), job(name="bell\x07", status="paused")]
        known += [job(name=name, status="failed", phase="failed") for name in HOSTILE]
        made.daemon(status=c.StatusReply(daemon_status(), known))
        put_client(made)
        (made.cwd / "Pictures").mkdir()
        (made.cwd / "Pictures" / "cat.jpg").touch()
        (made.cwd / "a file.txt").touch()
        yield made


@pytest.fixture(scope="module")
def place_with_kinds() -> Iterator[Home]:
    """A home whose daemon knows a step and a sink of other packages."""
    with home() as made:
        (made.folder / "state").mkdir()
        (made.folder / "state" / "kinds.json").write_text(json.dumps(CATALOGUE))
        put_client(made)
        (made.cwd / "a file.txt").touch()
        (made.cwd / "models").mkdir()
        yield made


@pytest.fixture(scope="module", params=SHELLS)
def shell(
    request: pytest.FixtureRequest, place: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell | Fish]:
    """One shell for all lines: it is begun with the script that the client prints."""
    made = begin(request.param, place, tmp_path_factory)
    yield made
    made.end()


@pytest.fixture(scope="module", params=SHELLS)
def shell_with_kinds(
    request: pytest.FixtureRequest, place_with_kinds: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell | Fish]:
    """As ``shell``, where the daemon knows more than what ships."""
    made = begin(request.param, place_with_kinds, tmp_path_factory)
    yield made
    made.end()


def put_client(made: Home) -> None:
    """The client under its own name, for the shells to find on PATH."""
    (made.folder / "bin").mkdir()
    client = made.folder / "bin" / "ingestctl"
    client.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ingestctl "$@"\n')
    client.chmod(0o755)


def begin(name: str, place: Home, tmp_path_factory: pytest.TempPathFactory) -> Shell | Fish:
    """A shell that has read the script which the client prints."""
    program(name, f"completion in {name}")
    folder = tmp_path_factory.mktemp(name)
    script = folder / "script"
    script.write_text(place.run("completion", name).out)
    env = place.env(LANG="C.UTF-8", PATH=f"{place.folder / 'bin'}:{os.environ['PATH']}")
    if name == "fish":
        return Fish(script, folder, place.cwd, env)
    return Shell(name, script, folder, place.cwd, env)


CASES: dict[str, set[str]] = {
    "ingestctl sta": {"start", "status"},
    "ingestctl --color ": {"auto", "always", "never"},
    "ingestctl --color never sta": {"start", "status"},
    "ingestctl help sta": {"start", "status"},
    # Jobs are those that the verb can change.
    "ingestctl status ": {*JOBS, *HOSTILE},
    "ingestctl pause ": {"photos"},
    "ingestctl resume ": {"my photos", ODD},
    "ingestctl remove ": {"old", *HOSTILE},
    "ingestctl pause photos ": set(),
    "ingestctl search cat --job ": {*JOBS, *HOSTILE},
    # Files, folders, both.
    "ingestctl start ": {"Pictures", "a file.txt"},
    "ingestctl start Pictures a": {"a file.txt"},
    "ingestctl show Pictures/": {"Pictures/cat.jpg"},
    "ingestctl search --like a": {"a file.txt"},
    "ingestctl search --path ": {"Pictures"},
    "ingestctl retry Pictures/": {"Pictures/cat.jpg"},
    # Models and sinks, some with a colon in them.
    "ingestctl start --describe smolvlm:": {"smolvlm:256m", "smolvlm:500m", "smolvlm:2.2b"},
    "ingestctl start --embed cl": {"clip", "clip:base", "clip:large"},
    "ingestctl start --embed-text ": {"builtin", "none", "minilm", "minilm:l6"},
    "ingestctl models ": {"list", "pull", "remove"},
    "ingestctl models pull clip:": {"clip:base", "clip:large"},
    "ingestctl start --sink ": {"qdrant", "jsonl"},
    "ingestctl start --sink jsonl:a": {"jsonl:a file.txt"},
    # Choices, and what nobody can know.
    "ingestctl start --device c": {"cpu", "cuda"},
    "ingestctl failed --kind un": {"unreadable", "unsupported"},
    "ingestctl completion ": {"bash", "zsh", "fish"},
    "ingestctl search ": set(),
    "ingestctl start --name ": set(),
    "ingestctl start --limit ": set(),
    # What stands on the line already, or cannot stand beside it, is not offered again; what may be repeated is.
    "ingestctl status --json --w": set(),
    "ingestctl status --watch --j": set(),
    "ingestctl start --follow --fo": set(),
    "ingestctl start --include x --inc": {"--include"},
    "ingestctl start -- --": set(),
}


@pytest.mark.parametrize("line", CASES)
def test_what_is_offered(shell: Shell | Fish, line: str) -> None:
    """A key press at the end of the line offers exactly what may stand there."""
    assert offered(shell, line) == CASES[line]


def offered(shell: Shell | Fish, line: str) -> set[str]:
    """The words that ``shell`` offers, without what only the shells' ways of saying it put around them."""
    found = {word.rstrip("/=") for word in shell.offered(line)}
    if shell.name == "zsh" and line.endswith(" "):
        # Where nothing else can stand, zsh offers the options unasked.
        found = {word for word in found if not word.startswith("-")}
    if shell.name == "bash" and ":" in line.split()[-1] and not line.endswith(" "):
        # bash completes behind its own break: only the first of several stands behind the colon that was typed.
        typed = line.split()[-1].rpartition(":")[0] + ":"
        found = {word if word.startswith(typed) else typed + word for word in found}
    return found


WITH_KINDS: dict[str, set[str]] = {
    "ingestctl start . --colour": {"--colours", "--colours-count", "--colours-how"},
    "ingestctl start . --colours --colour": {"--colours-count", "--colours-how"},
    "ingestctl start . --colours-how=f --colour": {"--colours", "--colours-count"},
    "ingestctl start --colours-how ": {"fast", "exact"},
    "ingestctl start --colours-how e": {"exact"},
    "ingestctl start --colours-how=f": {"--colours-how=fast"},
    "ingestctl start --colours-count ": set(),
    "ingestctl start --palette ": {"a file.txt", "models"},
    "ingestctl start --mood ": {"happy", "sad"},
    "ingestctl start --mood ./mo": {"./models"},
    # A word behind the flag is none of the sources, and the one after it is.
    "ingestctl start --colours-how fast a": {"a file.txt"},
    "ingestctl start --colours a": {"a file.txt"},
    "ingestctl start -- --colours": set(),
    "ingestctl status --colours": set(),
    # What ships is there as ever.
    "ingestctl start . --embe": {"--embed", "--embed-text"},
    "ingestctl start --colours --describe smolvlm:2": {"smolvlm:256m", "smolvlm:2.2b"},
    "ingestctl start --sink ": {"qdrant", "jsonl", "csv", "postgres"},
    "ingestctl start --sink c": {"csv"},
    "ingestctl start --sink csv:a": {"csv:a file.txt"},
    "ingestctl start --sink jsonl:a": {"jsonl:a file.txt"},
}

CATALOGUE = {
    "api": 1,
    "steps": [
        {
            "name": "colours",
            "flag": "--colours",
            "help": "the [main] colours: 100% of them",
            "takes": "switch",
            "settings": [{"flag": "--colours-count", "metavar": "N", "help": "how many", "type": "int"}],
            "package": "p",
        },
        {"name": "how", "flag": "--colours-how", "help": "it's how", "takes": "choice", "choices": ["fast", "exact"]},
        {
            "name": "mood",
            "flag": "--mood",
            "help": "$(touch made)",
            "takes": "model",
            "choices": ["happy", "sad"],
            "settings": [{"flag": "--palette", "metavar": "PATH", "help": "`touch made`", "type": "text"}],
        },
    ],
    "sinks": [
        {"name": "csv", "schemes": ["csv"], "help": "rows", "place": "file"},
        {"name": "postgres", "schemes": ["postgres"], "help": "a table", "place": "url"},
    ],
}


@pytest.mark.parametrize("line", WITH_KINDS)
def test_what_other_packages_add_is_offered(shell_with_kinds: Shell | Fish, line: str) -> None:
    """The script is made when a wheel is built; what the daemon's catalogue adds is asked when the key is pressed."""
    assert offered(shell_with_kinds, line) == WITH_KINDS[line]


def test_what_other_packages_write_is_not_run(place_with_kinds: Home, shell_with_kinds: Shell | Fish) -> None:
    """Their help is shown or not, and never a command."""
    shell_with_kinds.offered("ingestctl start . --mo")
    shell_with_kinds.offered("ingestctl start . --pal")
    assert not (place_with_kinds.cwd / "made").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_offered(shell: Shell | Fish, verb: str) -> None:
    """The long options of a verb's parser, no more and no less."""
    flags = {flag for action in parser_of(verb)._actions for flag in action.option_strings if flag.startswith("--")}
    assert {word.rstrip("=") for word in shell.offered(f"ingestctl {verb} --")} == flags


def test_every_verb_is_offered(shell: Shell | Fish) -> None:
    assert shell.offered("ingestctl ") == {*VERBS, "help"}


@pytest.mark.parametrize("shell", ["bash", "zsh"], indirect=True)
def test_names_are_quoted_as_the_line_needs_it(shell: Shell) -> None:
    """A name with blanks and signs comes back as one word, whatever quotes the line has open."""
    for begun in ("my", "my\\ ", '"my', "'my", '"my ph'):
        assert shlex.split(shell.press(f"ingestctl resume {begun}")) == ["ingestctl", "resume", "my photos"], begun
    assert shlex.split(shell.press("ingestctl resume it")) == ["ingestctl", "resume", ODD]
    assert shlex.split(shell.press("ingestctl show x --job=my")) == ["ingestctl", "show", "x", "--job=my photos"]


@pytest.mark.parametrize("shell", ["bash", "zsh"], indirect=True)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_never_more_than_a_word(shell: Shell, name: str) -> None:
    """What the line then says is the name and nothing else, to the shell itself, whatever quotes were open."""
    for begun in ("", '"', "'"):
        line = shell.press(f"ingestctl remove {begun}{name[0]}")
        said = subprocess.run([shell.name, "-c", f"printf '%s|' {line}"], capture_output=True, text=True, check=False)
        assert said.stdout == f"ingestctl|remove|{name}|", line


@pytest.mark.parametrize("shell", ["bash", "zsh"], indirect=True)
def test_the_cursor_may_stand_inside_of_the_line(shell: Shell) -> None:
    """What stands behind the cursor is none of the words before it."""
    back = b"\x1b[D" * len(" --json")
    assert shell.press("ingestctl statu --json", back + b"\t").startswith("ingestctl status ")


def test_descriptions_are_shown(place: Home, tmp_path: Path) -> None:
    """fish shows each option's help, each verb's line and each job's status beside it."""
    program("fish", "the descriptions that fish shows")
    (tmp_path / "script").write_text(place.run("completion", "fish").out)
    fish = Fish(tmp_path / "script", tmp_path, place.cwd, place.env(PATH=f"{place.folder}/bin:{os.environ['PATH']}"))
    lines = ("ingestctl stat", "ingestctl status --w", "ingestctl resume my", "ingestctl start --embed cl")
    verbs, options, known, models = fish.told(*lines)
    assert verbs == {"status": VERBS["status"]}
    assert options == {"--watch": "draw it anew each second"}
    assert known == {"my photos": "paused"}
    # Not the option's help behind each of its words.
    assert set(models.values()) == {""}


def test_jobs_are_silent_without_a_daemon(home: Home) -> None:
    """TAB is no place for an error: no daemon, and one that does not answer, are no names, soon."""
    ran = home.run("completion", "jobs", "pause")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    home.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(home.socket))
        deaf.listen(1)
        ran = home.run("completion", "jobs", "pause")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_every_argument_is_explained() -> None:
    """Of each option with a word it is said what completes that, if only that nothing can."""
    assert command_line.unexplained() == []


def test_the_words_are_the_daemons() -> None:
    """Names that are repeated on this side are those of the other."""
    known: dict[str, dict[str, tuple[str, ...]]] = {kind: {} for kind in names.KINDS.values()}
    for name, sizes in names.SHORT.items():
        known[names.KINDS[name]][name] = tuple(sizes)
    assert known == known_values.MODELS
    assert set(known_values.FAILURES) == set(get_args(errors.FailureKind))
    assert {*known_values.ACTIVE, *known_values.OVER} == set(get_args(states.JobStatus))
    for verb in ("pause", "resume", "stop"):
        assert set(known_values.STATUSES[verb]) == {
            status for status, moves in states.JOB_MOVES.items() if verb in moves
        }, verb


@pytest.mark.parametrize(
    ("name", "shipped"),
    [
        ("bash", "share/bash-completion/completions/ingestctl"),
        ("zsh", "share/zsh/site-functions/_ingestctl"),
        ("fish", "share/fish/vendor_completions.d/ingestctl.fish"),
    ],
)
def test_what_is_shipped_is_what_is_printed(place_with_kinds: Home, name: str, shipped: str) -> None:
    """``completion`` prints the file that an installation brings along, whatever the daemon's catalogue adds here."""
    assert place_with_kinds.run("completion", name).out == hatch_build.shared()[shipped]
