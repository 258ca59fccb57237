"""A state folder of release 0.1.0 goes on under this one: nothing is done again, nothing is lost, everything is found.

``make.py`` says what is in it. The daemon that takes it over is a real one; what was under way ends by itself, what
rested is asked for as a person would.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.daemon.house import defects
from tests.daemonkit import Daemon, RpcError
from tests.oldstate.snapshot import Item, Made, Snapshot, ctl, ctl_start, look, sha
from tests.oldstate.thaw import EXPECTED, Thawed, thaw

JOBS: dict[str, Any] = EXPECTED["jobs"]
BY_THEMSELVES = ("journey", "later", "queued-list")
WHEN_ASKED = ("share", "catalogue")
ALONE = dict.fromkeys(BY_THEMSELVES, "completed") | {"share": "waiting"}
RESTING = ("holiday", "filtered", "by-list", "report", "dropped", "catalogue")
"""Nothing moves these before somebody asks."""

COUNTED = ("pending", "running", "suspect", "done", "failed", "gone", "skipped")
FOUND_AGAIN = [name for name in JOBS if name not in ("dropped", "report")]
WINDOW = 32
"""Items that one worker may have in flight, so what an end of it may cost."""


class OldState(NamedTuple):
    """The folder and its daemon; its status at the start, what had become of it by itself, and after it was asked."""

    thawed: Thawed
    daemon: Daemon
    frozen: Snapshot
    first: dict[str, dict[str, Any]]
    alone: Snapshot
    asked: Snapshot


def statuses(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """By uuid: the name of a stopped job is free again."""
    return {job["uuid"]: job for job in daemon.call("status")["jobs"]}


def status(daemon: Daemon, name: str) -> dict[str, Any]:
    return statuses(daemon)[JOBS[name]["uuid"]]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldState]:
    """The daemon over the folder, when all that can end has ended; the tests after that ask it for more."""
    thawed = thaw(tmp_path_factory.mktemp("old"))
    frozen = look(thawed)
    with Daemon(thawed.home) as daemon:
        first = statuses(daemon)
        looks: list[Snapshot] = []

        def settled() -> bool:
            looks.append(look(thawed))
            return all(looks[-1].statuses[JOBS[name]["uuid"]] == state for name, state in ALONE.items())

        daemon.wait_for(settled)
        (thawed.base / "away" / "share").rename(thawed.base / "photos" / "share")
        for name in WHEN_ASKED:
            ctl(thawed, "resume", name)
            ctl(thawed, "wait", name)
        yield OldState(thawed, daemon, frozen, first, looks[-1], look(thawed))
    assert not defects(daemon)


def test_every_job_is_as_it_was(old: OldState) -> None:
    """Name, uuid, sources, steps, places; and for those that rest state, reason, actor and every count."""
    assert set(old.first) == {then["uuid"] for then in JOBS.values()}
    for name, then in JOBS.items():
        now = old.first[then["uuid"]]
        assert now["name"] == name
        sources = [word.format(base=old.thawed.base) for word in then["words"] if word.startswith("{base}/photos")]
        assert now["sources"] == sources or "list" in then
        assert [(s["kind"], s["fingerprint"]) for s in now["steps"]] == [(s[1], s[2]) for s in then["steps"]]
        cursors = {sink.format(base=old.thawed.base): cursor for sink, (cursor, _) in then["cursors"].items()}
        assert {sink["name"] for sink in now["sinks"]} == cursors.keys()
        if name in RESTING:
            reason = then["reason"].format(base=old.thawed.base)
            assert (now["status"], now["actor"], now["reason"]) == (then["status"], then["actor"], reason)
            assert now["counts"] | {key: then["counts"][key] for key in COUNTED} == now["counts"]
            assert [(s["done"], s["failed"]) for s in now["steps"]] == [(s[4], s[5]) for s in then["steps"]]
            assert {sink["name"]: sink["cursor"] for sink in now["sinks"]} == cursors


def test_what_was_under_way_ends_by_itself(old: OldState) -> None:
    """The running job and those behind it; a source that is away is waited for; who paused, stopped or failed rests."""
    now = {name: old.alone.statuses[then["uuid"]] for name, then in JOBS.items()}
    assert now == {name: then["status"] for name, then in JOBS.items()} | dict.fromkeys(BY_THEMSELVES, "completed")
    assert old.alone.reasons[JOBS["share"]["uuid"]].startswith("source offline")
    for name in WHEN_ASKED:
        assert old.asked.statuses[JOBS[name]["uuid"]] == "completed"


def test_nothing_is_done_again(old: OldState) -> None:
    """What was done, failed or gone is not touched; what was open is claimed once more, and then it is done."""
    for name, then in JOBS.items():
        now = old.asked.items[then["uuid"]]
        again = 0
        for path, item in then["items"].items():
            if item["state"] in ("done", "failed", "gone") or then["status"] in ("stopped", "failed"):
                assert now[path] == Item(item["state"], item["attempts"], item["sha256"]), path
            else:
                assert now[path].state == "done", path
                again += now[path].attempts - item["attempts"] - 1
        if name == "share":  # a worker that finds the source away gives its window back
            batches = old.asked.batches[then["uuid"]] - old.frozen.batches[then["uuid"]]
            assert 0 <= again <= WINDOW * (batches - 1)
        else:
            assert again == 0, name


def hash_of(thawed: Thawed, path: str) -> str | None:
    with open(thawed.path(path), "rb") as file:
        return sha(file.read())


def test_results_stay_and_are_joined_by_the_missing_ones(old: OldState) -> None:
    """Every row of then is there byte for byte, from its batch; new are those that open files lacked."""
    before = {
        (content, fingerprint): Made(*row)
        for content, rows in EXPECTED["results"].items()
        for fingerprint, row in rows.items()
    }
    assert {key: made for key, made in old.asked.results.items() if key in before} == before
    wanted = set()
    for then in JOBS.values():
        if then["status"] not in ("stopped", "failed"):
            for path, item in old.asked.items[then["uuid"]].items():
                if item.state == "done":
                    wanted |= {(hash_of(old.thawed, path), step[2]) for step in then["steps"]}
    assert old.asked.results.keys() - before.keys() == wanted - before.keys()
    # Five of the six files in the list are known from other jobs: no model and no decoder ran for them.
    assert status(old.daemon, "queued-list")["reused"] == 5


def live(snapshot: Snapshot, uuid: str) -> set[str]:
    """The paths of a job's items that are done."""
    return {path for path, item in snapshot.items[uuid].items() if item.state == "done"}


