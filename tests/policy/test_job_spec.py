"""What a job is asked to be: steps one by one, the flat form of older releases, needs, and passes by cost."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds.steps import API, EMBED, SHIPPED, Setting, StepAsk, StepKind
from ingestd.policy.job_spec import JobSpec, asks, check_spec, decode_spec, flat, needs_of
from ingestd.policy.recipe import declared, passes_and_bits, passes_of, requests_of
from ingestd.protocol.work import Step
from tests.jobkit import job_spec

COLOURS = StepKind(
    "colours",
    "five colours",
    api=1,
    takes="switch",
    settings=(Setting("most", "int", "how many", "N", 1, 9),),
    module="their.mod",
)
EVENTS = StepKind("events", "what happened", 1, needs=("describe",), cost="moderate", media=("text",))
KINDS = {**SHIPPED, "colours": COLOURS, "events": EVENTS}


def test_what_older_releases_stored_means_the_same() -> None:
    """A request with models and settings by name, as rows, job files and the socket had it, is three steps."""
    stored = {
        "describe": "smolvlm", "embed": "none", "batch_size": 7, "embed_text": "builtin", "prompt": "What?",
        "max_tokens": None, "temperature": 0.0, "seed": 3, "exact": True, "limit": 5, "list_sha256": None,
    }  # fmt: skip
    spec = decode_spec(json.dumps(stored))
    assert spec == job_spec(
        describe="smolvlm", embed="none", embed_text="builtin", prompt="What?", temperature=0.0, seed=3, exact=True,
        batch_size=7, limit=5,
    )  # fmt: skip
    assert [(ask.name, ask.kind, ask.model) for ask in spec.steps] == [
        ("describe", "describe", "smolvlm"), ("embed_text", "embed_text", "builtin"),
    ]  # fmt: skip
    assert spec.steps[0].settings == {"prompt": "What?", "temperature": 0.0, "seed": 3, "exact": True}


def test_an_old_request_without_a_word_has_the_defaults_of_then() -> None:
    """A row of the first release may lack every newer field."""
    assert decode_spec("{}") == job_spec(describe="builtin", embed="builtin")


def test_what_is_stored_now_comes_back() -> None:
    """Written and read, a request is the same; so is its flat form."""
    spec = JobSpec(
        asks({"describe": "none"}, [StepAsk("fine", "embed", "clip", (), {"exact": True})]), include=("*.jpg",)
    )  # fmt: skip
    assert decode_spec(msgspec.json.encode(spec)) == spec
    given = {"describe": "smolvlm", "embed": "clip", "prompt": "Why?", "embed_text": "none"}
    assert given.items() <= flat(job_spec(**given)).items()


@pytest.mark.parametrize("text", ['{"steps": 3}', '{"steps": [{"name": 3}]}', "[]", '{"batch_size": "x"}'])
def test_what_is_no_request_is_refused(text: str) -> None:
    """A damaged row or file is an error of one type, whatever is wrong in it."""
    with pytest.raises(msgspec.ValidationError):
        decode_spec(text)


def test_two_steps_of_a_kind() -> None:
    """Each has a name of its own, and what reads a kind reads the first of it unless it names another."""
    more = [
        StepAsk("fine", "embed", "clip"), StepAsk("long", "describe", "smolvlm"),
        StepAsk("says", "embed_text", "builtin", ("long",)),
    ]  # fmt: skip
    spec = JobSpec(asks({"embed_text": "builtin"}, more))
    check_spec(spec)
    requests = {request.name: request for request in requests_of(spec)}
    assert list(requests) == ["meta", "embed", "describe", "embed_text", "fine", "long", "says"]
    assert requests["embed_text"].needs == ("describe",)
    assert requests["says"].needs == ("long",)
    assert spec.makes_vectors()


def test_a_step_asked_for_by_itself_replaces_the_default_or_leaves_it_out() -> None:
    """``steps`` has the last word over the flat form."""
    replaced = asks({}, [StepAsk("embed", "embed", "clip"), StepAsk("describe", "describe", "none")])
    assert [(ask.name, ask.model) for ask in replaced] == [("embed", "clip")]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([StepAsk("a", "nothing", "x")], "no kind of step 'nothing'"),
        ([StepAsk("a b", "embed", "clip")], "letters, digits and underscores"),
        ([StepAsk("meta", "embed", "clip")], "names of their own"),
        ([StepAsk("a", "embed", "clip"), StepAsk("a", "embed", "siglip2")], "names of their own"),
        ([StepAsk("a", "embed", "clip"), StepAsk("b", "embed", "clip")], "two of them are the same"),
        ([StepAsk("a", "embed_text", "builtin")], "without the step describe"),
        ([StepAsk("a", "embed_text", "builtin", ("b",))], "needs the step b"),
        ([StepAsk("a", "embed_text", "builtin", ("a",))], "needs the step a"),
        ([StepAsk("a", "embed", "clip", ("b",)), StepAsk("b", "embed", "siglip2", ("a",))], "each other's results"),
        ([StepAsk("a", "embed", "clip", (), {"prompt": "x"})], "--prompt is x"),
        ([StepAsk("a", "embed", "clip", (), {"exact": 1})], "yes or no"),
        ([StepAsk("a", "describe", "smolvlm", (), {"seed": 1.5})], "a number from 0"),
        ([StepAsk("a", "describe", "smolvlm", (), {"seed": True})], "a number from 0"),
        ([StepAsk("a", "describe", "smolvlm", (), {"prompt": " "})], "empty or too long"),
        ([StepAsk("a", "embed", "openai:http://me:HUNTER2@host/v1#m")], "key"),
        ([StepAsk("a", "colours", "big")], "takes no model"),
        ([StepAsk("a", "colours", "on", (), {"most": 10})], "a number from 1 to 9"),
        ([StepAsk(f"a{n}", "embed", f"m{n}") for n in range(61)], "there may be 60"),
    ],
)
def test_steps_that_cannot_be(steps: list[StepAsk], words: str) -> None:
    """Refused before anything is stored, with exit code 2; a key in a URL is not repeated."""
    with pytest.raises(Misconfigured) as caught:
        check_spec(JobSpec(tuple(steps)), KINDS)
    assert caught.value.exit == EXIT_USAGE
    assert words in caught.value.sentence()
    assert "HUNTER2" not in caught.value.sentence()


def test_declarations_of_another_version_are_refused() -> None:
    """A package that was written for other rules is named, with what would help."""
    other = msgspec.structs.replace(COLOURS, api=API + 1, package="colours-for-ingestd")
    with pytest.raises(Misconfigured, match="version 2 of ingestd's steps, this is 1") as caught:
        check_spec(JobSpec((StepAsk("colours", "colours", "on"),)), {"colours": other})
    assert "colours-for-ingestd" in caught.value.remedy
    whole = msgspec.structs.replace(COLOURS, scope="job")
    with pytest.raises(Misconfigured, match="whole jobs"):
        check_spec(JobSpec((StepAsk("colours", "colours", "on"),)), {"colours": whole})


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({}, [0, 0, 0]),
        ({"describe": "smolvlm"}, [0, 0, 1]),
        ({"describe": "smolvlm", "embed": "clip"}, [0, 0, 1]),
        ({"describe": "smolvlm", "embed": "none"}, [0, 0]),
        ({"describe": "builtin", "embed": "clip"}, [0, 0, 0]),
        ({"describe": "smolvlm", "embed_text": "builtin"}, [0, 0, 1, 1]),
        ({"describe": "smolvlm", "embed": "none", "embed_text": "builtin"}, [0, 0, 0]),
        ({"describe": "builtin", "embed_text": "minilm"}, [0, 0, 0, 0]),
        ({"describe": "none", "embed": "none"}, [0]),
        ({"describe": "none", "embed": "clip"}, [0, 0]),
        ({"passes": 2}, [0, 0, 1]),
        ({"passes": 1, "describe": "smolvlm"}, [0, 0, 0]),
        ({"passes": 2, "describe": "smolvlm", "embed": "none"}, [0, 1]),
        ({"passes": 2, "embed_text": "builtin"}, [0, 0, 1, 1]),
        ({"passes": 3, "describe": "smolvlm"}, [0, 0, 1]),
    ],
)
def test_jobs_have_the_passes_that_they_had(given: dict[str, Any], passes: list[int]) -> None:
    """A describing model other than ``builtin`` beside an embedder makes two passes; ``--passes`` overrides."""
    spec = job_spec(**given)
    steps = [Step(0, request.kind, request.name, {}) for request in requests_of(spec)]
    assert [step.pass_ for step in passes_and_bits(spec, steps)] == passes
    assert passes_of(spec) == given.get("passes", max(passes) + 1)


def test_more_cost_classes_make_more_passes() -> None:
    """Light, moderate and heavy steps run one after the other; what reads a heavy one comes with it."""
    kinds = {**KINDS, "events": msgspec.structs.replace(EVENTS, needs=())}
    more = [StepAsk("colours", "colours", "on"), StepAsk("events", "events", "x")]
    spec = JobSpec(asks({"describe": "smolvlm"}, more, kinds))

    def passes(kinds: dict[str, StepKind]) -> dict[str, int]:
        steps = [Step(0, request.kind, request.name, {}, name=request.name) for request in requests_of(spec, kinds)]
        return {step.name: step.pass_ for step in passes_and_bits(spec, steps, kinds)}

    assert passes(kinds) == {"meta": 0, "embed": 0, "colours": 0, "events": 1, "describe": 2}
    assert passes(KINDS) == {"meta": 0, "embed": 0, "colours": 0, "describe": 1, "events": 1}


def test_two_requests_that_mean_one_step_are_told() -> None:
    """A short name and a folder may be the same weights: two steps of one fingerprint would be one result."""
    spec = JobSpec((StepAsk("a", "embed", "clip"), StepAsk("b", "embed", "/models/clip")))
    steps = [Step(0, "meta", "m", {}), Step(0, "embed", "same", {}, name="a"), Step(0, "embed", "same", {}, name="b")]
    with pytest.raises(Misconfigured, match="the same"):
        passes_and_bits(spec, steps)


def test_steps_from_the_ledger_know_their_code_again() -> None:
    """Where a kind's code lies is not stored: it is as declared by what is installed now."""
    steps = [Step(0, "meta", "m", {}), Step(1, "colours", "c", {}), Step(2, "gone", "g", {})]
    assert [step.module for step in declared(steps, KINDS)] == ["", "their.mod", ""]
    assert needs_of(StepAsk("e", "events", "x"), asks({}), KINDS) == ("describe",)
    assert EMBED.flag == "--embed"
