"""``search``: what is asked, and how hits are printed."""

from __future__ import annotations

import msgspec
import pytest

from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home, hit


def test_search_prints_score_path_description(home: Home) -> None:
    """One group needs no heading; several words are one text; filters reach the daemon, dates made exact."""
    daemon = home.daemon(search=c.SearchReply([c.SearchGroup(["photos"], "builtin", [hit(0.3123, "/p/a.jpg")], 4)], []))
    ran = home.run("search", "a", "cat", "--n", "3", "asleep", "--path", "sub", "--since", "2024", "--until", "2024-02")
    assert ran.out == "0.312  /p/a.jpg  tabby cat\n"
    assert ran.err == "Note: photos: 4 changes not searchable yet\n"
    assert daemon.asked("search") == [
        c.Search(
            text="a cat asleep",
            n=3,
            path=f"{home.cwd}/sub",
            since="2024-01-01T00:00:00Z",
            until="2024-02-29T23:59:59.999999Z",
        )
    ]


def test_search_shows_the_path_that_was_asked_for(home: Home) -> None:
    """Of a photo in several places the one below ``--path`` is printed; ``~`` means the home folder there."""
    copies = ["/p/first.jpg", "/p/subway/b.jpg", "/p/sub/a.jpg"]
    found = msgspec.structs.replace(hit(0.3, "/p/first.jpg"), paths=copies, paths_total=3)
    daemon = home.daemon(search=c.SearchReply([c.SearchGroup(["photos"], "builtin", [found], 0)], []))
    for folder in ("/p/sub", "/p/sub/", "/p//x/../sub"):
        assert home.run("search", "cat", "--path", folder).out == "0.300  /p/sub/a.jpg  tabby cat  (+2 copies)\n"
    assert home.run("search", "cat").out.startswith("0.300  /p/first.jpg")
    home.run("search", "cat", "--path=~/sub", env={"HOME": "/p"})
    assert daemon.asked("search")[-1].path == "/p/sub"


def test_search_groups_by_jobs(home: Home) -> None:
    """Scores of different encoders do not compare, so each group has its heading."""
    groups = [
        c.SearchGroup(["photos", "nas"], "builtin", [hit(0.3, "/p/a.jpg")], 0),
        c.SearchGroup(["beach"], "clip", [hit(0.2, "/b.jpg", description="")], 0),
    ]
    home.daemon(search=c.SearchReply(groups, ["one job has no store"]))
    ran = home.run("search", "cat")
    assert ran.out == "photos, nas (builtin)\n0.300  /p/a.jpg  tabby cat\n\nbeach (clip)\n0.200  /b.jpg\n"
    assert ran.err == "Note: one job has no store\n"


@pytest.mark.parametrize("date", ["yesterday", "2024-13", "24", "2024-02-30", "2024-01-01-01", "-5"])
def test_search_refuses_what_is_no_date(home: Home, date: str) -> None:
    """A date that cannot be read is a usage error that shows the forms, and the daemon is not asked."""
    ran = home.run("search", "cat", f"--since={date}")
    assert (ran.code, ran.out) == (2, "")
    assert "2024-05-17" in ran.err


def test_words_that_are_not_utf8_are_named(home: Home) -> None:
    """The word itself is shown, not the request around it."""
    home.daemon()
    ran = home.run("search", b"c\xffat", "--n", "1")
    assert ran.code == 2
    assert "Error: cannot search with these words: 'c\\udcffat' is not UTF-8" in ran.err, ran
