"""Nothing is done twice: copies, renames, edits and deletions cost what they must, and every output follows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import META, Daemon
from tests.pictures import photo, write_photos


def paths_in(lines: dict[str, dict[str, Any]]) -> list[str]:
    return sorted(path for line in lines.values() for path in line["paths"])


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def runs(daemon: Daemon) -> tuple[int, int]:
    """Rows of results, and how often a model (here: ``meta``) was timed: both count what was computed."""
    ((rows,),) = daemon.query("SELECT count(*) FROM result")
    ((timed,),) = daemon.query("SELECT coalesce(sum(n), 0) FROM timing WHERE phase = 'decode'")
    return rows, timed


def test_copies_and_renames_run_nothing_again(daemon: Daemon, tmp_path: Path) -> None:
    """1,000 files of which 100 are copies: 900 runs; all renamed and started again: none; paths right both times."""
    folder = tmp_path / "photos"
    originals = write_photos(folder, 900)
    for number in range(100):
        # Half of them beside their original in the walk, so that both are in one window.
        name = f"copy-{number}.jpg" if number % 2 else f"photo-{number * 3:05}-copy.jpg"
        shutil.copyfile(originals[number * 3], folder / name)
    job = daemon.ingest(folder, **META)
    assert (job["status"], job["counts"]["done"], job["reused"]) == ("completed", 1_000, 100)
    assert runs(daemon) == (900, 900)
    lines = daemon.jsonl(job)
    assert len(lines) == 900
    assert paths_in(lines) == listing(folder)
    (folder / "moved").mkdir()
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        path.rename(folder / "moved" / f"{number}-renamed.jpg")
    job = daemon.ingest(folder, **META)
    assert (job["status"], job["counts"]["done"], job["counts"]["gone"]) == ("completed", 1_000, 1_000)
    assert job["reused"] == 1_100
    assert runs(daemon) == (900, 900)
    lines = daemon.jsonl(job)
    assert len(lines) == 900
    assert paths_in(lines) == listing(folder)
    assert daemon.call("summary")["contents"] == 900


def test_edits_deletions_and_additions(daemon: Daemon, tmp_path: Path) -> None:
    """After a start the current lines are the folder as it is; what is gone is gone, what returns costs nothing."""
    folder = tmp_path / "photos"
    write_photos(folder, 20)
    copy = folder / "copy.jpg"
    shutil.copyfile(folder / "photo-00003.jpg", copy)
    job = daemon.ingest(folder, **META)
    first = daemon.jsonl(job)
    (folder / "photo-00000.jpg").write_bytes(photo(500))
    gone = (folder / "photo-00001.jpg").read_bytes()
    (folder / "photo-00001.jpg").unlink()
    (folder / "photo-00003.jpg").unlink()
    write_photos(folder / "more", 5, seed=9)
    job = daemon.ingest(folder, **META)
    lines = daemon.jsonl(job)
    assert paths_in(lines) == listing(folder)
    assert len(lines) == 24
    assert len(first.keys() & lines.keys()) == 18
    assert next(line["paths"] for line in lines.values() if str(copy) in line["paths"]) == [str(copy)]
    before = runs(daemon)
    (folder / "back.jpg").write_bytes(gone)
    job = daemon.ingest(folder, **META)
    assert runs(daemon) == before
    assert paths_in(daemon.jsonl(job)) == listing(folder)
    assert daemon.jsonl(job).keys() & first.keys() > lines.keys() & first.keys()


def test_a_new_job_reuses_what_an_old_one_made(daemon: Daemon, tmp_path: Path) -> None:
    """Results belong to contents: a stopped job's name is free, and its successor computes nothing."""
    write_photos(tmp_path / "photos", 30)
    first = daemon.ingest(tmp_path / "photos", **META)
    second = daemon.ingest(tmp_path / "photos", name="second", exclude=["*9.jpg"], **META)
    assert (second["counts"]["done"], second["reused"]) == (27, 27)
    assert runs(daemon) == (30, 30)
    assert first["uuid"] != second["uuid"]
    assert not daemon.jsonl(first).keys() & daemon.jsonl(second).keys(), "ids are of a job and a content"


@pytest.mark.timeout(300)
def test_search_follows_names_and_renames(daemon: Daemon, tmp_path: Path) -> None:
    """The builtin models: a hit carries its path's true bytes, the new ones after a rename, and no model runs."""
    import base64
    import os

    folder = os.fsencode(tmp_path / "photos")
    os.makedirs(folder)
    for number, name in enumerate((b"/a\xff.jpg", b"/b.jpg", b"/copy-of-b.jpg")):
        Path(os.fsdecode(folder + name)).write_bytes(photo(min(number, 1), (96, 96)))
    job = daemon.ingest(tmp_path / "photos")
    assert (job["counts"]["done"], job["reused"]) == (3, 1)

    def found() -> set[bytes]:
        (group,) = daemon.call("search", text="a picture")["groups"]
        assert group["lag"] == 0
        paths = set()
        for hit in group["hits"]:
            for index, shown in enumerate(hit["paths"]):
                b64 = hit["payload"].get("path_b64", {}).get(str(index))
                paths.add(base64.b64decode(b64) if b64 else shown.encode())
            assert hit["paths_total"] == len(hit["paths"])
        return paths

    assert found() == {folder + name for name in (b"/a\xff.jpg", b"/b.jpg", b"/copy-of-b.jpg")}
    batches = daemon.query("SELECT count(*) FROM result")
    for name in (b"/a\xff.jpg", b"/b.jpg", b"/copy-of-b.jpg"):
        os.rename(folder + name, folder + b"/new-\xfe" + name[1:])
    job = daemon.ingest(tmp_path / "photos")
    assert (job["counts"]["done"], job["reused"]) == (3, 4)
    assert daemon.query("SELECT count(*) FROM result") == batches
    assert found() == {folder + b"/new-\xfe" + name for name in (b"a\xff.jpg", b"b.jpg", b"copy-of-b.jpg")}
