"""Settings: which place wins, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd.config import DEFAULTS, MAX_WORKERS, Setting, load
from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds.sinks import SinkSpec
from ingestd.policy.job_spec import check_spec
from ingestd.policy.recipe import passes_and_bits, requests_of
from ingestd.policy.sink_spec import parse_sinks
from ingestd.protocol.work import Step
from tests.jobkit import job_spec


def test_the_environment_wins_over_the_file_over_the_default() -> None:
    """Each value is told with where it came from."""
    found = load(
        {"INGESTD_WORKERS": "3", "OTHER": "x"}, 'workers = 2\nbatch_size = 50\nsinks = ["jsonl"]', "config.toml"
    )
    assert found.values["workers"] == Setting("3", "INGESTD_WORKERS")
    assert found.values["batch_size"] == Setting("50", "config.toml")
    assert found.values["sinks"] == Setting("jsonl", "config.toml")
    assert found.values["cooldown"] == Setting(DEFAULTS["cooldown"], "default")
    assert set(found.values) == set(DEFAULTS)
    assert found["workers"] == "3"


def test_the_defaults_are_allowed() -> None:
    """Nothing set is nothing wrong."""
    assert load({}, None, "config.toml").values == {key: Setting(value, "default") for key, value in DEFAULTS.items()}
    check_spec(job_spec())


@pytest.mark.parametrize(
    ("environ", "text", "named"),
    [
        ({}, "workers = ", "config.toml"),
        ({}, "wrokers = 2", "wrokers"),
        ({}, "workers = 0", "config.toml"),
        ({"INGESTD_WORKERS": str(MAX_WORKERS + 1)}, None, "INGESTD_WORKERS"),
        ({"INGESTD_BATCH_SIZE": "ten"}, None, "INGESTD_BATCH_SIZE"),
        ({"INGESTD_BATCH_SIZE": "-1"}, None, "INGESTD_BATCH_SIZE"),
        ({"INGESTD_COOLDOWN": "-1"}, None, "INGESTD_COOLDOWN"),
        ({"INGESTD_COOLDOWN": "nan"}, None, "INGESTD_COOLDOWN"),
        ({"INGESTD_COOLDOWN": "soon"}, None, "INGESTD_COOLDOWN"),
        ({"INGESTD_LOG_LEVEL": "loud"}, None, "INGESTD_LOG_LEVEL"),
        ({"INGESTD_AWAKE": "always"}, None, "INGESTD_AWAKE"),
        ({}, "awake = false", "config.toml"),
        ({"INGESTD_SINKS": "qdrant,paper"}, None, "INGESTD_SINKS"),
        ({"INGESTD_DEVICE": "tpu"}, None, "INGESTD_DEVICE"),
        ({"INGESTD_CONCURRENCY": "0"}, None, "INGESTD_CONCURRENCY"),
        ({"INGESTD_QDRANT_KEY_FILE": "key"}, None, "INGESTD_QDRANT_KEY_FILE"),
        ({"INGESTD_ENDPOINT_OPEN_HTTP": "maybe"}, None, "INGESTD_ENDPOINT_OPEN_HTTP"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(environ: dict[str, str], text: str | None, named: str) -> None:
    """Exit code 2, and the sentence says where to change what."""
    with pytest.raises(Misconfigured) as caught:
        load(environ, text, "config.toml")
    assert caught.value.exit == EXIT_USAGE
    assert named in caught.value.sentence()


@pytest.mark.parametrize(
    ("texts", "specs"),
    [
        (["qdrant", "jsonl"], [SinkSpec("qdrant", "qdrant"), SinkSpec("jsonl", "jsonl")]),
        (["jsonl", "jsonl"], [SinkSpec("jsonl", "jsonl")]),
        (["jsonl:/a:b"], [SinkSpec("jsonl:/a:b", "jsonl", "/a:b")]),
        (["jsonl", "jsonl:/x"], [SinkSpec("jsonl", "jsonl"), SinkSpec("jsonl:/x", "jsonl", "/x")]),
        (
            ["qdrant:http://nas:6333?collection=a", "qdrant"],
            [
                SinkSpec("qdrant:http://nas:6333?collection=a", "qdrant-server", "http://nas:6333?collection=a"),
                SinkSpec("qdrant", "qdrant"),
            ],
        ),
    ],
)
def test_sinks(texts: list[str], specs: list[SinkSpec]) -> None:
    """A name is taken once; a place is the user's."""
    assert parse_sinks(texts) == specs


