"""A model that is fetched from a real server over real HTTP: what comes, from where, and to what it is pinned."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download, snapshot_download

from ingestd.errors import Misconfigured, Unavailable
from ingestd.protocol.models import Planned, Pulled, PullModel
from ingestd.protocol.work import Fatal, Fetching, Hello
from ingestd.worker.models.hub import shelf
from ingestd.worker.models.hub.fetch import Hub
from ingestd.worker.models.hub.names import Wanted
from tests import hubkit
from tests.worker.hub.ourside import ID, NEEDED, WEIGHTS, Told, ask, fetch, partials


def test_what_is_needed_comes_whole_and_nothing_else_is_asked_for(served: hubkit.Hub, ours: Hub) -> None:
    """Configuration, tokenizer, processor and safetensors arrive byte by byte; pickles and other formats never move."""
    files = hubkit.clip()
    commit = served.publish(ID, files)
    folder, hub_id, revision = fetch(ours)
    assert (hub_id, revision) == (ID, commit)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: files[name] for name in NEEDED}
    allowed = {f"/api/models/{ID}/revision/main", *(f"/{ID}/resolve/{commit}/{name}" for name in NEEDED)}
    assert {request.path for request in served.requests} == allowed
    # Although the library was imported before us, by this test: it would name the others that are installed.
    assert not any("torch" in request.headers["user-agent"] for request in served.requests)


def test_what_is_here_needs_no_network(served: hubkit.Hub, ours: Hub) -> None:
    """A second use of a model asks the hub for nothing, and works when the hub is gone."""
    served.publish(ID, hubkit.clip())
    first = fetch(ours)
    asked = len(served.requests)
    assert fetch(ours) == first
    assert len(served.requests) == asked


def test_the_cache_is_the_one_that_other_programs_use(served: hubkit.Hub, ours: Hub) -> None:
    """The hub's library finds what we fetched, offline, by branch; what it fetched is used without a request."""
    served.publish(ID, hubkit.clip())
    ours.store.cache.mkdir(parents=True)
    folder = fetch(ours).folder
    theirs = snapshot_download(ID, cache_dir=ours.store.cache, local_files_only=True, allow_patterns=[*NEEDED])
    assert Path(theirs) == folder

    other = "someone/else"
    served.publish(other, hubkit.clip(seed=1))
    for name in NEEDED:
        theirs = hf_hub_download(other, name, cache_dir=ours.store.cache, endpoint=served.url)
    asked = len(served.requests)
    found = fetch(ours, other)
    assert found.folder == Path(theirs).parent
    assert found.revision == found.folder.name
    assert len(served.requests) == asked


def test_a_model_in_shards_comes_with_every_shard(served: hubkit.Hub, ours: Hub) -> None:
    """The index and the shards that it names are fetched; files that only look like weights are not."""
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    files = hubkit.clip() | {name: hubkit.safetensors(1000, n) for n, name in enumerate(names)}
    del files[WEIGHTS]
    files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": names[0], "b": names[1]}}).encode()
    files["open_clip_model.safetensors"] = hubkit.safetensors(1000, 9)
    served.publish(ID, files)
    folder = fetch(ours).folder
    assert {path.name for path in folder.iterdir()} == NEEDED - {WEIGHTS} | {*names, "model.safetensors.index.json"}


def test_progress_only_grows_and_ends_at_the_whole(served: hubkit.Hub, ours: Hub) -> None:
    """What is told never goes back, not even when a file begins anew, and its end is the sum of all sizes."""
    files = hubkit.clip(2_000_000)
    served.publish(ID, files)
    served.faults = hubkit.Faults(cut_after=600_000, cuts=2, wrong=3, slow_s=0.05)
    told = Told()
    fetch(ours, tell=told)
    total = sum(len(files[name]) for name in NEEDED)
    dones = [done for _, done, of in told.heard if of]
    assert dones == sorted(dones)
    assert dones[-1] == total
    assert {(name, of) for name, _, of in told.heard} == {(ID, total)}
    assert len(set(dones)) > 3
    assert served.sent(WEIGHTS) > len(files[WEIGHTS])