def relative(thawed: Thawed, path: bytes) -> str:
    """A path from a sink, written then or now, relative to the base."""
    for base in (EXPECTED["base"], str(thawed.base)):
        path = path.removeprefix(os.fsencode(base) + b"/")
    return os.fsdecode(path)


def lines_of(thawed: Thawed, place: Path) -> dict[str, set[str]]:
    """The paths of each id that a JSONL file ends with."""
    current: dict[str, set[str]] = {}
    for line in place.read_bytes().splitlines():
        document = json.loads(line)
        current.pop(document["id"], None)
        if not document.get("deleted"):
            odd = {int(at): base64.b64decode(path) for at, path in document.get("path_b64", {}).items()}
            paths = [odd.get(at, path.encode()) for at, path in enumerate(document["paths"])]
            current[document["id"]] = {relative(thawed, path) for path in paths}
    return current


def jsonl_of(thawed: Thawed, name: str) -> Path:
    return thawed.home.joinpath("state", "sinks", JOBS[name]["uuid"], "items.jsonl")


def test_nothing_is_lost(old: OldState) -> None:
    """Every path that the ledger had is there still, and every one that is done is in its job's lines."""
    for name, then in JOBS.items():
        now = old.asked.items[then["uuid"]]
        assert then["items"].keys() <= now.keys()
        if name != "report":  # its lines were removed; see below
            documents = lines_of(old.thawed, jsonl_of(old.thawed, name))
            assert {path for paths in documents.values() for path in paths} == live(old.asked, then["uuid"]), name
    files = {os.fsdecode(path) for path in JOBS["queued-list"]["list"]}
    assert old.asked.items[JOBS["queued-list"]["uuid"]].keys() == files


