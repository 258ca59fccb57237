"""What keeps a daemon from beginning is said in a sentence with a way on; ``--oneshot`` needs none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ingestd.daemon import prepare
from ingestd.errors import EX_CONFIG, Misconfigured
from ingestd.host import disk
from ingestd.paths import Places
from tests.daemon.house import NOT_ROOT, needs_permissions, run_ingestd
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_size = ", "config.toml"),
        ("batchsize = 5\n", "it has no key 'batchsize'"),
        ("batch_size = 0\n", "batch_size is '0'"),
        ("workers = 'many'\n", "a whole number from 1 to 64 is needed"),
        ("sinks = ['jsonl', 'csv']\n", "qdrant, jsonl"),
        ("log_level = 'loud'\n", "debug, info, warning or error"),
    ],
)
def test_a_mistake_in_the_configuration(text: str, words: str, tmp_path: Path) -> None:
    """EX_CONFIG, naming the key, its place and what it may be; nothing is made."""
    (tmp_path / "config.toml").write_text(text)
    ended = run_ingestd(tmp_path)
    assert ended.returncode == EX_CONFIG
    assert words in ended.stderr
    assert "config.toml" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "state").exists()


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder, or bytes that are no text, in the file's place."""
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    ended = run_ingestd(tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (EX_CONFIG, False), ended.stderr
    assert "config.toml" in ended.stderr
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").mkdir()
    ended = run_ingestd(tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (EX_CONFIG, False), ended.stderr


def test_a_mistake_in_the_environment(tmp_path: Path) -> None:
    """The variable is named as the place."""
    ended = run_ingestd(tmp_path, env={"INGESTD_WORKERS": "0"})
    assert ended.returncode == EX_CONFIG
    assert "INGESTD_WORKERS" in ended.stderr


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    """The folder that cannot be made is named, with the way on."""
    (tmp_path / "home").write_text("")
    ended = run_ingestd(tmp_path / "home")
    assert ended.returncode == EX_CONFIG
    assert "cannot create the folder" in ended.stderr
    assert "INGESTD_HOME" in ended.stderr
    assert "Traceback" not in ended.stderr


@needs_permissions
@pytest.mark.parametrize("what", ["state", "run", "log", "state/ledger.db", "state/lock"])
def test_what_cannot_be_written(what: str, tmp_path: Path) -> None:
    """A folder or file that this user may not write: a sentence with the way on, EX_CONFIG, no traceback."""
    for name in ("state", "run", "log"):
        (tmp_path / name).mkdir()
    if "/" in what:
        (tmp_path / what).write_bytes(b"")
    os.chmod(tmp_path / what, 0o500 if "/" not in what else 0)
    ended = run_ingestd(tmp_path, prefix=NOT_ROOT)
    assert ended.returncode == EX_CONFIG, ended.stderr
    assert ended.stderr.startswith("Error: cannot"), ended.stderr
    assert "Try: " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_state_on_a_network_share_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's locks do not hold there: refused, naming the kind and the way on."""
    monkeypatch.setattr("ingestd.daemon.file_system", lambda path: kind)
    places = Places(tmp_path / "state", tmp_path / "run", tmp_path / "log", tmp_path / "config.toml")
    with pytest.raises(Misconfigured) as caught:
        prepare(places)
    assert kind in caught.value.message
    assert "INGESTD_HOME" in caught.value.remedy


def test_the_file_system_is_the_deepest_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of mounts above a path the deepest counts, of two in one place the later, and blanks are unescaped."""
    table = (
        "21 1 0:19 / / rw - ext4 /dev/a rw\n"
        "22 21 0:20 / /mnt rw shared:1 - tmpfs none rw\n"
        "23 22 0:21 / /mnt/my\\040nas rw - nfs4 server:/x rw\n"
        "24 22 0:22 / /mnt/usb rw - ext4 /dev/b rw\n"
        "25 22 0:23 / /mnt/usb rw - cifs //s/x rw\n"
    )
    monkeypatch.setattr(Path, "read_bytes", lambda path: table.encode())
    assert disk.file_system(Path("/home")) == "ext4"
    assert disk.file_system(Path("/mnt/my nas/state")) == "nfs4"
    assert disk.file_system(Path("/mnt/my")) == "tmpfs"
    assert disk.file_system(Path("/mnt/usb/x")) == "cifs"


def oneshot(home: Path, verb: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
    ended = run_ingestd(home, "--oneshot", verb, env=env)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_oneshot_status(tmp_path: Path) -> None:
    """Without daemon: every job as the ledger has it; without ledger: none; a broken one: an error document."""
    home = tmp_path / "home"
    code, empty = oneshot(home, "status")
    assert (code, empty["jobs"]) == (0, [])
    assert not (home / "state").exists(), "asking makes nothing"
    write_photos(tmp_path / "photos", 3)
    with Daemon(home) as daemon:
        daemon.ingest(tmp_path / "photos", **META)
        known = daemon.job()
    code, found = oneshot(home, "status")
    (job,) = found["jobs"]  # type: ignore[misc]
    assert code == 0
    assert found["daemon"]["pid"] == 0  # type: ignore[index]
    assert (job["status"], job["counts"]) == ("completed", known["counts"])
    assert [sink["place"] for sink in job["sinks"]] == [sink["place"] for sink in known["sinks"]]
    (home / "state" / "ledger.db").write_bytes(b"no database" * 100)
    code, broken = oneshot(home, "status")
    assert code == 1
    assert "error" in broken


def test_oneshot_config(tmp_path: Path) -> None:
    """Each value with its source; a mistake is an error document with exit code 2."""
    (tmp_path / "config.toml").write_text("batch_size = 50\nworkers = 3\n")
    code, reply = oneshot(tmp_path, "config", {"INGESTD_WORKERS": "2"})
    rows = {row["key"]: (row["value"], row["source"]) for row in reply["rows"]}  # type: ignore[attr-defined]
    assert code == 0
    assert rows["batch_size"] == ("50", str(tmp_path / "config.toml"))
    assert rows["workers"] == ("2", "INGESTD_WORKERS")
    assert rows["embed"] == ("builtin", "default")
    code, reply = oneshot(tmp_path, "config", {"INGESTD_WORKERS": "x"})
    assert code == 2
    assert reply["error"]["data"]["exit"] == 2  # type: ignore[index]


def test_a_job_file_that_cannot_be_written_keeps_no_daemon_from_beginning(tmp_path: Path) -> None:
    """On a full disk, say: the job is in the ledger, and goes on; an exit would be one restart after the other."""
    write_photos(tmp_path / "photos", 2)
    with Daemon(tmp_path / "home") as daemon:
        daemon.call("start", sources=[str(tmp_path / "photos")], **META)
        daemon.call("wait")
    (file,) = (tmp_path / "home" / "state" / "jobs").iterdir()
    file.unlink()
    file.with_suffix(".new").mkdir()
    with Daemon(tmp_path / "home") as daemon:
        assert daemon.job()["counts"]["done"] == 2
        assert "job file not written" in (tmp_path / "home" / "log" / "ingestd.log").read_text()
