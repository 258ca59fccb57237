"""The argument line: help, mistakes, colour, and nothing that could steer a terminal."""

from __future__ import annotations

import ingestctl
import pytest
from ingestctl.main import VERBS

import ingestd
from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home, counts, daemon_status, hit, job, refuse


def test_one_version() -> None:
    """Client and daemon are one distribution; the client cannot import the other's number."""
    assert ingestctl.__version__ == ingestd.__version__


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "usage: ingestctl"),
        (["statsu"], 2, "Try: ingestctl status"),
        (["--colour"], 2, "no option"),
        (["--version"], 0, "ingestctl 0"),
        (["help"], 0, "in a hurry"),
        (["help", "pause"], 0, "usage: ingestctl pause"),
        (["pause", "a", "b"], 2, "unrecognized"),
        (["status", "--watch"], 2, "no terminal"),
    ],
)
def test_the_argument_line(home: Home, words: list[str], code: int, said: str) -> None:
    """Mistakes exit with 2 on stderr, help with 0 on stdout."""
    ran = home.run(*words)
    assert ran.code == code, ran
    assert said in (ran.err if code else ran.out)
    assert (ran.out if code else ran.err) == ""


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(home: Home, verb: str) -> None:
    """``VERB --help`` needs no daemon and goes to stdout."""
    ran = home.run(verb, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: ingestctl {verb}")


def test_words_after_two_dashes(home: Home) -> None:
    """``--`` ends the options: what begins with a dash may be searched for, too."""
    daemon = home.daemon(search=c.SearchReply([c.SearchGroup(["photos"], "builtin", [], 0)], []))
    assert home.run("search", "--n", "3", "a", "--", "-cat", "--n").code == 0
    assert daemon.asked("search") == [c.Search(text="a -cat --n", n=3)]


def test_nothing_of_a_name_reaches_the_terminal_raw(home: Home) -> None:
    """Escape sequences, newlines and direction overrides in names, texts and errors are shown as escapes."""
    evil = "/p/\x1b]0;owned\x07\x9b31m\u202egpj.exe\n.jpg"
    home.daemon(
        status=c.StatusReply(daemon_status(), [job(name=evil, last_items=[c.LastItem(evil, 1.0, "done")])]),
        search=c.SearchReply([c.SearchGroup(["photos"], "m", [hit(0.3, evil, description=evil)], 0)], [evil]),
        failed=c.FailedReply(
            "photos", 1, [c.FailedRow(1, evil, "corrupt", evil, "d", "all", 1, 0.0, evil, evil)], None
        ),
        show=refuse(evil, "show", evil, evil),
    )
    for words in (
        ["status"],
        ["search", "cat"],
        ["failed"],
        ["show", "x"],
        ["status", "--json"],
        ["search", "c", "--json"],
    ):
        ran = home.run(*words)
        for character in "\x1b\x07\x9b\u202e":
            assert character not in ran.out + ran.err, words
        if "--json" not in words:
            assert "\\x1b]0;owned\\x07\\x9b31m\\u202egpj.exe\\n.jpg" in ran.out + ran.err, words


def test_colour_only_where_it_is_wanted(home: Home) -> None:
    """A pipe gets none; ``--color always`` works before and after the verb; ``never`` wins over a terminal."""
    home.daemon(status=c.StatusReply(daemon_status(), [job(counts=counts())]))
    assert "\x1b" not in home.run("status").out
    assert "\x1b[" in home.run("status", "--color", "always").out
    assert "\x1b[" in home.run("--color=always", "status").out
    assert "\x1b" not in home.run("--color", "always", "status", "--color", "never").out
