"""The worker's side of the protocol, through a real process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path

from ingestd.protocol.work import (
    Drain,
    Fatal,
    Finish,
    FromWorker,
    Hashed,
    Hello,
    Machine,
    Probe,
    Probed,
    Ready,
    StepRequest,
    WorkerSetup,
)
from tests import pictures
from tests.childkit import running
from tests.worker.workerkit import META_STEP, stat_of, worker


def test_every_item_gets_one_whole_outcome_in_the_order_began_hashed_outcome(tmp_path: Path) -> None:
    """Began precedes Hashed precedes exactly one Outcome, which carries the hash of the bytes and the file's state."""
    paths = pictures.write_photos(tmp_path, 40)
    with worker() as w:
        outcomes = w.process(paths)
        w.child.send(Finish())
        assert w.to_the_end() == 0
    assert sorted(w.began) == sorted(w.hashed) == sorted(outcomes) == list(range(40))
    for item, path in enumerate(paths):
        outcome = outcomes[item]
        assert outcome.sha256 == hashlib.sha256(path.read_bytes()).digest() == w.hashed[item].sha256
        assert outcome.stat == stat_of(path)
        assert (outcome.format, outcome.width, outcome.height, outcome.failures) == ("JPEG", 64, 48, [])
        assert [result.bit for result in outcome.results] == [0]
        assert json.loads(outcome.results[0].body)["width"] == 64
        assert set(outcome.ms) == {"read", "decode", "meta"}
    assert w.usages
    assert w.usages[-1].peak_bytes > 1 << 20
    assert w.usages[-1].cpu_s > 0


def test_a_held_item_waits_and_is_read_again_on_go(tmp_path: Path) -> None:
    """After ``hold`` nothing is heard of the item; a later ``go`` runs it without a second hash or a second Began."""
    paths = pictures.write_photos(tmp_path, 2)
    with worker() as w:
        w.give(0, paths[0])
        w.until(lambda: 0 in w.hashed, go=False)
        w.verdict(0, "hold")
        assert w.one(paths[1]).failures == []
        assert 0 not in w.outcomes
        w.verdict(0, "go")
        w.until(lambda: 0 in w.outcomes)
        assert w.began.count(0) == 1
        assert w.outcomes[0].failures == []


def test_a_held_item_whose_file_changes_fails_as_changed(tmp_path: Path) -> None:
    """The verdict was about other bytes: they are never stored under the old hash."""
    path = pictures.write_photos(tmp_path, 1)[0]
    with worker() as w:
        w.give(0, path)
        w.until(lambda: 0 in w.hashed, go=False)
        w.verdict(0, "hold")
        path.write_bytes(pictures.photo(99))
        w.verdict(0, "go")
        w.until(lambda: 0 in w.outcomes)
    [failure] = w.outcomes[0].failures
    assert (failure.kind, failure.content, w.outcomes[0].sha256) == ("changed", False, None)


def test_a_dropped_item_is_never_heard_of_again(tmp_path: Path) -> None:
    """``drop`` ends an item without an Outcome, after a hash and after a hold; Finish does not wait for it."""
    paths = pictures.write_photos(tmp_path, 3)
    with worker() as w:
        for item in (0, 1, 2):
            w.give(item, paths[item])
        w.until(lambda: len(w.hashed) == 3, go=False)
        w.verdict(0, "drop")
        w.verdict(1, "hold")
        w.verdict(2, "go")
        w.until(lambda: 2 in w.outcomes)
        w.verdict(1, "drop")
        w.child.send(Finish())
        assert w.to_the_end() == 0
        assert list(w.outcomes) == [2]


def test_verdicts_are_pipelined(tmp_path: Path) -> None:
    """All items of the window are hashed while not one verdict has been given."""
    paths = pictures.write_photos(tmp_path, 32)
    with worker() as w:
        for item, path in enumerate(paths):
            w.give(item, path)
        w.until(lambda: len(w.hashed) == 32, go=False)
        assert w.outcomes == {}


def test_only_the_steps_of_the_verdict_are_run(tmp_path: Path) -> None:
    """A verdict's mask may be less than what the item was given with."""
    path = pictures.write_photos(tmp_path, 1)[0]
    with worker() as w:
        w.give(0, path)
        w.until(lambda: 0 in w.hashed, go=False)
        w.verdict(0, "go", steps=0)
        w.until(lambda: 0 in w.outcomes)
        assert w.outcomes[0].results == []


