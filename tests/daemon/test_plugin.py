"""Another package's step and sink, installed from its wheel and used by a job through the daemon and the client."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.daemonkit import Daemon
from tests.pluginkit import build_plugin, install


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package of ``tests/plugin`` is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("plugin")
    install(build_plugin(folder / "dist"), folder / "site")
    return folder / "site"


@pytest.fixture
def daemon(site: Path, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "home", {"PYTHONPATH": str(site)}) as running:
        yield running


def ctl(daemon: Daemon, *words: str, cwd: Path | None = None) -> str:
    """What the client prints; it must go well."""
    command = [sys.executable, "-m", "ingestctl", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=daemon.env, cwd=cwd, timeout=120)
    assert done.returncode == 0, done
    return done.stdout


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_of_another_package(daemon: Daemon, tmp_path: Path) -> None:
    """Its flag stands in the help, its results in ``show`` and in the sinks, its key in ``config``, its row in
    ``doctor``; and the job goes on after the daemon was killed."""
    photos = tmp_path / "photos"
    pictures.write_photos(photos, 6)
    assert "--colours" in ctl(daemon, "start", "--help")
    assert "--most-colours N" in ctl(daemon, "start", "--help")
    out = tmp_path / "out.jsonl"
    meta = ("--describe", "none", "--embed", "none")
    ctl(daemon, "start", str(photos), *meta, "--colours", "--most-colours", "3", "--sink", f"jsonl:{out}", "--follow")
    written = lines(out)
    assert len(written) == 6
    for line in written:
        colours = line["results"]["colours"]["colours"]
        assert 1 <= len(colours) <= 3
        assert abs(sum(one["share"] for one in colours) - 1) < 0.01
        assert set(line["steps"]) == {"meta", "colours"}
    [shown] = json.loads(ctl(daemon, "show", written[0]["paths"][0], "--json"))["items"]
    assert shown["results"]["colours"]["colours"] == written[0]["results"]["colours"]["colours"]
    [job] = json.loads(ctl(daemon, "status", "--json"))["jobs"]
    assert [(step["name"], step["done"]) for step in job["steps"]] == [("meta", 6), ("colours", 6)]
    rows = {row["key"]: row["value"] for row in json.loads(ctl(daemon, "config", "--json"))["rows"]}
    assert rows["colours"] == "none"
    assert "ingestd-colours-and-csv 0.3.0" in ctl(daemon, "doctor")
    daemon.kill()
    daemon.start()
    pictures.write_photos(photos, 8)
    ctl(daemon, "start", str(photos), "--colours", "--most-colours", "3", "--follow")
    assert len({line["id"] for line in lines(out)}) == 8


def test_a_sink_of_another_package(daemon: Daemon, tmp_path: Path) -> None:
    """A row for each photo, with what the package's own step made; a photo that goes takes its row along. The help
    names it, and the client makes its file absolute."""
    photos = tmp_path / "photos"
    written = pictures.write_photos(photos, 4)
    assert "csv:FILE (a file with one row for each photo)" in " ".join(ctl(daemon, "start", "--help").split())
    words = ("--describe", "none", "--embed", "none", "--colours", "--sink", "csv:out.csv")
    ctl(daemon, "start", str(photos), *words, "--follow", cwd=tmp_path)
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        [mark, heads, *rows] = list(csv.reader(file))
    assert mark[0].startswith("# ")
    assert heads == ["sha256", "path", "copies", "bytes", "colours"]
    assert sorted(row[1] for row in rows) == sorted(str(path) for path in written)
    assert all(row[4].startswith("#") for row in rows)
    [sink] = daemon.call("status")["jobs"][0]["sinks"]
    assert (sink["kind"], sink["place"], sink["lag"]) == ("csv", f"{tmp_path}/out.csv", 0)
    assert f"csv {tmp_path}/out.csv" in ctl(daemon, "doctor")
    written[0].unlink()
    ctl(daemon, "start", str(photos), "--follow")
    daemon.wait_for(lambda: len((tmp_path / "out.csv").read_text().splitlines()) == 5)
    with pytest.raises(Exception, match="place is not absolute"):
        daemon.call("start", sources=[str(photos)], name="two", describe="none", embed="none", sinks=["csv:out.csv"])


def test_its_settings_hold(daemon: Daemon, tmp_path: Path) -> None:
    """A number out of its range is refused with exit code 2, before anything is stored; so is another one for a job
    that is known."""
    photos = tmp_path / "photos"
    pictures.write_photos(photos, 2)
    meta = ("--describe", "none", "--embed", "none", "--sink", "jsonl")
    for words, code in ((("--most-colours", "99"), 2), (("--most-colours", "2"), 0), (("--most-colours", "4"), 2)):
        command = [sys.executable, "-m", "ingestctl", "start", str(photos), *meta, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=daemon.env, timeout=120)
        assert done.returncode == code, done
    assert len(daemon.call("status")["jobs"]) == 1


def test_a_package_that_comes_while_the_daemon_runs(site: Path, tmp_path: Path) -> None:
    """The next start knows its kinds; after it was taken away, the job says what is missing and the others go on."""
    late = tmp_path / "late"
    late.mkdir()
    photos = tmp_path / "photos"
    pictures.write_photos(photos, 2)
    with Daemon(tmp_path / "home", {"PYTHONPATH": str(late)}) as daemon:
        ask = {"sources": [str(photos)], "describe": "none", "embed": "none", "sinks": ["jsonl"]}
        with pytest.raises(Exception, match="no kind of step 'colours'"):
            daemon.call("start", **ask, steps=[{"name": "colours"}])
        shutil.copytree(site, late, dirs_exist_ok=True)
        job = daemon.call("start", **ask, steps=[{"name": "colours"}])["job"]
        assert daemon.call("wait", job=job["uuid"])["job"]["counts"]["done"] == 2
        for entry in late.iterdir():
            shutil.rmtree(entry)
        (photos / "more").mkdir()
        pictures.write_photos(photos / "more", 1)
        with pytest.raises(Exception, match="colours"):
            daemon.call("start", sources=[str(photos)])
        other = tmp_path / "other"
        pictures.write_photos(other, 1)
        job = daemon.call("start", sources=[str(other)], describe="none", embed="none", sinks=["jsonl"])["job"]
        assert daemon.call("wait", job=job["uuid"])["job"]["counts"]["done"] == 1


def test_its_key_in_the_configuration(site: Path, tmp_path: Path) -> None:
    """A first start with the key in ``config.toml`` knows it, and a job gets the step without being asked."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text('colours = "on"\ndescribe = "none"\nembed = "none"\nsinks = "jsonl"\n')
    photos = tmp_path / "photos"
    pictures.write_photos(photos, 1)
    with Daemon(home, {"PYTHONPATH": str(site)}) as daemon:
        job = daemon.call("start", sources=[str(photos)])["job"]
        done = daemon.call("wait", job=job["uuid"])["job"]
        assert [step["name"] for step in done["steps"]] == ["meta", "colours"]
