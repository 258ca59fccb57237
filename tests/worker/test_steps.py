"""Steps by their declarations: other people's code, texts beside pictures, and steps that read what others made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ingestd.protocol.work import Fatal, FromWorker, Hello, Machine, Outcome, Probe, Probed, Step, StepRequest
from tests import pictures
from tests.childkit import running
from tests.worker.workerkit import worker

MODULE = "tests.worker.foreign_steps"
TEXTS = ("text",)


def steps_of(*wanted: tuple[str, tuple[str, ...], tuple[str, ...]]) -> list[Step]:
    """``meta`` and steps by (kind, needs, media), resolved by a probe as the daemon's are, bits in order."""
    requests = [StepRequest("meta", "meta")]
    requests += [StepRequest(kind, "on", {}, kind, needs, MODULE, media) for kind, needs, media in wanted]
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(Probe(requests, Machine("")))
        found = child.expect(Probed)
    assert found.provenance[wanted[0][0]] == {"counting": 1}
    return [
        Step(bit, s.kind, s.fingerprint, s.spec, 0, s.name, s.needs, s.module, s.media)
        for bit, s in enumerate(found.steps)
    ]


def bodies(outcome: Outcome, steps: list[Step]) -> dict[str, Any]:
    """What each step made, by its name."""
    return {steps[result.bit].name: json.loads(result.body) for result in outcome.results}


def test_a_text_has_facts_and_steps_of_its_own(tmp_path: Path) -> None:
    """UTF-8 with umlauts and a byte order mark: counted in characters, whatever the language."""
    note = tmp_path / "note.txt"
    note.write_bytes("\ufeffÄpfel für alle.\nÄäÄ!\n".encode())
    steps = steps_of(("letters", (), TEXTS))
    with worker(steps) as w:
        outcome = w.one(note)
    assert outcome.failures == []
    assert (outcome.format, outcome.width, outcome.height) == ("TEXT", None, None)
    assert bodies(outcome, steps) == {
        "meta": {"format": "TEXT", "characters": 21, "words": 4, "lines": 2},
        "letters": {"ä": 4, "l": 3, "f": 2},
    }


def test_texts_that_are_none_fail_by_name(tmp_path: Path) -> None:
    """Latin-1, a binary file and blanks: each is told, and the next text is read."""
    files = {"latin.txt": "für".encode("latin-1"), "binary.txt": b"ab\0c", "blank.md": b" \n", "good.md": b"aab"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    steps = steps_of(("letters", (), TEXTS))
    with worker(steps) as w:
        found = {name: w.one(tmp_path / name) for name in files}
    kinds = {name: [failure.kind for failure in outcome.failures] for name, outcome in found.items()}
    assert kinds == {"latin.txt": ["unsupported"], "binary.txt": ["unsupported"], "blank.md": ["empty"], "good.md": []}
    assert "byte 1 " in found["latin.txt"].failures[0].message


def test_pictures_and_texts_in_one_job(tmp_path: Path) -> None:
    """Each item gets the steps that take its medium; the others say that they do not, and cost it nothing else."""
    (tmp_path / "a.txt").write_text("abba")
    [photo] = pictures.write_photos(tmp_path, 1)
    steps = steps_of(("letters", (), TEXTS), ("shade", (), ("picture",)))
    with worker(steps) as w:
        text, picture = w.one(tmp_path / "a.txt"), w.one(photo)
    assert set(bodies(text, steps)) == {"meta", "letters"}
    assert set(bodies(picture, steps)) == {"meta", "shade"}
    [failure] = text.failures
    assert (failure.steps, failure.kind, failure.message) == (0b100, "unsupported", "this step takes no text")
    assert [failure.steps for failure in picture.failures] == [0b010]


def test_steps_read_what_others_made(tmp_path: Path) -> None:
    """A chain in one run: each is prepared when what it needs is there, with the text again where it looks at that."""
    (tmp_path / "a.txt").write_text("abba")
    steps = steps_of(("review", ("report", "letters"), TEXTS), ("report", ("letters",), TEXTS), ("letters", (), TEXTS))
    with worker(steps) as w:
        outcome = w.one(tmp_path / "a.txt")
    assert outcome.failures == []
    letters = {"a": 2, "b": 2}
    found = bodies(outcome, steps)
    assert found["report"] == {"letters": letters}
    assert found["review"] == {"length": 4, "letters": letters, "report": {"letters": letters}}


def test_what_the_ledger_has_is_not_made_again(tmp_path: Path) -> None:
    """A later pass gets the bodies of an earlier one with its verdict."""
    (tmp_path / "a.txt").write_text("abba")
    steps = steps_of(("review", ("letters",), TEXTS), ("letters", (), TEXTS))
    known = {"letters": json.dumps({"z": 9})}
    with worker(steps) as w:
        outcome = w.one(tmp_path / "a.txt", steps=0b010, bodies=known)
    assert bodies(outcome, steps) == {"review": {"length": 4, "letters": {"z": 9}}}


def test_a_step_that_fails_takes_nobody_along(tmp_path: Path) -> None:
    """What reads it gets nothing from it, and the others are done."""
    (tmp_path / "a.txt").write_text("abba")
    steps = steps_of(("report", ("trouble", "letters"), TEXTS), ("trouble", (), TEXTS), ("letters", (), TEXTS))
    with worker(steps) as w:
        outcome = w.one(tmp_path / "a.txt")
    assert bodies(outcome, steps)["report"] == {"letters": {"a": 2, "b": 2}}
    [failure] = outcome.failures
    assert (failure.steps, failure.kind, failure.message) == (0b100, "model", "ValueError: no luck")


def test_code_that_cannot_be_loaded_is_told_by_name() -> None:
    """A package that is gone or broken stops the job with what to do; it is no crash."""
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(Probe([StepRequest("colours", "on", {}, "colours", (), "no.such.module")], Machine("")))
        fatal = child.expect(Fatal)
    assert (fatal.kind, fatal.object) == ("misconfigured", "the step 'colours'")
    assert "no.such.module" in fatal.message
