"""The protocol fuzz: whatever a line holds, its reply is framed, and the daemon is what it was.

20,000 frames in ``make test``, a million in ``make chaos``. ``INGESTD_SEED`` repeats a run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestd.protocol import control as c
from tests.daemonkit import Daemon
from tests.fuzz.conftest import LONG, SEED, Bounds
from tests.fuzz.drive import run
from tests.fuzz.frames import INVALID, OURS, OWN_CONNECTION, PARAMS, PARSE, UNKNOWN
from tests.fuzz.probe import watched

FRAMES = 1_000_000 if LONG else 20_000
MEMORY = 64 * 1024 * 1024
"""Bytes that the daemon may grow by."""

STATUS_MS = 250


@pytest.mark.timeout(0 if LONG else 300)
def test_every_frame_is_answered_as_it_must_be(fuzzed: Daemon, photos: Path, bounds: Bounds) -> None:
    """Good frames, bad ones of every kind and random bytes: no defect, one framed error for each bad one, in order."""
    print(f"\nseed {SEED}", end=" ")
    paths = [str(photos), str(photos / "bad.jpg"), str(photos / "absent"), "/nonexistent", "/" + "x" * 5000, "", "a/b"]
    names = ["kept", photos.name, "nobody", "", "a\n", "\u202e", "kep"]
    with watched(fuzzed) as latency:
        outcome = run(fuzzed.socket, SEED, FRAMES, paths, names)
    print(f"{outcome.frames} frames: {outcome.results} results, {dict(outcome.errors)}; {latency[0]}", end=" ")
    print(f"memory {bounds.memory >> 20} -> {bounds.peak() >> 20} MiB", end=" ")
    assert not outcome.wrong, f"seed {SEED}: {len(outcome.wrong)} wrong\n" + "\n".join(outcome.wrong[:20])
    assert outcome.frames == FRAMES
    assert set(outcome.errors) == {PARSE, INVALID, UNKNOWN, PARAMS, OURS}, "the fuzzer misses a kind of error"
    assert outcome.results > FRAMES // 100
    assert latency[0].lost == 0
    assert latency[0].own <= STATUS_MS, latency[0]
    assert bounds.peak() - bounds.memory < MEMORY
    assert fuzzed.job("kept")["counts"]["found"], "the job is what it was"
    bounds.restored()


def test_verbs_that_last_are_left_out_by_name_alone() -> None:
    """What the fuzzer does not ask among others exists: a renamed verb would silently be left out."""
    assert set(c.VERBS) >= OWN_CONNECTION