def test_files_are_shown_as_they_were(old: OldState) -> None:
    """A description of then, a failure of then, a name that is not UTF-8, a copy: ``show`` has them."""
    then = JOBS["holiday"]
    for name, wanted in (
        ("photos/holiday/coffee.jpg", "done"),
        ("photos/holiday/caf\udce9 \udcff.jpg", "done"),
        ("photos/holiday/torn.jpg", "failed"),
    ):
        shown = json.loads(ctl(old.thawed, "show", old.thawed.path(name), "--json"))
        (item,) = (item for item in shown["items"] if item["job"] == "holiday")
        digest = then["items"][name]["sha256"]
        assert (item["state"], item["sha256"], item["attempts"]) == (wanted, digest, 1)
        if wanted == "done":
            told = EXPECTED["described"][digest]
            assert {key: item["results"]["describe"][key] for key in told} == told
        else:
            assert [[row["kind"], row["message"]] for row in item["failures"]] == [then["failures"]["torn.jpg"]]
    shown = json.loads(ctl(old.thawed, "show", old.thawed.path("photos/holiday/coffee.jpg"), "--json"))
    (item,) = (item for item in shown["items"] if item["job"] == "holiday")
    assert item["copies"] == [str(old.thawed.base / "photos/holiday/copies/breakfast.jpg")]


def test_lines_are_appended(old: OldState) -> None:
    """What a cursor had vouched for is untouched; a page beyond it, which it had not, is replaced."""
    for name, then in JOBS.items():
        if "jsonl" in then:
            data = jsonl_of(old.thawed, name).read_bytes()
            assert sha(data[: then["jsonl"]["told"]]) == then["jsonl"]["sha256"], name
            ids = [json.loads(line)["id"] for line in data[: then["jsonl"]["told"]].splitlines()]
            assert ids == then["jsonl"]["lines"], name
            if name in RESTING and name != "catalogue":
                assert len(data) == then["jsonl"]["bytes"], name
    folders = old.thawed.home / "state" / "sinks"
    assert [path for path in folders.rglob("*") if "aside" in path.name] == [], "nothing was moved aside and made anew"
    then = JOBS["journey"]["jsonl"]
    assert then["bytes"] > then["told"], "the daemon was killed before it heard of the last page"
    rest = jsonl_of(old.thawed, "journey").read_bytes()[then["told"] :].splitlines()
    assert all(path.startswith(f"{old.thawed.base}/") for line in rest for path in json.loads(line)["paths"])


def test_stores_are_opened_and_searched(old: OldState) -> None:
    """The store, its vectors' names and its points are those of then; a search finds the photos, new ones as well."""
    for name in ("holiday", "journey"):
        then = JOBS[name]
        ((_, _, place),) = then["stores"]
        mark = json.loads((Path(place.format(base=old.thawed.base)) / "ingestd.json").read_bytes())
        kept = {key: then["store"]["mark"][key] for key in ("store", "vectors")}
        assert mark | kept == mark
        assert mark["seq"] >= then["store"]["mark"]["seq"]
        words = ("search", "a cup of coffee", "--job", name, "--n", "500", "--json")
        (group,) = json.loads(ctl(old.thawed, *words))["groups"]
        points = {hit["id"] for hit in group["hits"]}
        assert set(then["store"]["points"]) <= points
        assert points == lines_of(old.thawed, jsonl_of(old.thawed, name)).keys()
        if name == "holiday":
            best = {relative(old.thawed, path.encode()) for path in group["hits"][0]["paths"]}
            assert best == {"photos/holiday/coffee.jpg", "photos/holiday/copies/breakfast.jpg"}
            assert points == set(then["store"]["points"])


@pytest.mark.parametrize("name", FOUND_AGAIN)
def test_the_same_words_find_the_same_job(name: str, old: OldState) -> None:
    """A folder, patterns and a limit, two sources, a list: its command line of then finds it, with nothing to do."""
    ctl_start(old.thawed, JOBS[name])
    ctl(old.thawed, "wait", name, codes=(3 if name == "holiday" else 0,))
    uuid = JOBS[name]["uuid"]
    now = look(old.thawed)
    assert now.statuses[uuid] == "completed"
    assert now.items[uuid] == old.asked.items[uuid]
    assert now.results == old.asked.results


