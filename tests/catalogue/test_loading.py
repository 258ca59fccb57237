"""The catalogue of kinds: what other packages declare is loaded by a child, checked, and written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingestd.kinds import catalogue
from ingestd.kinds.steps import API, SHIPPED
from tests.pluginkit import package

DECLARE = "from ingestd.kinds.steps import Setting, StepKind\n"
GOOD = DECLARE + "GOOD = StepKind('shades', 'greys', 1, takes='switch', module='good.code')\n"
STEPS = "ingestd.steps"


def made(folder: Path, state: Path) -> bytes:
    """Have the catalogue written with the packages in ``folder``, under the lock that the daemon gives; the file."""
    state.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ingestd.catalogue", str(state), "--lockdown", "auto"]
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done
    return (state / catalogue.FILE).read_bytes()


def test_without_other_packages_there_is_what_ships(tmp_path: Path) -> None:
    """The file says so too, and a state folder without the file means the same."""
    assert catalogue.read(tmp_path).step_kinds == SHIPPED
    made(tmp_path / "none", tmp_path)
    found = catalogue.read(tmp_path)
    assert found.step_kinds == SHIPPED
    assert found.refused == ()


def test_a_declaration_is_written_down(tmp_path: Path) -> None:
    """With its package and version; made again it is the same file; without the package it is gone."""
    package(tmp_path / "site", "their-shades", GOOD, (STEPS, "shades = their_shades:GOOD"), version="2.5")
    state = tmp_path / "state"
    first = made(tmp_path / "site", state)
    found = catalogue.read(state)
    assert list(found.step_kinds) == [*SHIPPED, "shades"]
    assert (found.step_kinds["shades"].package, found.packages) == ("their-shades", {"their-shades": "2.5"})
    assert str(tmp_path / "site") in found.places
    assert json.loads((state / catalogue.FILE).read_text())["steps"][0]["flag"] == "--shades"
    written = os.stat(state / catalogue.FILE).st_mtime_ns
    assert made(tmp_path / "site", state) == first
    assert os.stat(state / catalogue.FILE).st_mtime_ns == written
    made(tmp_path / "none", state)
    assert catalogue.read(state).step_kinds == SHIPPED


KIND = "GOOD = StepKind(**(dict(name='shades', help='greys', api=1, module='m') | dict({})))"

UNFIT = {
    "raise SystemExit('bye')": "cannot be loaded: SystemExit: bye",
    "GOOD = 1 / 0": "cannot be loaded: ZeroDivisionError",
    "import no_such_library": "cannot be loaded: ModuleNotFoundError",
    "": "cannot be loaded: AttributeError",
    "GOOD = {'name': 'shades'}": "is no StepKind",
    "GOOD = StepKind(5, 'greys', 1, module='m')": "does not fit: Expected `str`, got `int`",
    "GOOD = StepKind('shades', object(), 1, module='m')": "does not fit",
    "GOOD = StepKind('embed', 'ours is better', 1, module='m')": "there is a kind embed already",
    "GOOD = StepKind('limit', 'greys', 1, module='m')": "the name limit means something else",
    "GOOD = StepKind('two words', 'greys', 1, module='m')": "'two words' is no name",
    "GOOD = StepKind('--sink', 'greys', 1, module='m')": "'--sink' is no name",
    "GOOD = StepKind('shades', 'greys', 1)": "which module",
    "GOOD = StepKind('shades', 'greys', module='m')": "Missing required argument 'api'",
    KIND.format("cost='free'"): "does not fit: Invalid enum value 'free'",
    KIND.format(f"api={API + 1}"): f"written for version {API + 1}",
    KIND.format("media=()"): "which media",
    KIND.format("settings=(Setting('prompt', 'text', 'x'),)"): "there is a setting prompt already",
    KIND.format("settings=(Setting('workers', 'int', 'x'),)"): "the name workers means something else",
}


@pytest.mark.parametrize("code", UNFIT)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, code: str) -> None:
    """The package, the entry point and the reason are kept; the neighbour's kind is there all the same."""
    package(tmp_path / "site", "a-bad-one", DECLARE + code, (STEPS, "shades = a_bad_one:GOOD"))
    greys = GOOD.replace("shades", "greys")
    package(tmp_path / "site", "their-greys", greys, (STEPS, "greys = their_greys:GOOD"))
    made(tmp_path / "site", tmp_path / "state")
    found = catalogue.read(tmp_path / "state")
    assert list(found.step_kinds) == [*SHIPPED, "greys"]
    [refused] = found.refused
    assert (refused.package, refused.name) == ("a-bad-one", "shades")
    assert UNFIT[code] in refused.why


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"api": 99, "steps": []}', b'{"steps": [{"name": 3}]}', b"\xff"])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, data: bytes) -> None:
    """Torn, of another release, or somebody else's: what ships goes on working."""
    (tmp_path / catalogue.FILE).write_bytes(data)
    assert catalogue.read(tmp_path) == catalogue.NOTHING


def test_the_client_needs_none_of_our_rules(tmp_path: Path) -> None:
    """The file is plain JSON with each flag written out."""
    code = DECLARE + KIND.format("takes='switch', settings=(Setting('most_shades', 'int', 'how many', 'N', 1, 9),)")
    package(tmp_path / "site", "their-shades", code, (STEPS, "shades = their_shades:GOOD"))
    made(tmp_path / "site", tmp_path / "state")
    [step] = json.loads((tmp_path / "state" / catalogue.FILE).read_text())["steps"]
    assert [step[key] for key in ("flag", "help", "takes", "package")] == [
        "--shades",
        "greys",
        "switch",
        "their-shades",
    ]
    [setting] = step["settings"]
    assert [setting[key] for key in ("flag", "type", "low", "high")] == ["--most-shades", "int", 1, 9]
