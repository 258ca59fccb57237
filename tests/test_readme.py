"""The README is true: every command on it runs as printed, and its tables are those of the code."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
from ingestctl import main, rpc

from ingestd import config, errors, paths
from ingestd.protocol import control
from tests import hubkit, tinymodels
from tests.endpointkit import EndpointServer, says
from tests.needs import program
from tests.qdrantkit import QdrantKit

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

NOT_RUN_HERE = {
    "make demo": "it makes an environment first; tests/test_demo.py runs what it runs",
    "make test": "this is it",
    "make install": "tests/ctl/test_install.py installs into folders of its own",
    "sudo make install": "the same",
    "make check": ".ci/run runs it",
    "make chaos": "the long form of tests/chaos",
    "make bench": "minutes of measuring",
}
"""Commands of the README that no test of this file runs, each with the reason."""

TORN_FILE = {
    "ingestctl wait",
    "--follow",
    *(f"ingestctl wait {job}" for job in ("recent", "captions", "by-server", "on-server")),
}
"""What ends with exit code 3 here: one file is torn, for the README's section on failures."""

PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "hubble_deep_field.jpg")


HUB = {
    "HuggingFaceTB/SmolVLM-256M-Instruct": lambda folder: tinymodels.smolvlm(folder, ends=True),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": tinymodels.smolvlm2,
    "google/siglip2-base-patch16-224": tinymodels.siglip2,
}
"""What the hub of the test serves under the names that the README's short names mean: the same, in miniature."""


class Block(NamedTuple):
    """A fenced block: its language, its lines, and the heading above it."""

    language: str
    lines: list[str]
    heading: str


def blocks() -> list[Block]:
    found: list[Block] = []
    heading, inside = "", False
    for line in README.splitlines():
        if line.startswith("```"):
            inside = not inside
            if inside:
                found.append(Block(line[3:], [], heading))
        elif inside:
            found[-1].lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


class Command(NamedTuple):
    """A command as printed, and the lines that the README shows below it."""

    text: str
    shown: list[str]


def commands() -> list[Command]:
    found: list[Command] = []
    for block in blocks():
        for line in block.lines:
            if block.language == "sh":
                found.append(Command(line, []))
            elif block.language == "console" and line.startswith("$ "):
                found.append(Command(line[2:], []))
            elif block.language == "console":
                found[-1].shown.append(line)
    return found


class Person:
    """Somebody with a home folder, photos in it, and nothing set that would move ingestd's places out of it."""

    def __init__(self, home: Path, hub: str) -> None:
        self.home = home
        pictures = home / "Pictures"
        (pictures / "2024").mkdir(parents=True)
        (home / "run").mkdir(mode=0o700)
        spec = find_spec("skimage")
        assert spec is not None
        assert spec.origin is not None
        data = Path(spec.origin).parent / "data"
        for name in PHOTOS:
            shutil.copyfile(data / name, pictures / name)
        shutil.copyfile(data / "rocket.jpg", pictures / "2024" / "rocket.jpg")
        (pictures / "torn.jpg").write_bytes((data / "rocket.jpg").read_bytes()[:20_000])
        self.env = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "LANG": "C.UTF-8",
            "LOGNAME": "me",
            "HF_ENDPOINT": hub,
        }

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], env=self.env, cwd=self.home, capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """With a hub, an endpoint and a Qdrant server where the README has them: on this machine, at their usual ports."""
    # A short folder: pytest's own are so long that the socket would move to the runtime folder under a hash.
    for port in (8000, 6333):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port} is taken on this machine: the README's commands were not run")
    folder = Path(tempfile.mkdtemp(prefix="readme-", dir="/tmp"))
    endpoint = EndpointServer(("smolvlm",), behave=lambda ask: says("A photo."))
    endpoint.port = 8000
    with hubkit.hub() as hub, ExitStack() as stack:
        for hub_id, build in HUB.items():
            hub.publish(hub_id, {path.name: path.read_bytes() for path in build(tmp_path / hub_id).iterdir()})
        endpoint.start()
        stack.callback(endpoint.stop)
        stack.enter_context(closing(QdrantKit(tmp_path / "qdrant", port=6333)))
        someone = Person(folder, hub.url)
        yield someone
        ended = someone.run("ingestctl shutdown")
        shutil.rmtree(folder)
        assert ended.returncode == 0, ended


def pattern(shown: str, home: Path) -> re.Pattern[str]:
    """A shown line as what is compared: other digits and more spaces are as good, ``…`` is anything, home is home."""
    place = re.escape(str(home))
    parts = re.split(rf"({place}|…|\d+| +)", shown.replace("/home/me", str(home)))
    return re.compile("".join([_loose(part) if part != str(home) else place for part in parts]))


def _loose(part: str) -> str:
    if part.isdecimal():
        return r"\d+"
    return ".*" if part == "…" else r"\s+" if part and part.isspace() else re.escape(part)


