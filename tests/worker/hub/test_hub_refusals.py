"""What stops a fetch, in words: disk, network, hub, and models that cannot be used."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from ingestd.errors import Misconfigured, Unavailable
from ingestd.protocol.models import Pulled, PullModel
from ingestd.protocol.work import Fatal, Hello
from ingestd.worker.models.hub import border
from ingestd.worker.models.hub.fetch import Hub
from ingestd.worker.models.hub.names import Wanted
from tests import hubkit
from tests.worker.hub.ourside import ID, QUICK, WEIGHTS, Told, ask, fetch, last, partials


def test_too_small_a_disk_is_said_with_both_numbers_before_a_byte_moves(served: hubkit.Hub, ours: Hub) -> None:
    """What is needed and what is free are told, and no file is asked for."""
    served.publish(ID, hubkit.clip(30_000_000))
    small = replace(ours, free=lambda folder: 210_000_000)
    with pytest.raises(Misconfigured, match=r"30 MB are still to come, 210 MB are free"):
        fetch(small)
    assert [request.path for request in served.requests] == [f"/api/models/{ID}/revision/main"]
    assert fetch(replace(ours, free=lambda folder: 240_000_000)).hub_id == ID


def test_a_full_disk_in_the_middle_is_waited_for(
    served: hubkit.Hub, ours: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space left is ``Unavailable``: it may be freed, and what has come stays."""
    served.publish(ID, hubkit.clip(1000))
    plan = ours.plan(Wanted(ID, ID), Told())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        ours.fetch(plan, Told())
    assert partials(ours)
    monkeypatch.undo()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert fetch(ours).folder == plan.folder


