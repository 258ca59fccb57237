"""What a person reads and what a script decides by; settings and a ledger that cannot be read; models loaded."""

from __future__ import annotations

import re
from pathlib import Path

from tests.ctl.ctlkit import Home, plain
from tests.doctor.clinic import Books, examine
from tests.endpointkit import says, serving


def test_a_line_for_each_finding(home: Home, tmp_path: Path) -> None:
    """Level, what, finding and remedy on stdout; the sum on stderr; exit code 1 for a failure; colour when asked."""
    books = Books(home)
    books.add("gone", tmp_path / "gone\nhere")
    books.close()
    ran = home.run("doctor", "--color", "always")
    lines = plain(ran.out).splitlines()
    assert all(re.match(r"(ok  |warn|FAIL)  [a-z ]{12}  \S", line) for line in lines), ran.out
    (gone,) = [line for line in lines if line.startswith("FAIL")]
    assert gone.startswith(f"FAIL  source        {tmp_path}/gone\\nhere: there is no such file or folder")
    assert "(job gone) — Connect and mount it" in gone
    assert "\x1b[31mFAIL\x1b[0m" in ran.out
    assert re.fullmatch(r"\d+ ok, \d+ warnings?, 1 FAIL, in .* s\n", ran.err), ran.err
    assert ran.code == 1


def test_settings_and_a_ledger_that_cannot_be_read(home: Home) -> None:
    """Both are named with their remedies; the rest goes by the defaults."""
    (home.folder / "config.toml").write_text("workers = 0\n")
    (home.folder / "state").mkdir()
    (home.folder / "state" / "ledger.db").write_bytes(b"no database" * 1000)
    found = examine(home)
    assert found.code == 1
    assert "workers is '0'" in found.one("settings")["finding"]
    assert "not an SQLite database" in found.one("ledger")["finding"]
    assert found.one("state folder")["level"] == "ok"
    assert found.one("model")["finding"].startswith("builtin")


def test_a_socket_folder_that_others_may_write(home: Home) -> None:
    """The door's own rule, before a daemon is there to refuse it."""
    run = home.folder / "run"
    run.mkdir()
    run.chmod(0o777)
    named = examine(home).one("socket")
    assert (named["level"], "everybody may write it" in named["finding"]) == ("fail", True), named
    assert "chmod 700" in named["remedy"]


def test_it_makes_nothing(home: Home) -> None:
    """Before the first start there is nothing, and a look leaves nothing."""
    before = sorted(home.folder.rglob("*"))
    assert examine(home).one("ledger")["level"] == "ok"
    assert sorted(home.folder.rglob("*")) == before


def test_load_loads_them(home: Home, tmp_path: Path) -> None:
    """As the daemon does it: a probe, then a worker that says that it is ready. What does not load is named."""
    books = Books(home)
    with serving(behave=lambda ask: says("A photo.")) as endpoint:
        books.add("served", tmp_path, describe=endpoint.name)
        books.add("torn", tmp_path, describe=endpoint.name, max_tokens=1, embed="/nowhere")
        books.close()
        found = examine(home, "--load")
        assert f"answers and serves {endpoint.names[0]}" in found.one("model", "describe")["finding"]
        assert endpoint.asks, "the model was not asked for a picture"
    torn, well = found.of("load")
    assert re.fullmatch(rf"{re.escape(endpoint.name)}: loads in [\d.]+ s, .*MB of memory .job served.", well["finding"])
    assert (torn["level"], "there is no such folder" in torn["finding"]) == ("fail", True), torn
    assert found.code == 1
