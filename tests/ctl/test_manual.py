"""The manual pages say what the parsers, the settings and the exit codes are, and are good pages."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ingestctl import rpc
from ingestctl.main import VERBS, parser_of
from ingestctl.manual import ingestctl_page, ingestd_page

from ctl import hatch_build
from ingestd import config, errors
from ingestd.__main__ import arguments
from tests.needs import program, skip

ROOT = Path(__file__).resolve().parents[2]
PAGES = {place: text for place, text in hatch_build.shared().items() if "/man/" in place}


def read(page: str) -> dict[str, list[str]]:
    """The terms (tags of ``.TP``) of a page, bare of fonts, by heading: the section's or the verb's."""
    found: dict[str, list[str]] = {}
    lines = re.sub(r"\\f[BIR]", "", page).replace("\\-", "-").splitlines()
    heading = ""
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith((".SH ", ".SS ")):
            heading = line[4:]
            found[heading] = []
        elif before == ".TP":
            found[heading].append(line)
    return found


def flags(terms: list[str]) -> set[str]:
    return {word for term in terms for word in re.findall(r"(?<![\w-])--?\w[\w-]*", term)}


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


CLIENT, DAEMON = (read(PAGES[f"share/man/man1/{name}.1"]) for name in ("ingestctl", "ingestd"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_of_a_verb_is_there(verb: str) -> None:
    """A verb's part has the flags of its parser, those of every verb apart, which stand once at the beginning."""
    assert flags(CLIENT[verb]) | {"-h", "--help", "--color"} == flags_of(parser_of(verb))


def test_what_every_verb_takes_is_told_once() -> None:
    assert flags(CLIENT["OPTIONS"]) == {"-h", "--help", "-V", "--version", "--color"}


def test_the_verbs_are_in_the_order_of_the_overview() -> None:
    """Headings of the page: its sections, and between them every verb."""
    headings = list(CLIENT)
    assert [heading for heading in headings if heading in VERBS] == list(VERBS)
    sections = [heading for heading in headings if heading not in VERBS]
    assert sections[:5] == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "VERBS"]
    assert sections[5:] == ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"]


def test_the_daemons_options_are_there() -> None:
    assert flags(DAEMON["OPTIONS"]) == flags_of(arguments())


def test_the_settings_are_those_of_the_code() -> None:
    """Every key with its default, in the same order, as a line that config.toml takes."""
    assert {key: default for key, (default, _) in ingestd_page.SETTINGS.items()} == dict(config.DEFAULTS)
    lines = [re.sub(r"\\\(dq", '"', term) for term in DAEMON["CONFIGURATION"]]
    loaded = config.load({}, "\n".join(lines), "the page")
    assert {key: setting.value for key, setting in loaded.values.items()} == dict(config.DEFAULTS)


def test_the_exit_codes_are_those_of_the_code() -> None:
    """The client's and the daemon's own; ``2`` is what argparse ends with."""
    codes = {value for name, value in vars(rpc).items() if name.startswith("EXIT_")}
    assert {int(term) for term in CLIENT["EXIT STATUS"]} == codes == {code for code, _ in ingestctl_page.EXITS}
    own = {value for name, value in vars(errors).items() if name.startswith("EX_")}
    assert {int(term) for term in DAEMON["EXIT STATUS"]} == own | {errors.EXIT_OK, errors.EXIT_USAGE}


@pytest.mark.parametrize("place", PAGES)
def test_mandoc_has_nothing_to_say(place: str, tmp_path: Path) -> None:
    """No error, no warning, and nothing about style."""
    program("mandoc", "that mandoc finds no fault in the pages")
    page = tmp_path / Path(place).name
    page.write_text(PAGES[place], encoding="ascii")
    done = subprocess.run(["mandoc", "-Tlint", "-Wstyle", str(page)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done


@pytest.mark.parametrize("place", PAGES)
def test_groff_has_nothing_to_say(place: str, tmp_path: Path) -> None:
    """The page is shown by man without a warning, and looks as a page does."""
    man = program("man", "how man shows the pages")
    program("groff", "how man shows the pages")
    if Path(man).read_bytes().startswith(b"#!"):
        skip("man-db", "how man shows the pages (the man of this minimized image is a script that shows none)")
    page = tmp_path / Path(place).name
    page.write_text(PAGES[place])
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANOPT": ""}
    command = ["man", "--warnings", "--local-file", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    # Where a line ends is the formatter's choice.
    shown = " ".join(re.sub(r".\x08", "", done.stdout).split())
    assert shown.startswith(f"{page.stem.upper()}(1)")
    assert " SYNOPSIS ingest" in shown
    if page.stem == "ingestctl":
        assert " ingestctl search birthday --path ~/Pictures/2024 --json | jq -r '.groups[]" in shown
        assert "--sink SINK qdrant (in the state folder)" in shown


def test_the_same_source_makes_the_same_files() -> None:
    """No date of the build, no width of the terminal, no order of a set: another process makes them byte for byte."""
    code = (
        "import json, sys\n"
        "from ctl import hatch_build\n"
        "loaded = set(sys.modules); made = hatch_build.shared()\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - loaded}\n"
        "print(json.dumps([made, sorted(new - set(sys.stdlib_module_names))]))"
    )
    outputs = []
    for seed, columns in (("1", "40"), ("2", "200")):
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "COLUMNS": columns}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
        assert done.returncode == 0, done
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    # A wheel is built where none of our dependencies is.
    assert outputs[0].endswith('["ingestctl", "ingestd"]]\n')