def test_finish_ends_everything_given_first(tmp_path: Path) -> None:
    """After Finish all given items are worked on, then Usage is sent and the exit code is 0."""
    paths = pictures.write_photos(tmp_path, 20)
    with worker() as w:
        for item, path in enumerate(paths):
            w.give(item, path)
        w.child.send(Finish())
        assert w.to_the_end() == 0
        assert len(w.outcomes) == 20
        assert w.usages


def test_drain_leaves_the_rest(tmp_path: Path) -> None:
    """After Drain items that wait are left without an Outcome; Usage is sent and the exit code is 0."""
    paths = pictures.write_photos(tmp_path, 5)
    with worker() as w:
        for item, path in enumerate(paths):
            w.give(item, path)
        w.until(lambda: len(w.hashed) == 5, go=False)
        w.child.send(Drain())
        assert w.to_the_end() == 0
        assert w.outcomes == {}
        assert w.usages


def test_the_worker_ends_with_its_socket(tmp_path: Path) -> None:
    """A worker whose daemon died is gone within 2 seconds."""
    paths = pictures.write_photos(tmp_path, 5)
    with worker() as w:
        for item, path in enumerate(paths):
            w.give(item, path)
        w.until(lambda: bool(w.hashed), go=False)
        w.child.close_socket()
        began = time.monotonic()
        w.child.process.wait(5)
        assert time.monotonic() - began < 2


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    """Paths are bytes from end to end."""
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9 \xff\xfe.jpg")
    with open(path, "wb") as file:
        file.write(pictures.photo())
    with worker() as w:
        assert w.one(path).failures == []


def test_a_worker_with_meta_alone_imports_no_model_library(tmp_path: Path) -> None:
    """Hundreds of these are started by kill tests, and an item's decode must not wait for torch."""
    heavy = re.compile(r"/(torch|numpy|transformers|tokenizers|scipy)/")
    with worker() as w:
        w.process(pictures.write_all_formats(tmp_path).values())
        maps = Path(f"/proc/{w.child.process.pid}/maps")
        if maps.exists():
            assert not heavy.search(maps.read_text())


def test_usage_comes_every_25_outcomes(tmp_path: Path) -> None:
    """Memory and CPU are reported while it works, not only at its end."""
    with worker() as w:
        w.process(pictures.write_photos(tmp_path, 60))
        assert len(w.usages) == 2


def test_items_are_answered_one_by_one(tmp_path: Path) -> None:
    """An outcome does not wait for other items: here each is answered before the next is given."""
    paths = pictures.write_photos(tmp_path, 3)
    with worker() as w:
        for path in paths:
            w.one(path)
        assert list(w.outcomes) == [0, 1, 2]


def test_an_unknown_model_is_misconfigured(tmp_path: Path) -> None:
    """A probe for a model that does not exist names operation, object and remedy, and exits 1."""
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(Probe([StepRequest("meta", "none"), StepRequest("embed", "blip9000")], Machine(str(tmp_path))))
        fatal = child.expect(Fatal)
        assert child.wait() == 1
    assert fatal.kind == "misconfigured"
    assert (fatal.operation, fatal.object) == ("find", "the model 'blip9000'")
    assert "builtin" in fatal.remedy


def test_probing_meta_alone_is_quick_and_stable(tmp_path: Path) -> None:
    """The meta step resolves to the same fingerprint every time, without a model library."""
    found = []
    for _ in range(2):
        with running("ingestd.worker", FromWorker) as child:
            child.expect(Hello)
            child.send(Probe([StepRequest("meta", "none")], Machine(str(tmp_path))))
            found.append(child.expect(Probed))
            assert child.wait() == 0
    [step] = found[0].steps
    assert found[0].steps == found[1].steps
    assert (step.kind, len(step.fingerprint), "model" in step.spec) == ("meta", 64, True)


def test_a_wrong_message_ends_the_worker_loudly() -> None:
    """A message out of turn is a defect: a crash with its name in it, not silence."""
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(WorkerSetup([META_STEP], Machine("")))
        child.expect(Ready)
        child.send(WorkerSetup([META_STEP], Machine("")))
        assert "WorkerSetup" in child.expect(Fatal).message
        assert child.wait() == 1


def test_hashed_says_what_was_read(tmp_path: Path) -> None:
    """A file that changed since the walk is read as it is now, and its present state is reported."""
    path = pictures.write_photos(tmp_path, 1)[0]
    with worker() as w:
        w.give(0, path)
        w.until(lambda: 0 in w.outcomes)
        path.write_bytes(pictures.photo(7))
        w.give(1, path)
        w.until(lambda: 1 in w.outcomes)
    second: Hashed = w.hashed[1]
    assert second.sha256 == hashlib.sha256(pictures.photo(7)).digest()
    assert second.stat == stat_of(path)
