"""The catalogue is made anew when packages changed, and costs nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ingestd import catalogue_file
from ingestd.catalogue_file import known_kinds, up_to_date
from ingestd.kinds import catalogue
from ingestd.kinds.steps import SHIPPED
from tests.pluginkit import package

DECLARE = (
    "from ingestd.kinds.steps import StepKind\nGOOD = StepKind('shades', 'greys', 1, takes='switch', module='m')\n"
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are installed in, on the path of this process and of its children."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def shades(site: Path, code: str = DECLARE) -> None:
    package(site, "their-shades", code, ("ingestd.steps", "shades = their_shades:GOOD"))


def test_a_package_that_comes_is_seen(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a change of what is installed no process is begun; after one, once."""
    state = tmp_path / "state"
    state.mkdir()
    assert up_to_date(state).catalogue.step_kinds == SHIPPED
    with monkeypatch.context() as patched:
        patched.setattr(catalogue_file.subprocess, "run", lambda *_, **__: pytest.fail("a process was begun"))
        assert up_to_date(state).catalogue.step_kinds == SHIPPED
    shades(site)
    found = up_to_date(state)
    assert (found.trouble, list(found.catalogue.step_kinds)) == ("", [*SHIPPED, "shades"])
    assert catalogue.read(state) == found.catalogue


def test_without_a_state_folder_kinds_are_known_all_the_same(site: Path, tmp_path: Path) -> None:
    """A first start has settings to check before it makes any folder, and makes none by that."""
    shades(site)
    assert "shades" in known_kinds(tmp_path / "state").step_kinds
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("import os, sys\nprint('no luck', file=sys.stderr)\nos._exit(3)", "were not loaded: no luck"),
        ("import time\ntime.sleep(60)", "not loaded within 1 seconds"),
    ],
)
def test_a_package_that_ends_or_hangs_the_process(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, trouble: str
) -> None:
    """What was known before stays known, and why nothing new is, is told."""
    monkeypatch.setattr(catalogue_file, "LOAD_S", 1.0 if "sleep" in code else 30.0)
    state = tmp_path / "state"
    state.mkdir()
    shades(site, code)
    found = up_to_date(state)
    assert found.catalogue.step_kinds == SHIPPED
    assert trouble in found.trouble


def test_the_process_writes_the_state_folder_alone(site: Path, tmp_path: Path) -> None:
    """A declaration's module may do anything: under the lock it cannot write elsewhere, and gets no secret."""
    if sys.platform != "linux" or not os.path.exists("/sys/kernel/security"):
        pytest.skip("only Linux lets a process lock itself: not tested")
    mark = tmp_path / "elsewhere"
    shades(site, f"import os\nopen({str(mark)!r}, 'w').write(os.environ.get('INGESTD_QDRANT_KEY', ''))\n" + DECLARE)
    state = tmp_path / "state"
    state.mkdir()
    os.environ["INGESTD_QDRANT_KEY"] = "HUNTER2"
    try:
        found = up_to_date(state)
    finally:
        del os.environ["INGESTD_QDRANT_KEY"]
    if mark.exists():
        assert mark.read_text() == ""
        pytest.skip("this kernel locks no files: that it cannot write was not tested")
    [refused] = found.catalogue.refused
    assert "PermissionError" in refused.why
