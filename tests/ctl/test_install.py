"""``make install`` and ``make uninstall``, for real, in folders of their own, without the gigabyte of dependencies.

A wheel is given in place of the checkout, pip takes no dependency (``--no-deps --no-index``), and torch is left out
(``TORCH=``). Who asks, a person or root, is what ``id`` says: one that stands first on PATH says it here, so that the
places of both are tested whoever runs the suite; what is written as root goes below ``DESTDIR``.
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
        self.home.mkdir()
        (folder / "id").mkdir()
        out = folder / "dist"
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done
        (self.wheel,) = out.glob("*.whl")
        self.pip = folder / "pip"
        self.quick = folder / "python"
        self.quick.write_text(QUICK.format(python=shlex.quote(sys.executable), pip=shlex.quote(str(self.pip))))
        self.quick.chmod(0o755)

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
            # What this machine tells pip (an index, a constraint) is not tested here.
            env={"PATH": f"{folder}:{self.path}", "HOME": str(self.home), "SHELL": "/bin/zsh"}
            | {"PIP_CONFIG_FILE": os.devnull}
            | env,
        )

    @property
    def path(self) -> str:
        """Without the environment that runs the tests: what is installed must find its own."""
        return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def ask(self, *command: str) -> str:
        """What a command says in this home, with ``~/.local/bin`` on PATH."""
        env = {"PATH": f"{self.local / 'bin'}:{self.path}", "HOME": str(self.home), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=self.home, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed: make install was not tested")
    folder = Path(tempfile.mkdtemp(prefix="install-", dir="/tmp"))
    yield Machine(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def installed(machine: Machine) -> subprocess.CompletedProcess[str]:
    """Installed for one user, with the places of the default; what it said."""
    done = machine.make("install")
    assert (done.returncode, done.stderr) == (0, ""), done
    (pip,) = machine.venv.glob("lib/python*/site-packages/pip")
    shutil.copytree(pip, machine.pip)
    return done


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
    assert [path.name for path in machine.home.iterdir()] == [".local"]
    assert machine.ask("ingestctl", "--version").startswith("ingestctl ")
    assert machine.ask("ingestd", "--version").startswith("ingestd ")


def test_it_says_what_comes_next(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """The verbs that it names exist; a PATH without the links is told, and so is zsh, which does not look there."""
    named = re.findall(r"^  ingestctl (\w+)", installed.stdout, re.MULTILINE)
    assert named == ["doctor", "service", "start"]
    assert set(named) <= set(VERBS)
    assert f'export PATH="{machine.local}/bin:$PATH"' in installed.stdout
    assert f'fpath+=("{machine.local}/share/zsh/site-functions")' in installed.stdout


def test_bash_finds_its_completion(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """The package bash-completion loads it at the first TAB, from where it lies."""
    loader = Path("/usr/share/bash-completion/bash_completion")
    if not loader.exists():
        pytest.skip("the package bash-completion is not installed: that it finds the script was not tested")
    code = f"source {loader}; _completion_loader ingestctl || true; complete -p ingestctl"
    assert machine.ask("bash", "--norc", "-c", code) == "complete -F _ingestctl ingestctl\n"


def test_fish_finds_its_completion(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """fish loads it by the command's name."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed: that it finds the script was not tested")
    assert machine.ask("fish", "-c", 'complete -C "ingestctl shutd"').startswith("shutdown\t")


def test_zsh_finds_its_completion(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """With the line that is told, compinit takes it."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed: that it finds the script was not tested")
    (told,) = re.findall(r"fpath\+=\(.*\)", installed.stdout)
    code = f"{told}; autoload -Uz compinit; compinit -u -D; print $_comps[ingestctl]"
    assert machine.ask("zsh", "-f", "-c", code) == "_ingestctl\n"


def test_man_finds_its_pages(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """man looks beside the folders of PATH."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed: that it finds the pages was not tested")
    for name in ("ingestctl", "ingestd"):
        # It names the file that the link leads to.
        assert machine.ask("man", "-w", name) == f"{machine.venv}/share/man/man1/{name}.1\n"


