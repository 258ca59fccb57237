"""Completion in real shells: what is offered is what the parsers take, and what the running daemon has."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from ingestctl.completion import line as argument_line, words
from ingestctl.main import VERBS, parser_of

from ctl import hatch_build
from ingestd import config, errors, jobs
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
        (made.folder / "bin").mkdir()
        client = made.folder / "bin" / "ingestctl"
        client.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ingestctl "$@"\n')
        client.chmod(0o755)
        (made.cwd / "Pictures").mkdir()
        (made.cwd / "Pictures" / "cat.jpg").touch()
        (made.cwd / "a file.txt").touch()
        yield made


@pytest.fixture(scope="module", params=SHELLS)
def shell(
    request: pytest.FixtureRequest, place: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell | Fish]:
    """One shell for all lines: it is begun with the script that the client prints."""
    name: str = request.param
    program(name, f"completion in {name}")
    folder = tmp_path_factory.mktemp(name)
    script = folder / "script"
    script.write_text(place.run("completion", name).out)
    env = place.env(LANG="C.UTF-8", PATH=f"{place.folder / 'bin'}:{os.environ['PATH']}")
    made = (Fish if name == "fish" else Shell)(*((name,) if name != "fish" else ()), script, folder, place.cwd, env)
    yield made
    made.end()


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
    found = {word.rstrip("/=") for word in shell.offered(line)}
    if shell.name == "zsh" and line.endswith(" "):
        # Where nothing else can stand, zsh offers the options unasked.
        found = {word for word in found if not word.startswith("-")}
    if shell.name == "bash" and ":" in line.split()[-1] and not line.endswith(" "):
        # bash completes behind its own break: only the first of several stands behind the colon that was typed.
        typed = line.split()[-1].rpartition(":")[0] + ":"
        found = {word if word.startswith(typed) else typed + word for word in found}
    assert found == CASES[line]


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
    assert verbs == {"status": VERBS["status"][1]}
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
    assert argument_line.unexplained() == []


def test_the_words_are_the_daemons() -> None:
    """Names that are repeated on this side are those of the other."""
    known: dict[str, dict[str, tuple[str, ...]]] = {kind: {} for kind in names.KINDS.values()}
    for name, sizes in names.SHORT.items():
        known[names.KINDS[name]][name] = tuple(sizes)
    assert known == words.MODELS
    assert set(words.FAILURES) == set(get_args(errors.FailureKind))
    assert words.SINKS == config.SINK_KINDS
    assert {*words.ACTIVE, *words.OVER} == set(get_args(jobs.JobStatus))
    for verb in ("pause", "resume", "stop"):
        assert set(words.STATUSES[verb]) == {status for status, moves in jobs.JOB_MOVES.items() if verb in moves}, verb


@pytest.mark.parametrize(
    ("name", "shipped"),
    [
        ("bash", "share/bash-completion/completions/ingestctl"),
        ("zsh", "share/zsh/site-functions/_ingestctl"),
        ("fish", "share/fish/vendor_completions.d/ingestctl.fish"),
    ],
)
def test_what_is_shipped_is_what_is_printed(home: Home, name: str, shipped: str) -> None:
    """``completion`` prints the file that an installation brings along, where that shell looks for it."""
    assert home.run("completion", name).out == hatch_build.shared()[shipped]