def test_a_mirror_without_records_and_ranges_is_enough(served: hubkit.Hub, ours: Hub) -> None:
    """Where sizes and hashes are not listed they are asked for by file; a server that ignores Range begins anew."""
    files = hubkit.clip(500_000)
    served.publish(ID, files)
    served.faults = hubkit.Faults(no_records=True, no_range=True, cut_after=200_000)
    assert (fetch(ours).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert served.asked(WEIGHTS)[-1].range is not None


def test_a_disk_without_links_holds_each_file_once(
    served: hubkit.Hub, ours: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where links cannot be made the files themselves stand in the snapshot, and are found there again."""

    def none(self: Path, target: Any, target_is_directory: bool = False) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "symlink_to", none)
    files = hubkit.clip()
    served.publish(ID, files)
    folder = fetch(ours).folder
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert not any((ours.store.repo(ID) / "blobs").iterdir())
    asked = len(served.requests)
    assert fetch(ours).folder == folder
    assert len(served.requests) == asked


def test_fetching_is_told_by_a_real_child(served: hubkit.Hub, tmp_path: Path) -> None:
    """A plan with the disk that it takes comes first, then growing progress, then the result."""
    files = hubkit.clip()
    served.publish(ID, files)
    with ask(served, tmp_path) as child:
        child.expect(Hello)
        child.send(PullModel("siglip2"))
        planned, *progress, pulled = child.until(lambda said: isinstance(said, Pulled | Fatal))
        assert child.wait() == 0
    total = sum(len(files[name]) for name in NEEDED)
    assert isinstance(planned, Planned)
    assert (planned.total, planned.here) == (total, 0)
    assert planned.free > 0
    assert all(isinstance(said, Fetching) and said.total == total for said in progress)
    assert progress[-1].done == total
    assert isinstance(pulled, Pulled)
    assert pulled.fetched == total


def test_a_branch_stays_at_the_commit_of_its_first_use(served: hubkit.Hub, ours: Hub) -> None:
    """Main moves on at the hub; here it means what it meant, even when the files are fetched anew."""
    old, new = hubkit.clip(seed=1), hubkit.clip(seed=2)
    first = served.publish(ID, old)
    assert fetch(ours).revision == first
    second = served.publish(ID, new)
    assert fetch(ours).revision == first
    shelf.library().scan_cache_dir(ours.store.cache).delete_revisions(first).execute()
    again = fetch(ours)
    assert again.revision == first
    assert (again.folder / WEIGHTS).read_bytes() == old[WEIGHTS]
    assert fetch(ours, f"{ID}@{second}").revision == second
    shelf.remove(ours.store, ID, [], force=False)
    assert fetch(ours).revision == second


def test_another_program_that_moves_the_branch_moves_nothing_of_ours(served: hubkit.Hub, ours: Hub) -> None:
    """The cache's reference follows other programs' downloads; our pin does not."""
    first = served.publish(ID, hubkit.clip(seed=1))
    fetch(ours)
    second = served.publish(ID, hubkit.clip(seed=2))
    for name in NEEDED:
        theirs = hf_hub_download(ID, name, cache_dir=ours.store.cache, endpoint=served.url)
    assert Path(theirs).parent.name == second
    assert fetch(ours).revision == first


def test_a_fetch_that_was_cut_goes_on_with_its_commit(served: hubkit.Hub, ours: Hub) -> None:
    """Main moves on between a cut and the next attempt: the model that was begun is the one that is finished."""
    first = served.publish(ID, hubkit.clip(seed=1))
    served.faults = hubkit.Faults(cut_after=500_000, cuts=1000)
    with pytest.raises(Unavailable):
        fetch(ours)
    served.publish(ID, hubkit.clip(seed=2))
    served.faults = hubkit.Faults()
    assert fetch(ours).revision == first


def test_a_revision_may_be_a_branch_or_a_commit(served: hubkit.Hub, ours: Hub) -> None:
    """``@`` names what is fetched; a pull request's reference has slashes in it."""
    main = served.publish(ID, hubkit.clip(seed=1))
    other = served.publish(ID, hubkit.clip(seed=2), branch="refs/pr/4")
    assert fetch(ours, f"{ID}@refs/pr/4").revision == other
    assert fetch(ours, f"{ID}@{main}").revision == main
    assert fetch(ours, ID).revision == main


@pytest.mark.parametrize(("wrong", "good"), [(1, True), (2, False)])
def test_bytes_that_are_not_those_stated_are_never_used(served: hubkit.Hub, ours: Hub, wrong: int, good: bool) -> None:
    """One accident is fetched again; a second is said, and nothing of it stays."""
    files = hubkit.clip(500_000)
    served.publish(ID, files)
    served.faults = hubkit.Faults(wrong=wrong)
    if good:
        assert (fetch(ours).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
        return
    with pytest.raises(Misconfigured, match=f"{WEIGHTS} came with other bytes"):
        fetch(ours)
    assert not partials(ours)
    assert ours.here(Wanted(ID, ID)) is None


def test_small_files_are_checked_as_well(served: hubkit.Hub, ours: Hub) -> None:
    """What lies in git is held against git's own hash."""
    served.publish(ID, hubkit.clip(1000))
    served.faults = hubkit.Faults(of="tokenizer.json", wrong=2)
    with pytest.raises(Misconfigured, match=r"tokenizer\.json came with other bytes"):
        fetch(ours)


def test_a_leftover_that_is_too_long_is_begun_anew(served: hubkit.Hub, ours: Hub) -> None:
    """A partial file that cannot be of this model does not spoil it."""
    files = hubkit.clip(1000)
    served.publish(ID, files)
    served.faults = hubkit.Faults(cut_after=0, cuts=1000)
    with pytest.raises(Unavailable):
        fetch(ours)
    (partial,) = partials(ours)
    partial.write_bytes(b"x" * 5000)
    served.faults = hubkit.Faults()
    assert (fetch(ours).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