@pytest.mark.parametrize(
    ("model", "status", "says", "remedy"),
    [
        ("google/siglip2-base-patch16-225", 404, "has no model google/siglip2-base-patch16-225", f"Did you mean {ID}"),
        (ID, 401, "or it is a private one", "HF_TOKEN"),  # what the hub answers to strangers about what it has not
        (f"{ID}@nowhere", 404, f"{ID} has no revision 'nowhere'", "leave it out"),
        (ID, 451, "answered with status 451", "builtin"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_with_the_ways_on(
    served: hubkit.Hub, ours: Hub, model: str, status: int, says: str, remedy: str
) -> None:
    """No such model, no such revision, private, forbidden: nothing is tried again, and it is said what to do."""
    served.publish(ID, hubkit.clip(1000))
    if status != 404:
        served.faults = hubkit.Faults(statuses=[(status, "RepoNotFound" if status == 401 else "")])
    with pytest.raises(Misconfigured, match=says) as raised:
        fetch(ours, model)
    assert remedy in raised.value.remedy
    assert len(served.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_where_the_key_is(served: hubkit.Hub, ours: Hub, status: int) -> None:
    """Its files are listed and not given: the first refusal ends it, with the two ways to log in."""
    served.publish(ID, hubkit.clip(1000))
    served.gated[ID] = status
    with pytest.raises(Misconfigured, match="only to those who accepted its terms") as raised:
        fetch(ours)
    assert "HF_TOKEN" in raised.value.remedy
    assert "hf auth login" in raised.value.remedy
    assert len(served.requests) == 2


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(served: hubkit.Hub, ours: Hub) -> None:
    """429 and 5xx pass: the same request is made again and the model comes."""
    served.publish(ID, hubkit.clip(1000))
    served.faults = hubkit.Faults(statuses=[(429, ""), (500, "")], retry_after="0")
    assert fetch(ours).hub_id == ID


@pytest.mark.parametrize(("retry_after", "asked"), [(None, QUICK.tries), ("3600", 1)])
def test_a_hub_that_stays_busy_is_left_alone(
    served: hubkit.Hub, ours: Hub, retry_after: str | None, asked: int
) -> None:
    """Patience ends, and a wish to be left alone for an hour is not answered by an hour's sleep."""
    served.publish(ID, hubkit.clip(1000))
    served.faults = hubkit.Faults(statuses=[(503, "")] * 10, retry_after=retry_after)
    with pytest.raises(Unavailable, match="is out of order"):
        fetch(ours)
    assert len(served.requests) == asked


def test_nobody_at_the_address(ours: Hub, tmp_path: Path) -> None:
    """A hub that cannot be reached: the job may wait, and the ways on are said."""
    gone = replace(ours, endpoint="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 refuses connections") as raised:
        fetch(gone)
    for way in ("folder", "endpoint", "builtin"):
        assert way in raised.value.remedy


def test_an_endpoint_that_is_no_address(ours: Hub) -> None:
    """A wrong HF_ENDPOINT is a mistake, said as such, and a password in it is not repeated."""
    with pytest.raises(Misconfigured, match="HF_ENDPOINT is no address"):
        fetch(replace(ours, endpoint="ftp://me:hunter2@mirror"))
    with pytest.raises(Unavailable) as raised:
        fetch(replace(ours, endpoint="http://me:hunter2@127.0.0.1:9"))
    assert "hunter2" not in raised.value.sentence()


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        ("ConnectError", "[Errno -2] Name or service not known", "cannot be resolved: there may be no network"),
        ("ConnectError", "[Errno 101] Network is unreachable", "there may be no network"),
        ("ConnectError", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "is not trusted here"),
        ("ConnectError", "something else", "no connection to hub.example comes about"),
        ("ReadTimeout", "timed out", "did not answer in time"),
        ("ProxyError", "407", "the proxy on the way to hub.example refused"),
        ("ReadError", "", "hub.example cut the connection"),
    ],
)
def test_why_a_hub_cannot_be_reached_is_said(kind: str, said: str, words: str) -> None:
    """Each way in which a network fails has its own words, and may pass."""
    _, http = border.client()
    with (
        pytest.raises(border.Trouble, match=words),
        border.translated(Wanted(ID, ID), "https://me:hunter2@hub.example/x"),
    ):
        raise getattr(http, kind)(said)


def test_offline_means_offline(served: hubkit.Hub, tmp_path: Path) -> None:
    """With HF_HUB_OFFLINE nothing is asked; what is missing is said with the ways on."""
    served.publish(ID, hubkit.clip(1000))
    with ask(served, tmp_path, HF_HUB_OFFLINE="1") as child:
        child.expect(Hello)
        child.send(PullModel("siglip2"))
        said = last(child)
    assert isinstance(said, Fatal)
    assert said.kind == "misconfigured"
    assert "HF_HUB_OFFLINE forbids" in said.message
    assert "builtin" in said.remedy
    assert not served.requests


@pytest.mark.parametrize("kind", ["gated", "cut"])
def test_the_token_opens_the_door_and_is_never_shown(
    served: hubkit.Hub, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """HF_TOKEN is sent to the hub alone: no message, no output and no file of ours holds it."""
    secret = "hf_" + "s3cr3t" * 5
    served.publish(ID, hubkit.clip(1000))
    served.gated[ID] = 401
    if kind == "cut":
        served.faults = hubkit.Faults(statuses=[(404, "RepoNotFound")])
    with ask(served, tmp_path, HF_TOKEN=secret) as child:
        child.expect(Hello)
        child.send(PullModel("siglip2"))
        said = [*child.until(lambda said: isinstance(said, Pulled | Fatal))]
    assert isinstance(said[-1], Pulled if kind == "gated" else Fatal), said
    assert all(request.headers["authorization"] == f"Bearer {secret}" for request in served.requests)
    assert secret not in repr(said) + "".join(capfd.readouterr())
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(secret.encode() in text for text in texts)


def test_nobody_is_told_what_runs_here(served: hubkit.Hub, tmp_path: Path) -> None:
    """No request but those for the model, and no word in them about the libraries or the user's tools."""
    served.publish(ID, hubkit.clip(1000))
    with ask(served, tmp_path, AI_AGENT="me") as child:
        child.expect(Hello)
        child.send(PullModel("siglip2"))
        assert isinstance(last(child), Pulled)
    assert all(ID in request.path for request in served.requests)
    assert not any("agent/" in request.headers["user-agent"] for request in served.requests)
    assert not any("torch" in request.headers["user-agent"] for request in served.requests)


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ([WEIGHTS, "model.fp16.safetensors"], "only pickled weights"),
        ([WEIGHTS, "pytorch_model.bin"], "no weights in the safetensors format"),
        (["config.json"], "not made for transformers"),
        (["tokenizer.json"], "it has no tokenizer"),
        (["preprocessor_config.json"], "it has no preprocessor_config.json"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_words(
    served: hubkit.Hub, ours: Hub, gone: list[str], says: str
) -> None:
    """Pickled weights are never fetched; a repository that lacks a part is no model."""
    served.publish(ID, {name: data for name, data in hubkit.clip(1000).items() if name not in gone})
    with pytest.raises(Misconfigured, match=says):
        fetch(ours)
    assert not served.asked(".bin")