def test_a_changed_file_is_still_noticed(old: OldState) -> None:
    """Of a folder of then, one edited and one new file are what a later start works on."""
    uuid, folder = JOBS["catalogue"]["uuid"], old.thawed.base / "photos" / "catalogue"
    edited, new = folder / "even" / "photo-00.jpg", folder / "new.jpg"
    shutil.copyfile(folder / "odd" / "photo-01.jpg", new)
    shutil.copyfile(folder / "odd" / "photo-03.jpg", edited)
    before = old.asked.items[uuid]
    ctl_start(old.thawed, JOBS["catalogue"])
    ctl(old.thawed, "wait", "catalogue")
    now = look(old.thawed).items[uuid]
    different = {path for path, item in now.items() if before.get(path) != item}
    assert different == {str(path.relative_to(old.thawed.base)) for path in (edited, new)}
    path = str(edited.relative_to(old.thawed.base))
    assert now[path] == Item("done", before[path].attempts + 1, sha(edited.read_bytes()))


def test_a_stopped_job_stays_stopped(old: OldState) -> None:
    """Its words make a new job of its name, which has what was done already."""
    then = JOBS["dropped"]
    ctl_start(old.thawed, then)
    ctl(old.thawed, "wait", "dropped")
    jobs = {job["uuid"]: job for job in statuses(old.daemon).values() if job["name"] == "dropped"}
    assert jobs.pop(then["uuid"])["status"] == "stopped"
    ((uuid, job),) = jobs.items()
    assert (job["status"], job["counts"]["done"], job["reused"]) == ("completed", 64, then["counts"]["done"])
    now = look(old.thawed)
    assert now.items[then["uuid"]] == old.frozen.items[then["uuid"]]
    assert now.items[uuid].keys() == then["items"].keys()


def test_a_failed_job_goes_on_when_it_is_asked_for(old: OldState) -> None:
    """What was wrong is mended: it finds its results, and writes its lines anew, for they had been removed."""
    then = JOBS["report"]
    assert status(old.daemon, "report")["status"] == "failed"
    (old.thawed.base / "out").mkdir()
    ctl_start(old.thawed, then)
    ctl(old.thawed, "wait", "report")
    assert status(old.daemon, "report")["status"] == "completed"
    now = look(old.thawed)
    assert now.items[then["uuid"]] == old.frozen.items[then["uuid"]]
    documents = lines_of(old.thawed, old.thawed.base / "out" / "report.jsonl")
    assert {path for paths in documents.values() for path in paths} == live(now, then["uuid"])


KINDS = {kind: fingerprint for _, kind, fingerprint, *_ in JOBS["journey"]["steps"]}
"""The fingerprint of each builtin step."""


def steps_of(old: OldState, uuid: str) -> list[str]:
    """A job's fingerprints, once it is resolved; it is stopped and removed."""
    old.daemon.wait_for(lambda: bool(statuses(old.daemon)[uuid]["steps"]))
    found = [step["fingerprint"] for step in statuses(old.daemon)[uuid]["steps"]]
    old.daemon.call("stop", job=uuid)
    old.daemon.call("remove", job=uuid)
    return found


def test_fields_of_then_mean_the_same(old: OldState) -> None:
    """``describe``, ``embed`` and ``embed_text`` of a request make the same steps, and are held against those there."""
    fields = {"describe": "builtin", "embed": "builtin", "embed_text": "builtin", "passes": 2}
    sources = [str(old.thawed.base / "photos" / "journey")]
    reply = old.daemon.call("start", sources=sources, **fields)
    assert reply["job"]["uuid"] == JOBS["journey"]["uuid"]
    old.daemon.call("wait", job="journey")
    with pytest.raises(RpcError, match="--embed none"):
        old.daemon.call("start", sources=sources, name="journey", embed="none")
    for chosen in (("describe", "embed", "embed_text"), ("embed",), ("describe", "embed_text"), ()):
        asked = {key: "builtin" if key in chosen else "none" for key in ("describe", "embed", "embed_text")}
        job = old.daemon.call("start", sources=sources, name="by fields", **asked)["job"]
        wanted = [KINDS[kind] for kind in ("meta", "embed", "describe", "embed_text") if kind in ("meta", *chosen)]
        assert steps_of(old, job["uuid"]) == wanted


