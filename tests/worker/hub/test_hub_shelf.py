"""What names and folders mean, which models are here, and away with them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ingestd.errors import IngestError, Misconfigured, Unavailable
from ingestd.protocol.models import ModelUse
from ingestd.worker.models.hub import shelf
from ingestd.worker.models.hub.fetch import Hub, Located
from ingestd.worker.models.hub.names import KINDS, SHORT, Wanted, read_name, short_names
from ingestd.worker.models.hub.store import what_is_wrong
from tests import hubkit
from tests.worker.hub.ourside import ID, NEEDED, WEIGHTS, fetch, partials, until


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("smolvml", "Did you mean 'smolvlm'"),
        ("bulitin", "Did you mean 'builtin'"),
        ("smolvlm:7b", "Its sizes are 256m, 500m, 2.2b"),
        ("/nowhere/at/all", "Check the path"),
        ("a/b/c", "A hub id is"),
        ("../../etc/passwd", "A hub id is"),
        ("a--b/c", "A hub id is"),
        ("", "Short names are"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_what_is_known(typed: str, says: str) -> None:
    """Every wrong name gets a remedy that leads on."""
    with pytest.raises(Misconfigured) as raised:
        read_name(typed)
    assert says in raised.value.remedy


def test_names_that_mean_something(tmp_path: Path) -> None:
    """Short names in any case, with their first size for none; ids and revisions; a folder wins."""
    assert read_name("SmolVLM") == Wanted("SmolVLM", SHORT["smolvlm"]["256m"].hub_id)
    assert read_name("smolvlm2:500M") == Wanted("smolvlm2:500M", SHORT["smolvlm2"]["500m"].hub_id)
    assert read_name("a/b@v1") == Wanted("a/b@v1", "a/b", "v1")
    assert read_name(str(tmp_path)) == tmp_path
    assert all(isinstance(read_name(short), Wanted) for short in short_names())
    assert set(KINDS) == set(SHORT)


def test_a_folder_is_used_where_it_lies(ours: Hub, tmp_path: Path) -> None:
    """No hub is asked for a folder, and it has no revision."""
    assert fetch(ours, str(tmp_path)) == Located(tmp_path, None, None)


def model_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        if "/" not in name:
            (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"config.json": b"{"}, "no config.json"),
        ({WEIGHTS: hubkit.safetensors(1000)[:-1]}, "cut short"),
        ({WEIGHTS: b""}, "cut short"),
        ({WEIGHTS: b"\xff" * 100}, "cut short"),
    ],
)
def test_damage_to_a_folder_is_seen(tmp_path: Path, changes: dict[str, bytes], says: str | None) -> None:
    """Weights that are shorter than their own header says do not count as whole."""
    found = what_is_wrong(model_folder(tmp_path / "m", hubkit.clip(1000) | changes))
    assert found is None if says is None else says in str(found)


def test_a_link_to_a_blob_that_is_gone_makes_the_model_not_here(served: hubkit.Hub, ours: Hub) -> None:
    """A blob that somebody deleted is fetched again, and only that one."""
    files = hubkit.clip(1000)
    served.publish(ID, files)
    folder = fetch(ours).folder
    os.unlink((folder / WEIGHTS).resolve())
    asked = len(served.requests)
    assert (fetch(ours).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert [request.path.rpartition("/")[2] for request in served.requests[asked + 1 :]] == [WEIGHTS]


def test_the_shelf_says_what_each_model_is_for(served: hubkit.Hub, ours: Hub) -> None:
    """What is whole and can be used is listed with its kind, size and place; the rest of the short names as absent."""
    files = hubkit.clip()
    commit = served.publish(ID, files)
    folder = fetch(ours).folder
    rows = {row.name: row for row in shelf.rows(ours.store)}
    row = rows["siglip2"]
    assert (row.kinds, row.state, row.revision, row.folder) == (["embed"], "here", commit, str(folder))
    assert row.size == sum(len(files[name]) for name in NEEDED)
    assert rows["builtin"].state == "here"
    assert {name for name, row in rows.items() if row.state == "absent"} == set(short_names()) - {"siglip2"}


def test_a_model_that_is_here_in_part_is_shown_as_that(served: hubkit.Hub, ours: Hub) -> None:
    """An interrupted fetch is on the shelf with the bytes that it takes, and can be removed."""
    served.publish(ID, hubkit.clip())
    served.faults = hubkit.Faults(cut_after=500_000, cuts=1000)
    with pytest.raises(Unavailable):
        fetch(ours)
    row = next(row for row in shelf.rows(ours.store) if row.hub_id == ID)
    assert (row.name, row.state, row.size) == ("siglip2", "partly", partials(ours)[0].stat().st_size)
    removed = shelf.remove(ours.store, "siglip2", [], force=False)
    assert removed.freed >= (row.size or 0) > 0
    assert not ours.store.repo(ID).exists()


def test_removal_frees_what_it_says_and_leaves_other_revisions(served: hubkit.Hub, ours: Hub) -> None:
    """One commit goes with the blobs that nobody else needs; the other stays whole."""
    first = served.publish(ID, hubkit.clip(seed=1))
    fetch(ours)
    second = served.publish(ID, hubkit.clip(seed=2), branch="next")
    kept = fetch(ours, f"{ID}@next").folder
    removed = shelf.remove(ours.store, f"{ID}@{first}", [], force=False)
    assert 3_000_000 < removed.freed < 3_100_000  # the tokenizer is the same file in both
    assert what_is_wrong(kept) is None
    assert ours.store.snapshots(ID) == [second]


USES = [ModelUse("holiday", True, ["builtin", "siglip2", "none"]), ModelUse("old", False, ["none", ID, "none"])]


def test_a_model_in_use_is_not_taken_away_unasked(served: hubkit.Hub, ours: Hub) -> None:
    """An active job's model is refused, by name; with force it goes, and what follows is said for every job."""
    served.publish(ID, hubkit.clip(1000))
    fetch(ours)
    with pytest.raises(Misconfigured, match="the job holiday is not over and needs it"):
        shelf.remove(ours.store, "siglip2", USES, force=False)
    assert ours.here(Wanted(ID, ID)) is not None
    removed = shelf.remove(ours.store, "siglip2", USES, force=True)
    assert [note.split(" it ")[0].split(" was ")[0] for note in removed.notes] == [
        "the job holiday needs",
        "the job old",
    ]
    assert ours.here(Wanted(ID, ID)) is None


def test_a_model_that_is_being_fetched_is_not_taken_away(served: hubkit.Hub, ours: Hub) -> None:
    """Removal does not pull the folder away under another process's download."""
    served.publish(ID, hubkit.clip(4_000_000))
    gate = threading.Event()
    served.faults = hubkit.Faults(gate=gate)
    results: list[Located | IngestError] = []
    thread = threading.Thread(target=lambda: results.append(fetch(ours)))
    thread.start()
    until(lambda: served.sent(WEIGHTS) > 0)
    with pytest.raises(Misconfigured, match="another process is fetching it"):
        shelf.remove(ours.store, ID, [], force=False)
    gate.set()
    thread.join(60)
    assert isinstance(results[0], Located)


@pytest.mark.parametrize(("model", "says"), [("/tmp", "a folder of yours"), ("clip", "is not on this machine")])
def test_what_is_not_ours_to_remove_stays(ours: Hub, model: str, says: str) -> None:
    """Folders of the user's, and what is not here, are refused in words."""
    with pytest.raises(Misconfigured, match=says):
        shelf.remove(ours.store, model, [], force=True)
