"""Several jobs of one source, and what a job leaves behind."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.daemonkit import META, Daemon
from tests.pictures import write_photos


def test_a_plain_start_finds_the_first_of_several_jobs(tmp_path: Path) -> None:
    """A second job of a folder under a name of its own does not take the folder's plain start away."""
    photos = tmp_path / "photos"
    photos.mkdir()
    write_photos(photos, 3)
    with Daemon(tmp_path / "home") as daemon:
        first = daemon.ingest(photos, **META)
        daemon.ingest(photos, name="catalogue", **META)
        assert daemon.ingest(photos)["name"] == first["name"]
        assert daemon.ingest(photos, name="catalogue")["name"] == "catalogue"


def test_a_removed_list_job_leaves_no_spooled_list(tmp_path: Path) -> None:
    """The list that a client spooled goes with its job."""
    photos = tmp_path / "photos"
    photos.mkdir()
    write_photos(photos, 2)
    text = b"".join(os.fsencode(path) + b"\n" for path in sorted(photos.iterdir()))
    with Daemon(tmp_path / "home") as daemon:
        spool = daemon.home / "state" / "spool"
        spool.mkdir()
        place = spool / "list-0.list"
        place.write_bytes(text)
        sha = hashlib.sha256(text).hexdigest()
        job = daemon.call("start", list_file=str(place), list_sha256=sha, **META)["job"]
        assert daemon.call("wait", 60, job=job["name"])["job"]["counts"]["done"] == 2
        daemon.call("remove", job=job["name"])
        assert not list(spool.iterdir())


def test_a_home_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The state folder's name travels to children and into JSON: one that cannot is told at the start, in words."""
    home = os.fsencode(tmp_path) + b"/ho\xffme"
    done = subprocess.run(
        [sys.executable, "-m", "ingestd"], env={**os.environb, b"INGESTD_HOME": home}, capture_output=True, timeout=30
    )
    assert done.returncode != 0
    assert b"Error: cannot keep the state in" in done.stderr
    assert b"Traceback" not in done.stderr