def test_settings_of_then_are_read(old: OldState) -> None:
    """``describe``, ``embed`` and ``embed_text`` of ``config.toml`` and of the environment still count."""
    sources = [str(old.thawed.base / "photos" / "later" / "sub")]
    text = (old.thawed.home / "config.toml").read_text()
    assert 'describe = "none"\nembed = "none"\nembed_text = "none"\n' in text
    assert steps_of(old, old.daemon.call("start", sources=sources, name="by file")["job"]["uuid"]) == [KINDS["meta"]]
    old.daemon.end()
    (old.thawed.home / "config.toml").write_text(text.replace('describe = "none"', 'describe = "builtin"'))
    old.daemon.env["INGESTD_EMBED_TEXT"] = "builtin"
    old.daemon.start()
    found = steps_of(old, old.daemon.call("start", sources=sources, name="by both")["job"]["uuid"])
    assert found == [KINDS["meta"], KINDS["describe"], KINDS["embed_text"]]


def test_a_source_that_is_back_needs_no_asking(tmp_path: Path) -> None:
    """What waited for it when the folder was frozen goes on by itself, with what was not done and nothing else."""
    thawed = thaw(tmp_path)
    (thawed.base / "away" / "share").rename(thawed.base / "photos" / "share")
    then = JOBS["share"]
    with Daemon(thawed.home) as daemon:
        daemon.wait_for(lambda: status(daemon, "share")["status"] == "completed")
        assert look(thawed).items[then["uuid"]] == {
            path: Item("done", item["attempts"] + (item["state"] != "done"), hash_of(thawed, path))
            for path, item in then["items"].items()
        }
    assert not defects(daemon)


def test_job_files_of_then_bring_the_jobs_back(tmp_path: Path) -> None:
    """The ledger is lost: from its file each job has its name, uuid, recipe, sinks and wish, and is done anew."""
    thawed = thaw(tmp_path)
    for path in (thawed.home / "state").glob("ledger.db*"):
        path.unlink()
    (thawed.base / "out").mkdir()
    (thawed.base / "away" / "share").rename(thawed.base / "photos" / "share")
    with Daemon(thawed.home) as daemon:
        for name in ("holiday", "journey"):  # with models it would take its time
            daemon.call("pause", job=name)
        assert status(daemon, "catalogue")["status"] == "paused"
        assert status(daemon, "catalogue")["actor"] == "ada"
        ctl(thawed, "resume", "catalogue")
        found = statuses(daemon)
        assert {uuid: job["name"] for uuid, job in found.items()} == {
            then["uuid"]: name for name, then in JOBS.items() if name != "dropped"
        }
        for name in ("filtered", "by-list", "report", "share", "catalogue", "later", "queued-list"):
            ctl(thawed, "wait", name)
            then = JOBS[name]
            items = look(thawed).items[then["uuid"]]
            assert then["items"].keys() <= items.keys(), name
            assert {item.state for item in items.values()} == {"done"}
            assert look(thawed).steps[then["uuid"]] == [step[2] for step in then["steps"]]
            place = thawed.base / "out" / "report.jsonl" if name == "report" else jsonl_of(thawed, name)
            assert {path for paths in lines_of(thawed, place).values() for path in paths} == items.keys()
        for name, then in JOBS.items():
            if name != "dropped":
                sinks = {sink["name"] for sink in found[then["uuid"]]["sinks"]}
                assert sinks == {sink.format(base=thawed.base) for sink in then["cursors"]}
        assert len(look(thawed).items[JOBS["filtered"]["uuid"]]) == 5, "its limit and its patterns hold"
    assert not defects(daemon)
