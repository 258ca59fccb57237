"""``make install`` and ``make uninstall``, for real, in folders of their own, without the gigabyte of dependencies.

A wheel is given in place of the checkout, pip takes no dependency (``--no-deps --no-index``), and torch is left out
(``TORCH=``) or is an empty wheel of that name. Who asks, a person or root, is what ``id`` says: one that stands first
on PATH says it here, so that the places of both are tested whoever runs the suite; what is written as root goes below
``DESTDIR``. All tests share one installation, and whoever changes it has it put back.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingestctl.main import VERBS

from tests.ctl.shellkit import Shell
from tests.isolation import FIXED
from tests.needs import program, skip

# Environments are made and pip runs: seconds, and minutes where other suites share the cores.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).resolve().parents[2]
LINKS = {
    "bin/ingestctl",
    "bin/ingestd",
    "share/man/man1/ingestctl.1",
    "share/man/man1/ingestd.1",
    "share/bash-completion/completions/ingestctl",
    "share/zsh/site-functions/_ingestctl",
    "share/fish/vendor_completions.d/ingestctl.fish",
}
"""Below the prefix."""

RUN = ("make", "bash", "fish", "zsh", "man")
"""Programs that the tests run."""


QUICK = """#!/bin/sh
case "$1 $2" in '-m venv') ;; *) exec {python} "$@" ;; esac
for folder; do :; done
{python} "$@" --without-pip
cd "$folder"/lib/python*/site-packages
ln -s {pip} pip
"""
"""A Python whose environments share the pip of the first one: its unpacking takes most of an installation's time."""


class Machine:
    """A person's home, and a root to stage into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.local = self.home / ".local"
        self.venv = self.local / "share" / "ingestd" / "venv"
        self.root = folder / "a stage"
        self.pristine = folder / "pristine"
        self.home.mkdir()
        (folder / "id").mkdir()
        out = folder / "dist"
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done
        (self.wheel,) = out.glob("*.whl")
        self.quick = folder / "python"

    def keep(self) -> None:
        """What is installed now is what ``put_back`` makes again, and its pip the one of ``quick``.

        By hard links, which is quick: pip replaces files and does not write into them, and neither may a test.
        """
        shutil.copytree(self.home, self.pristine, symlinks=True, copy_function=os.link)
        (pip,) = self.pristine.glob(".local/share/ingestd/venv/lib/python*/site-packages/pip")
        self.quick.write_text(QUICK.format(python=shlex.quote(sys.executable), pip=shlex.quote(str(pip))))
        self.quick.chmod(0o755)

    def put_back(self) -> None:
        """The home as it was when it was kept."""
        shutil.rmtree(self.home)
        shutil.copytree(self.pristine, self.home, symlinks=True, copy_function=os.link)

    def make(self, target: str, *settings: str, uid: int = 1000, **env: str) -> subprocess.CompletedProcess[str]:
        """``make target`` as a user; nothing is fetched, whatever it does."""
        folder = self.folder / "id" / str(uid)
        if not folder.exists():
            folder.mkdir()
            (folder / "id").write_text(f"#!/bin/sh\necho {uid}\n")
            (folder / "id").chmod(0o755)
        given = [f"INSTALL_FROM={self.wheel}", "TORCH=", "PIP_FLAGS=--no-deps --no-index", f"PYTHON={sys.executable}"]
        return subprocess.run(
            ["make", "--no-print-directory", "-C", str(ROOT), target, *given, *settings],
            capture_output=True,
            text=True,
            timeout=500,
            env=self.env(SHELL="/bin/zsh", PATH=f"{folder}:{self.path}") | env,
        )

    @property
    def path(self) -> str:
        """Without the environment that runs the tests: what is installed must find its own."""
        usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        elsewhere = (shutil.which(name) for name in RUN if shutil.which(name, path=usual) is None)
        return os.pathsep.join([usual, *(os.path.dirname(found) for found in elsewhere if found)])

    def env(self, **changes: str) -> dict[str, str]:
        """What this person's programs see, with ``~/.local/bin`` on PATH."""
        return {**FIXED, "HOME": str(self.home), "PATH": f"{self.local / 'bin'}:{self.path}", **changes}

    def ask(self, *command: str) -> str:
        """What a command says in this home."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.env(), cwd=self.home, timeout=60)
        assert done.returncode == 0, done
        return done.stdout


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    program("make", "make install")
    folder = Path(tempfile.mkdtemp(prefix="install-", dir="/tmp"))
    yield Machine(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def installed(machine: Machine) -> subprocess.CompletedProcess[str]:
    """Installed for one user, with the places of the default; what it said."""
    done = machine.make("install")
    assert done.returncode == 0, done
    machine.keep()
    return done


@pytest.fixture
def changed(machine: Machine, installed: subprocess.CompletedProcess[str]) -> Iterator[Machine]:
    """The machine for a test that changes what is installed."""
    yield machine
    machine.put_back()


def links(prefix: Path) -> dict[str, str]:
    """Every link below ``prefix``, the environment's own left out."""
    return {
        str(path.relative_to(prefix)): os.readlink(path)
        for path in prefix.rglob("*")
        if path.is_symlink() and "venv" not in path.relative_to(prefix).parts
    }