@pytest.mark.timeout(600)
def test_every_command_runs_as_printed(person: Person) -> None:
    """In the README's order, in one home folder: each ends well and prints what the README shows of it."""
    program("bash", "the README's commands")
    skipped, ran = [], 0
    for command in commands():
        plain = command.text.partition("  #")[0].strip()
        if any(plain.startswith(known) for known in NOT_RUN_HERE):
            continue
        if "socat" in plain and shutil.which("socat") is None:
            skipped.append(plain)
            continue
        done = person.run(command.text)
        good = (0, 3) if plain in TORN_FILE or any(plain.endswith(f" {end}") for end in TORN_FILE) else (0,)
        assert done.returncode in good, (command.text, done.returncode, done.stdout, done.stderr)
        for shown in command.shown:
            wanted = pattern(shown, person.home)
            assert any(wanted.fullmatch(line) for line in done.stdout.splitlines()), (shown, done.stdout, done.stderr)
        if "socat" in plain:
            assert '"result":' in done.stdout
        ran += 1
    assert ran >= 25
    if skipped:
        program("socat", f"of the README's commands {skipped}")


def test_what_is_not_run_exists() -> None:
    """Each command left out is printed and has its target in the Makefile; the first block is the two commands."""
    texts = [command.text for command in commands()]
    makefile = (ROOT / "Makefile").read_text()
    for known in NOT_RUN_HERE:
        assert any(text.startswith(known) for text in texts), known
        assert re.search(rf"^{known.rpartition(' ')[2]}:", makefile, re.MULTILINE), known
    assert [line.partition("  ")[0].partition(" #")[0].strip() for line in blocks()[0].lines] == [
        "make demo",
        "make test",
    ]


def test_every_block_is_of_a_known_kind() -> None:
    """A block that no test looks at could say anything."""
    assert {block.language for block in blocks()} == {"sh", "console", "toml"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables of a section, without their heads and rules."""
    section = README.split(f"\n## {heading}\n")[1].partition("\n## ")[0]
    found, line_of_table = [], 0
    for line in section.splitlines():
        line_of_table = line_of_table + 1 if line.startswith("|") else 0
        if line_of_table > 2:
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_settings_are_those_of_the_code() -> None:
    """Every key with its default, and the example file is one that the daemon takes."""
    assert {key.strip("`"): default.strip("`") for key, default, _ in rows("Settings")} == dict(config.DEFAULTS)
    (example,) = (block for block in blocks() if block.language == "toml")
    loaded = config.load({}, "\n".join(example.lines), "the README")
    assert {key for key, setting in loaded.values.items() if setting.source == "the README"} == {
        "batch_size",
        "workers",
        "sinks",
    }
    text = " ".join(row[2] for row in rows("Settings"))
    assert f"up to {config.MAX_WORKERS}" in text


def test_the_exit_codes_are_those_of_the_code() -> None:
    """In the README, in the client and its help, and in the daemon: the same numbers."""
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert [int(row[0]) for row in rows("For scripts")] == sorted(codes)
    assert {value for name, value in vars(rpc).items() if name.startswith("EXIT_")} <= codes
    line = next(line for line in main.EXAMPLES.splitlines() if line.startswith("exit codes: "))
    assert [int(part.split()[0]) for part in line.removeprefix("exit codes: ").split(", ")] == sorted(codes)


def test_the_verbs_are_those_of_the_code() -> None:
    """In the README, in the client, and on the socket, where a client has no use for two more."""
    (sentence,) = re.findall(r"^The verbs are ([^.]*)\.", README, re.MULTILINE)
    assert re.findall(r"`(\w+)`", sentence) == list(main.VERBS)
    assert set(control.VERBS) - set(main.VERBS) == {"hello", "subscribe"}
    assert set(main.VERBS) - set(control.VERBS) == main.ALONE


def test_the_kinds_of_failures_are_those_of_the_code() -> None:
    """Each kind is explained, and none that does not exist."""
    told = [kind for row in rows("What failed, and why") for kind in re.findall(r"`(\w+)`", row[0])]
    assert told == list(get_args(errors.FailureKind))


@pytest.mark.parametrize("column", [1, 2, 3])
def test_the_places_are_those_of_the_code(column: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where state, log, configuration and socket lie: with ``INGESTD_HOME``, on Linux, on macOS."""
    for name in ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin" if column == 3 else "linux")
    if column == 1:
        monkeypatch.setenv("INGESTD_HOME", "/home/me/ingest")
    places = paths.places()
    told = {row[0]: row[column].strip("`") for row in rows("Where things lie")}
    true = {
        "ledger, index, JSONL": places.state,
        "log": places.log,
        "configuration": places.config,
        "socket": places.run / "ingestd.sock",
    }
    words = {"$INGESTD_HOME": "/home/me/ingest", "~": "/home/me", "$XDG_RUNTIME_DIR": str(tmp_path)}
    for word, meaning in words.items():
        told = {what: place.replace(word, meaning) for what, place in told.items()}
    assert {what: Path(place) for what, place in told.items()} == true
