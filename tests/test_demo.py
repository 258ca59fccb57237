"""``make demo`` as a person runs it: the right photos, nothing twice, no daemon left behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMO = [sys.executable, str(ROOT / "tests" / "demo.py")]


@pytest.fixture
def home() -> Iterator[Path]:
    """A short folder: pytest's own are so long that the socket would move to the runtime folder."""
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
    yield folder
    left = daemons(folder)
    for process in left:
        process.kill()
    shutil.rmtree(folder)
    assert not left, "the demo left its daemon behind"


def daemons(home: Path) -> list[psutil.Process]:
    """Living daemons and their children whose home is ``home``."""
    found = []
    for process in psutil.process_iter():
        try:
            if "ingestd" in " ".join(process.cmdline()) and process.environ().get("INGESTD_HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # A setting of the developer's own must not reach the demo.
    env = os.environ | {"INGESTD_EMBED": "none", "INGESTD_SINKS": "jsonl"}
    return subprocess.run(
        [*DEMO, "--home", str(home), *words], capture_output=True, text=True, env=env, cwd=ROOT, timeout=170
    )


def attempts(transcript: str) -> int:
    found = re.search(r"([\d,]+) attempts", transcript)
    assert found, transcript
    return int(found[1].replace(",", ""))


def test_the_expected_photos_come_first_and_a_second_run_does_nothing_twice(home: Path) -> None:
    """Each question finds its photo; the second run says that all was done, and claims no item again."""
    first = run(home)
    assert first.returncode == 0, first
    for question, photo in (("a cat", "chelsea.png"), ("a cup of coffee", "coffee.png"), ("a rocket", "rocket.jpg")):
        after = first.stdout.partition(f"$ ingestctl search '{question}' --n 3\n")[2]
        assert f"/{photo}  " in after.partition("\n")[0], first.stdout
    assert "nothing was done a second time" not in first.stdout
    assert daemons(home) == []

    again = run(home)
    assert again.returncode == 0, again
    assert "nothing was done a second time" in again.stdout
    assert attempts(again.stdout) == attempts(first.stdout)


def test_a_folder_of_ones_own(home: Path) -> None:
    """``DIR``: what failed is listed with its reason, the searches are for what its pictures show."""
    folder = home / "my photos"
    folder.mkdir()
    data = next(Path(p) for p in sys.path if (Path(p) / "skimage" / "data").is_dir()) / "skimage" / "data"
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):
        shutil.copy(data / name, folder)
    (folder / "torn.jpg").write_bytes((data / "rocket.jpg").read_bytes()[:20_000])
    done = run(home, str(folder))
    assert done.returncode == 0, done
    assert re.search(r"^corrupt +\S.*torn\.jpg", done.stdout, re.MULTILINE), done.stdout
    asked = re.findall(r"\$ ingestctl search (.+) --n 3 --job my-photos\n\S+  (\S.*)  ", done.stdout)
    assert asked, done.stdout
    found = dict(asked)
    assert found["espresso"].endswith("coffee.png")


def test_ctrl_c_leaves_no_daemon_behind(home: Path) -> None:
    """An interruption in the middle of the work ends the daemon as well, and says how to go on."""
    demo = subprocess.Popen(
        [*DEMO, "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert demo.stdout is not None
    with demo.stdout:
        said = ""
        for line in demo.stdout:
            said += line
            if line.startswith("demo: created"):
                assert daemons(home)
                os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to the client too
    assert demo.wait(60) == 130, said
    assert "has ended" in said
    assert "make demo goes on where it was" in said
    assert "the job demo goes on" not in said


def test_a_folder_that_is_none_is_told_at_once(home: Path) -> None:
    """No daemon is begun for it, and the exit code is that of wrong usage."""
    done = run(home, str(home / "absent"))
    assert done.returncode == 2
    assert "it is no folder" in done.stderr
    assert "$ ingestctl" not in done.stdout


@pytest.mark.parametrize("folder", ["/photos", "/my photos/it's", "~/Pictures", "$HOME/x"])
def test_make_hands_the_folder_over_whole(folder: str) -> None:
    """``DIR=…``: spaces, quotes and dollars reach the demo; a DIR that only lies in the environment does not."""
    make = ["make", "--no-print-directory", "-n", "-o", ".venv/made", "demo"]
    made = subprocess.run([*make, f"DIR={folder}"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert shlex.split(made) == [".venv/bin/python", "tests/demo.py", folder]
    env = os.environ | {"DIR": folder}
    made = subprocess.run(make, capture_output=True, text=True, cwd=ROOT, env=env, check=True).stdout
    assert shlex.split(made) == [".venv/bin/python", "tests/demo.py"]