def test_a_user_has_all_of_it_in_the_home(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """Links to the environment for every file, all of which are there; the client runs by its link."""
    found = links(machine.local)
    assert found == {place: f"{machine.venv}/{place}" for place in LINKS}
    assert all((machine.local / place).is_file() for place in LINKS)
    assert [path.name for path in machine.pristine.iterdir()] == [".local"]
    assert machine.ask("ingestctl", "--version").startswith("ingestctl ")
    assert machine.ask("ingestd", "--version").startswith("ingestd ")


def test_it_says_what_comes_next(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """The verbs that it names exist; a PATH without the links is told, and so is zsh, which does not look there."""
    named = re.findall(r"^  ingestctl (\w+)", installed.stdout, re.MULTILINE)
    assert named == ["doctor", "service", "start"]
    assert set(named) <= set(VERBS)
    assert f'export PATH="{machine.local}/bin:$PATH"' in installed.stdout
    assert f'fpath+=("{machine.local}/share/zsh/site-functions")' in installed.stdout


def test_bash_finds_its_completion(
    machine: Machine, installed: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """The package bash-completion loads it at the first TAB, from where it lies."""
    program("bash", "that bash finds the script of its completion")
    loader = Path("/usr/share/bash-completion/bash_completion")
    if not loader.exists():
        skip("bash-completion", "that bash finds the script of its completion")
    shell = Shell("bash", loader, tmp_path, machine.home, machine.env())
    try:
        assert shell.press("ingestctl shutd") == "ingestctl shutdown "
    finally:
        shell.end()


def test_fish_finds_its_completion(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """fish loads it by the command's name."""
    program("fish", "that fish finds the script of its completion")
    assert machine.ask("fish", "-c", 'complete -C "ingestctl shutd"').startswith("shutdown\t")


def test_zsh_finds_its_completion(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """With the line that is told, compinit takes it."""
    program("zsh", "that zsh finds the script of its completion")
    (told,) = re.findall(r"fpath\+=\(.*\)", installed.stdout)
    code = f"{told}; autoload -Uz compinit; compinit -u -D; print $_comps[ingestctl]"
    assert machine.ask("zsh", "-f", "-c", code) == "_ingestctl\n"


def test_man_finds_its_pages(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """man looks beside the folders of PATH."""
    program("man", "that man finds the pages")
    for name in ("ingestctl", "ingestd"):
        # Some name the link, some the file that it leads to.
        found = Path(machine.ask("man", "-w", name).strip())
        assert found.resolve() == machine.venv.resolve() / "share" / "man" / "man1" / f"{name}.1"


def wheel_of_torch(folder: Path, version: str) -> None:
    """A wheel that is called torch and holds nothing."""
    info = f"torch-{version}.dist-info"
    metadata = {"METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n", "RECORD": ""}
    metadata["WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in metadata.items():
            wheel.writestr(f"{info}/{name}", text)


def torch_of(machine: Machine) -> list[str]:
    """The versions of torch in the environment."""
    places = machine.venv.glob("lib/python*/site-packages/torch-*.dist-info")
    return [place.name.removeprefix("torch-").removesuffix(".dist-info") for place in places]


def test_torch_comes_first(changed: Machine, tmp_path: Path) -> None:
    """Where it is not, it is taken alone, of exactly the version, before ours; one that cannot be had ends it there."""
    for version in ("2.12.0", "2.13.0", "2.13.1"):
        wheel_of_torch(tmp_path, version)
    (ours,) = changed.venv.glob("lib/python*/site-packages/ingestctl")
    shutil.rmtree(ours)
    flags = f"PIP_FLAGS=--no-deps --no-index --find-links={tmp_path}"
    done = changed.make("install", "TORCH=torch==2.14.0", flags)
    assert (done.returncode != 0, torch_of(changed), ours.exists()) == (True, [], False), done
    done = changed.make("install", "TORCH=torch==2.13.0", flags, "INSTALL_FROM=/nonexistent/ours.whl")
    assert (done.returncode != 0, torch_of(changed), ours.exists()) == (True, ["2.13.0"], False), done
    assert "taking PyTorch, once" in done.stdout


def test_again_is_an_upgrade_in_place(changed: Machine) -> None:
    """What another build of the same version brings is there afterwards; torch that is there, of whatever version, is
    not asked for again; what is not ours stays."""
    (package,) = changed.venv.glob("lib/python*/site-packages/ingestctl")
    before = links(changed.local)
    (package / "terminal_text.py").unlink()
    (package / "terminal_text.py").write_text("raise SystemExit('an old file')\n")
    torch = package.parent / "torch-2.6.1.dist-info"
    torch.mkdir()
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.6.1\n")
    done = changed.make("install", "TORCH=torch==2.13.0")
    assert done.returncode == 0, done
    assert "PyTorch" not in done.stdout
    assert "a daemon that runs is still the old one" in done.stdout
    assert (package / "terminal_text.py").read_text() == (ROOT / "ctl" / "ingestctl" / "terminal_text.py").read_text()
    assert torch.is_dir()
    assert links(changed.local) == before


def test_somebody_elses_link_stays(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """What another installation put where a link would go is refused by name, before anything is written."""
    prefix = machine.folder / "taken"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "ingestctl").symlink_to("/somewhere/else/ingestctl")
    done = machine.make("install", f"PREFIX={prefix}")
    assert done.returncode != 0
    assert f"Error: cannot write {prefix}/bin/ingestctl: it belongs to another installation" in done.stderr
    assert [path.name for path in prefix.iterdir()] == ["bin"]


def test_a_service_or_a_process_keeps_it(changed: Machine) -> None:
    """Nothing is taken away from under a service that would be started again and again, or from under a process."""
    unit = changed.home / ".config" / "systemd" / "user" / "ingestd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f'[Service]\nExecStart="{changed.venv}/bin/python" -m ingestd\n')
    done = changed.make("uninstall")
    assert done.returncode != 0
    assert f"the service {unit} runs from it\nTry: ingestctl service uninstall" in done.stderr
    shutil.rmtree(changed.home / ".config")
    program("pgrep", "that a running process is seen")
    with subprocess.Popen([changed.venv / "bin" / "python", "-c", "input()"], stdin=subprocess.PIPE) as process:
        done = changed.make("uninstall")
        process.kill()
    assert done.returncode != 0
    assert f"process {process.pid} runs from it\nTry: ingestctl shutdown" in done.stderr
    assert links(changed.local).keys() == LINKS


def test_another_python_means_another_environment(changed: Machine) -> None:
    """An environment whose interpreter is gone, as after an upgrade of the system, is made anew."""
    (changed.venv / "bin" / "python").unlink()
    (changed.venv / "bin" / "python").symlink_to("/nonexistent/python3.9")
    done = changed.make("install", f"PYTHON={changed.quick}")
    assert done.returncode == 0, done
    assert "the environment is made anew" in done.stdout
    assert changed.ask("ingestctl", "--version").startswith("ingestctl ")


def test_an_environment_that_was_left_half_made_is_made_anew(changed: Machine) -> None:
    """After Ctrl-C while pip was unpacked the next run does not fail for ever; a slash behind PREFIX is nothing."""
    (pip,) = changed.venv.glob("lib/python*/site-packages/pip")
    shutil.rmtree(pip)
    done = changed.make("install", f"PYTHON={changed.quick}", f"PREFIX={changed.local}/")
    assert done.returncode == 0, done
    assert "it is made anew" in done.stdout
    assert "//" not in done.stdout
    assert changed.ask("ingestctl", "--version").startswith("ingestctl ")


def test_uninstall_takes_it_away_and_leaves_the_rest(changed: Machine) -> None:
    """Its links and its environment go, whatever else lies in those folders stays; a second time is no error."""
    state = changed.local / "state" / "ingestd" / "ledger.db"
    other = changed.local / "bin" / "other"
    state.parent.mkdir(parents=True)
    state.write_text("ledger")
    other.write_text("")
    done = changed.make("uninstall")
    assert done.returncode == 0, done
    assert "jobs, results, settings, fetched models and your photos stay" in done.stdout
    assert {path for path in changed.local.rglob("*") if not path.is_dir()} == {state, other}
    assert not (changed.local / "share" / "ingestd").exists()
    done = changed.make("uninstall")
    assert done.returncode == 0
    assert "there is no installation" in done.stdout


def test_root_installs_for_the_whole_machine(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """Into /opt and /usr/local, here staged below DESTDIR: nothing that lies there names the stage."""
    (machine.root / "etc" / "fish").mkdir(parents=True)
    done = machine.make("install", f"DESTDIR={machine.root}", f"PYTHON={machine.quick}", uid=0)
    assert done.returncode == 0, done
    found = links(machine.root / "usr" / "local")
    assert found == {place: f"/opt/ingestd/{place}" for place in LINKS}
    assert all((machine.root / target[1:]).is_file() for target in found.values())
    assert os.readlink(machine.root / "etc/fish/completions/ingestctl.fish").startswith("/opt/ingestd/share/fish/")
    assert sorted(path.name for path in machine.root.iterdir()) == ["etc", "opt", "usr"]
    scripts = machine.root / "opt" / "ingestd" / "bin"
    # In its first line, or in its second where the stage's own path has a blank or is too long for the first.
    assert "/opt/ingestd/bin/python" in "".join((scripts / "ingestctl").read_text().splitlines()[:2])
    for path in [*scripts.iterdir(), scripts.parent / "pyvenv.cfg"]:
        if not path.is_symlink() and path.is_file():
            assert str(machine.root).encode() not in path.read_bytes(), path
    # For every user, whatever root's umask is.
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in scripts.parent.rglob("*"))
    done = machine.make("uninstall", f"DESTDIR={machine.root}", uid=0)
    assert done.returncode == 0, done
    assert [path for path in machine.root.rglob("*") if not path.is_dir()] == []
    assert not (machine.root / "opt" / "ingestd").exists()