def test_torch_comes_first(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """Where it is not, pip is asked for it, exactly, before anything else; where that fails, nothing is installed."""
    prefix = machine.folder / "torch first"
    site = prefix / "share" / "ingestd" / "venv" / "lib"
    wheels = machine.folder / "torch-wheels"
    wheels.mkdir()
    given = (f"PREFIX={prefix}", f"PYTHON={machine.quick}", "TORCH=torch==2.13.0")
    flags = f"PIP_FLAGS=--no-deps --no-index --find-links={wheels}"
    done = machine.make("install", *given, flags)
    assert done.returncode != 0
    assert "taking PyTorch, once" in done.stdout
    assert not list(site.glob("python*/site-packages/ingest*"))
    for version in ("2.12.0", "2.13.0"):
        empty_wheel(wheels, "torch", version)
    done = machine.make("install", *given, flags)
    assert done.returncode == 0, done
    assert [path.name for path in site.glob("python*/site-packages/torch-*")] == ["torch-2.13.0.dist-info"]
    assert list(site.glob("python*/site-packages/ingestd-*"))


def empty_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel that installs nothing but its name and version."""
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")


def test_again_is_an_upgrade_in_place(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """What another build of the same version brings is there afterwards; torch that is there, of whatever version, is
    not asked for again; what is not ours stays."""
    (package,) = machine.venv.glob("lib/python*/site-packages/ingestctl")
    before = links(machine.local)
    (package / "terminal_text.py").write_text("raise SystemExit('an old file')\n")
    torch = package.parent / "torch-2.6.1.dist-info"
    torch.mkdir()
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.6.1\n")
    done = machine.make("install", "TORCH=torch==2.13.0")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "PyTorch" not in done.stdout
    assert "a daemon that runs is still the old one" in done.stdout
    assert (package / "terminal_text.py").read_text() == (ROOT / "ctl" / "ingestctl" / "terminal_text.py").read_text()
    assert torch.is_dir()
    assert links(machine.local) == before


def test_somebody_elses_link_stays(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """What another installation put where a link would go is refused by name, before anything is written."""
    prefix = machine.folder / "taken"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "ingestctl").symlink_to("/somewhere/else/ingestctl")
    done = machine.make("install", f"PREFIX={prefix}")
    assert done.returncode != 0
    assert f"Error: cannot write {prefix}/bin/ingestctl: it belongs to another installation" in done.stderr
    assert [path.name for path in prefix.iterdir()] == ["bin"]


def test_a_service_or_a_process_keeps_it(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """Nothing is taken away from under a service that would be started again and again, or from under a process."""
    unit = machine.home / ".config" / "systemd" / "user" / "ingestd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f'[Service]\nExecStart="{machine.venv}/bin/python" -m ingestd\n')
    done = machine.make("uninstall")
    assert done.returncode != 0
    assert f"the service {unit} runs from it\nTry: ingestctl service uninstall" in done.stderr
    shutil.rmtree(machine.home / ".config")
    if shutil.which("pgrep") is None:
        pytest.skip("pgrep is not installed: that a running process is seen was not tested")
    with subprocess.Popen([machine.venv / "bin" / "python", "-c", "input()"], stdin=subprocess.PIPE) as process:
        done = machine.make("uninstall")
        process.kill()
    assert done.returncode != 0
    assert f"process {process.pid} runs from it\nTry: ingestctl shutdown" in done.stderr
    assert links(machine.local).keys() == LINKS


def test_another_python_means_another_environment(
    machine: Machine, installed: subprocess.CompletedProcess[str]
) -> None:
    """An environment whose interpreter is gone, as after an upgrade of the system, is made anew."""
    (machine.venv / "bin" / "python").unlink()
    (machine.venv / "bin" / "python").symlink_to("/nonexistent/python3.9")
    done = machine.make("install", f"PYTHON={machine.quick}")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "the environment is made anew" in done.stdout
    assert machine.ask("ingestctl", "--version").startswith("ingestctl ")


def test_an_environment_that_was_left_half_made_is_made_anew(
    machine: Machine, installed: subprocess.CompletedProcess[str]
) -> None:
    """After Ctrl-C while pip was unpacked the next run does not fail for ever; a slash behind PREFIX is nothing."""
    (pip,) = machine.venv.glob("lib/python*/site-packages/pip")
    pip.unlink() if pip.is_symlink() else shutil.rmtree(pip)
    done = machine.make("install", f"PYTHON={machine.quick}", f"PREFIX={machine.local}/")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "it is made anew" in done.stdout
    assert "//" not in done.stdout
    assert machine.ask("ingestctl", "--version").startswith("ingestctl ")


def test_uninstall_takes_it_away_and_leaves_the_rest(
    machine: Machine, installed: subprocess.CompletedProcess[str]
) -> None:
    """Its links and its environment go, whatever else lies in those folders stays; a second time is no error."""
    state = machine.local / "state" / "ingestd" / "ledger.db"
    other = machine.local / "bin" / "other"
    state.parent.mkdir(parents=True)
    state.write_text("ledger")
    other.write_text("")
    done = machine.make("uninstall")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "jobs, results, settings, fetched models and your photos stay" in done.stdout
    assert {path for path in machine.local.rglob("*") if not path.is_dir()} == {state, other}
    assert not (machine.local / "share" / "ingestd").exists()
    done = machine.make("uninstall")
    assert done.returncode == 0
    assert "there is no installation" in done.stdout


def test_root_installs_for_the_whole_machine(machine: Machine, installed: subprocess.CompletedProcess[str]) -> None:
    """Into /opt and /usr/local, here staged below DESTDIR: nothing that lies there names the stage."""
    (machine.root / "etc" / "fish").mkdir(parents=True)
    done = machine.make("install", f"DESTDIR={machine.root}", f"PYTHON={machine.quick}", uid=0)
    assert (done.returncode, done.stderr) == (0, ""), done
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
    assert (done.returncode, done.stderr) == (0, ""), done
    assert [path for path in machine.root.rglob("*") if not path.is_dir()] == []
    assert not (machine.root / "opt" / "ingestd").exists()
