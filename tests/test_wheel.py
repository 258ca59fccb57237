"""An installed wheel works as the checkout does.

The wheel is built and installed by pip into an empty environment outside the checkout. The heavy dependencies (torch
and the rest, over a gigabyte) are not installed a second time: a ``.pth`` file appends the site-packages folder of the
environment that runs the tests. The ``.pth`` files in *that* folder, one of which makes the checkout importable, are
not read by Python for a folder that was appended so. What this covers: that the wheel holds every file that the product
needs, that its console scripts start, that the daemon and its children find their packages by the installed name alone,
from any working folder. That the wheel also names every package that is imported is read off the sources.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ctl import hatch_build
from tests.docskit import documents, links, text_of

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Outside the checkout, and short: pytest's own folders are so long that a socket would move elsewhere."""
    made = Path(tempfile.mkdtemp(prefix="wheel-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """Built offline, with the build backend that is installed here."""
    out = folder / "dist"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(folder: Path, wheel: Path) -> Path:
    """The interpreter of an environment with our wheel in it, and everybody else's packages in sight."""
    home = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=120)
    python = home / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    install = [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "--no-deps", "--no-index"]
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    return kept | {"INGESTD_HOME": str(home), "HF_HUB_OFFLINE": "1"}


def test_it_holds_what_is_needed_and_nothing_generic(wheel: Path) -> None:
    """Both packages with their data files; no top-level name that another project could have as well."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"ingestd", "ingestctl"}
    assert {
        "ingestd/ledger/queries.sql",
        "ingestd/ledger/schema.sql",
        "ingestd/worker/models/imagenet_labels.txt",
        "ingestd/worker/models/imagenet_labels.f32",
        "ingestctl/main.py",
        # That other people's type checkers read our annotations (PEP 561).
        "ingestd/py.typed",
        "ingestctl/py.typed",
    } <= set(names)
    packed = {name for name in names if not name.endswith("/") and ".dist-info/" not in name}
    beside = {name.partition(".data/data/")[2] for name in packed} - {""}
    assert beside == set(hatch_build.shared())
    shipped = {name for name in packed if ".data/data/" not in name}
    ours = [(ROOT, ROOT / "ingestd"), (ROOT / "ctl", ROOT / "ctl" / "ingestctl")]
    written = {
        str(path.relative_to(base))
        for base, room in ours
        for path in room.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    written |= {f"ingestctl/service/templates/{path.name}" for path in (ROOT / "service").iterdir()}
    assert shipped == written


def test_the_source_distribution_is_a_whole_checkout(folder: Path) -> None:
    """Whoever unpacks it can read every document, follow its links, build the wheel and run the tests."""
    out = folder / "sdist"
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    (built,) = out.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    needed = {str(path.relative_to(ROOT)) for path in documents()}
    needed |= {link.partition("#")[0] for link in links(text_of("README.md")) if ":" not in link} - {""}
    needed |= {"Makefile", "requirements.lock", "LICENSE", ".ci/run", ".pre-commit-config.yaml", "docs/draw_states.py"}
    needed |= {
        "ingestd/py.typed",
        "service/ingestd.service",
        "ctl/install.sh",
        "tests/conftest.py",
        "bench/__main__.py",
    }
    needed |= {str(path.relative_to(ROOT)) for path in ROOT.glob(".github/**/*") if path.is_file()}
    assert needed <= held


def test_every_import_is_a_declared_dependency(wheel: Path) -> None:
    """Whatever module of somebody else a source imports, the wheel requires its distribution (extras included)."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
        sources = [ast.parse(archive.read(name)) for name in archive.namelist() if name.endswith(".py")]
    required = {
        plain(re.split(r"[^\w.-]", line.removeprefix("Requires-Dist: "))[0]) for line in lines if "Dist" in line
    }
    imported = {name.partition(".")[0] for source in sources for node in ast.walk(source) for name in names(node)}
    foreign = imported - set(sys.stdlib_module_names) - {"ingestd", "ingestctl", "__future__"}
    of_module = {"pillow_heif": ["pillow-heif"], "rawpy": ["rawpy"]} | dict(packages_distributions())
    assert foreign >= {"anyio", "torch", "PIL"}
    for module in sorted(foreign):
        assert required & {plain(distribution) for distribution in of_module[module]}, module


def names(node: ast.AST) -> list[str]:
    """The modules that an import statement names, ours apart."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


def plain(distribution: str) -> str:
    """A distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_the_contract_suites_run_from_it(python: Path, folder: Path) -> None:
    """Who writes an executor or a sink elsewhere needs what is installed: no folder of tests, no settings of ours."""
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        "ingestd.testing",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment(folder / "unused"), timeout=170
    )
    assert done.returncode == 0, done
    assert " passed" in done.stdout
    assert str(ROOT) not in done.stdout


def test_the_checkout_is_out_of_sight(python: Path, folder: Path) -> None:
    """What is imported there is what the wheel brought."""
    code = (
        "import ingestctl, ingestd, json, sys, torch\n"
        "print(json.dumps([ingestd.__file__, ingestctl.__file__, sys.path]))"
    )
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, cwd=folder, env=environment(folder / "unused")
    )
    assert done.returncode == 0, done
    *files, path = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(python.parents[1]) for file in files), files
    assert not {str(ROOT), str(ROOT / "ctl")} & set(path)


@pytest.mark.timeout(300)
def test_it_runs_the_demos_job(python: Path, folder: Path) -> None:
    """Start, follow, search and shutdown by the installed scripts, from a folder that has nothing to do with us."""
    elsewhere, pictures, home = folder / "elsewhere", folder / "Pictures", folder / "home"
    for path in (elsewhere, pictures):
        path.mkdir()
    data = Path(sysconfig.get_path("purelib")) / "skimage" / "data"
    for name in PHOTOS:
        shutil.copyfile(data / name, pictures / name)

    def ingestctl(*words: str) -> str:
        done = subprocess.run(
            [python.parent / "ingestctl", *words],
            capture_output=True,
            text=True,
            cwd=elsewhere,
            env=environment(home),
            timeout=120,
        )
        assert done.returncode == 0, done
        return done.stdout

    try:
        followed = ingestctl("start", "../Pictures", "--follow")
        assert f"Pictures: completed, {len(PHOTOS)} of {len(PHOTOS)} done" in followed
        best = ingestctl("search", "a cat", "--n", "1")
        assert f"{pictures}/chelsea.png" in best
    finally:
        ended = ingestctl("shutdown")
    assert "has ended" in ended
    assert list(elsewhere.iterdir()) == []
