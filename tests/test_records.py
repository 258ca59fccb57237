"""Rows as plain data: masks, passes and sums."""

from __future__ import annotations

import pytest

from ingestd.policy.pace import MARGIN, Pace
from ingestd.policy.recipe import passes_and_bits, requests_of, vector_fingerprint
from ingestd.protocol.work import Step
from ingestd.records import Recipe, Tally
from tests.jobkit import job_spec


def test_a_recipe_knows_the_lowest_pass_of_a_mask() -> None:
    """Bits of the first pass win; nothing to do is pass 0."""
    recipe = Recipe.of(
        [(Step(0, "meta", "a", {}), 7), (Step(1, "embed", "b", {}), 8), (Step(2, "describe", "c", {}, 1), 9)]
    )
    assert recipe.mask == 0b111
    assert [recipe.pass_of(todo) for todo in (0b111, 0b110, 0b100, 0)] == [0, 0, 1, 0]


def test_a_tally_adds_up() -> None:
    """Found are all but the gone; open are those on which something is left to do."""
    tally = Tally(1, 2, 3, 4, 5, 6, 7, 8, 9, None, None, None)
    assert (tally.found, tally.open) == (15, 6)


@pytest.mark.parametrize(
    ("describe", "embed", "kinds", "passes"),
    [
        ("builtin", "builtin", ["meta", "embed", "describe"], [0, 0, 0]),
        ("smolvlm", "siglip2", ["meta", "embed", "describe"], [0, 0, 1]),  # search works before captions come
        ("smolvlm", "none", ["meta", "describe"], [0, 0]),
        ("none", "clip", ["meta", "embed"], [0, 0]),
        ("none", "none", ["meta"], [0]),
    ],
)
def test_steps_of_a_request(describe: str, embed: str, kinds: list[str], passes: list[int]) -> None:
    """Every recipe has ``meta``; bits follow the order; a slow describing model gets a pass of its own."""
    spec = job_spec(describe=describe, embed=embed)
    requests = requests_of(spec)
    assert [request.kind for request in requests] == kinds
    steps = passes_and_bits(
        spec, [Step(0, request.kind, f"{request.kind} {request.model}", {}) for request in requests]
    )
    assert [step.bit for step in steps] == list(range(len(kinds)))
    assert [step.pass_ for step in steps] == passes


def test_a_stores_name_depends_on_its_vectors_alone() -> None:
    """Another describing model needs no new store, another embedder does."""
    embed, other = Step(1, "embed", "e-1", {"dim": 3}), Step(1, "embed", "e-2", {"dim": 3})
    says = Step(2, "describe", "d-1", {})
    assert vector_fingerprint([embed]) == vector_fingerprint([embed, says]) != vector_fingerprint([other])


def test_a_pace_counts_no_pause() -> None:
    """Ten items a second, an hour's pause between: the rate is still ten, the range holds the truth."""
    pace, now = Pace(), 0.0
    assert pace.eta(10) is None
    for number in range(40):
        pace.committed(10, now)
        now += 1.0
        if number == 20:
            pace.interrupted()
            now += 3600.0
    assert pace.rate() == pytest.approx(10.0)
    low, high = pace.eta(1000) or (0.0, 0.0)
    assert low <= 100.0 <= high
    assert low == pytest.approx(100.0 * (1 - MARGIN))
    assert high == pytest.approx(100.0 * (1 + MARGIN)), "of a pause nothing counts"
    assert pace.eta(0) is None
    assert pace.eta(1000, 500.0) == pytest.approx((low + 500 * (1 - MARGIN), high + 500 * (1 + MARGIN)))


def test_a_pace_is_of_one_pass() -> None:
    """A hundred embeddings a second say nothing of the descriptions that follow: nothing is foretold before two."""
    pace = Pace()
    pace.loaded(0)
    for now in range(10):
        pace.committed(100, float(now))
    pace.loaded(1)
    assert (pace.rate(), pace.eta(10)) == (None, None)
    pace.committed(1, 20.0)
    pace.committed(1, 24.0)
    assert pace.rate() == pytest.approx(0.25)


def test_a_pace_counts_the_loads_between_batches() -> None:
    """Ten a second, ten seconds of load before each hundred: a person sees five a second; the range holds both."""
    pace, now = Pace(), 0.0
    for _ in range(10):
        pace.loaded(0)
        now += 10.0
        for _ in range(10):
            now += 1.0
            pace.committed(10, now)
    assert pace.rate() == pytest.approx(5.0, rel=0.1)
    low, high = pace.eta(1000) or (0.0, 0.0)
    assert low <= 100.0 < 200.0 <= high