@pytest.mark.parametrize("text", ["paper", "jsonl:relative", "", ":/x", "qdrant:/folder", "qdrant:nas:6333"])
def test_a_sink_that_cannot_be(text: str) -> None:
    """Unknown kinds and places that depend on the folder one stands in are refused."""
    with pytest.raises(Misconfigured):
        parse_sinks([text])


@pytest.mark.parametrize(
    "text", ["https://me:HUNTER2@host:6333", "HUNTER2", "jsonl:https://me:HUNTER2@h", "qdrant:http://a:HUNTER2@h"]
)
def test_a_key_in_a_sink_is_not_repeated(text: str) -> None:
    """What somebody wrote there by mistake must not come into an error, which is logged."""
    with pytest.raises(Misconfigured) as caught:
        parse_sinks([text])
    assert "HUNTER2" not in caught.value.sentence()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("QDRANT_KEY_FILE", "HUNTER2"),
        ("ENDPOINT_KEY_FILE", "HUNTER2"),
        ("SINKS", "jsonl,qdrant:https://me:HUNTER2@host:6333"),
        ("SINKS", "https://me:HUNTER2@host:6333"),
        ("DESCRIBE", "openai:http://me:HUNTER2@host/v1#m"),
    ],
)
def test_a_key_in_a_setting_is_refused_and_not_repeated(key: str, value: str) -> None:
    """It would be printed by ``config`` and stand in the daemon's log: the daemon does not start with it."""
    with pytest.raises(Misconfigured) as caught:
        load({f"INGESTD_{key}": value}, None, "config.toml")
    assert "HUNTER2" not in caught.value.sentence()
    assert f"INGESTD_{key}" in caught.value.sentence()


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 0}, {"workers": 0}, {"workers": MAX_WORKERS + 1}, {"cooldown": "x"},
        {"limit": 0}, {"limit": -3}, {"device": "gpu"}, {"concurrency": 0}, {"max_tokens": 0},
        {"temperature": -1}, {"temperature": float("nan")}, {"seed": -1}, {"passes": 4},
        {"prompt": " "}, {"prompt": "x" * 10_000}, {"describe": "none", "prompt": "What is this?"},
        {"describe": "none", "embed_text": "builtin"},
    ],
)  # fmt: skip
def test_a_job_that_cannot_be(given: dict[str, Any]) -> None:
    """The same ranges hold for a job's own settings."""
    with pytest.raises(Misconfigured) as caught:
        check_spec(job_spec(**given))
    assert caught.value.exit == EXIT_USAGE


@pytest.mark.parametrize(("text", "seconds"), [("auto", 0.0), ("0", 0.0), ("2.5", 2.5)])
def test_cooldown(text: str, seconds: float) -> None:
    """``auto`` waits for nothing by itself."""
    assert job_spec(cooldown=text).cooldown_s == seconds


def test_what_a_recipe_asks_for() -> None:
    """Settings go to the steps that they are for; descriptions and what reads them come in the second pass."""
    spec = job_spec(describe="smolvlm", embed="clip", embed_text="builtin", prompt="What?", seed=0, exact=True)
    requests = requests_of(spec)
    assert [(request.kind, request.model, request.settings) for request in requests] == [
        ("meta", "meta", {}),
        ("embed", "clip", {"exact": True}),
        ("describe", "smolvlm", {"exact": True, "prompt": "What?", "seed": 0}),
        ("embed_text", "builtin", {"exact": True}),
    ]
    steps = [Step(0, request.kind, request.kind, {}) for request in requests]
    assert [(step.bit, step.pass_) for step in passes_and_bits(spec, steps)] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    for other, passes in (
        (job_spec(describe="builtin"), {0}),
        (job_spec(describe="smolvlm", embed="none"), {0}),
        (job_spec(describe="smolvlm", passes=1), {0}),
        (job_spec(describe="builtin", passes=2), {0, 1}),
    ):
        steps = [Step(0, request.kind, request.kind, {}) for request in requests_of(other)]
        assert {step.pass_ for step in passes_and_bits(other, steps)} == passes
