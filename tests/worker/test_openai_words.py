"""Endpoints, the pure part: names, what a reply means and when a request is sent again, as tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.policy.job_spec import check_spec
from ingestd.protocol.addresses.endpoint_url import parse
from ingestd.worker.models.openai_.meaning import (
    MAX_TEXT,
    SECOND_TEMPERATURE,
    Refused,
    Said,
    Wish,
    Wrong,
    read_completion,
    read_models,
    request_body,
)
from ingestd.worker.models.openai_.patience import TRIES, Later, Patience, wait_before_next
from tests.jobkit import job_spec

NOW = datetime(2026, 11, 22, 6, 0, 0, tzinfo=UTC)
KEY = "sk-Very/Secret+Key=42"

# -------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "base", "model"),
    [
        ("openai:http://127.0.0.1:8000/v1#tiny", "http://127.0.0.1:8000/v1", "tiny"),
        # Without a path /v1 is meant: there all three servers have it. Any other path is somebody's gateway.
        ("openai:http://nas:11434#llava:7b", "http://nas:11434/v1", "llava:7b"),
        ("openai:http://nas:11434/", "http://nas:11434/v1", ""),
        ("openai:https://Example.com/api/openai/#org/model", "https://Example.com/api/openai", "org/model"),
        ("openai:http://[::1]:8080/v1/#a b", "http://[::1]:8080/v1", "a b"),
        ("openai: http://h/v1 # m ", "http://h/v1", "m"),
        ("openai:http://h/v1#/models/a#b.gguf", "http://h/v1", "/models/a#b.gguf"),
    ],
)
def test_names(name: str, base: str, model: str) -> None:
    """A name is a URL and a model; the spelling of a path's end decides nothing."""
    found = parse(name)
    assert (found.base.lower(), found.model) == (base.lower(), model)


@pytest.mark.parametrize(
    "name",
    [
        "openai:",
        "openai:#m",
        "openai:nas:11434/v1#m",
        "openai:ftp://h/v1#m",
        "openai:http://#m",
        "openai:http://h:port/v1#m",
        "openai:http://h:99999/v1#m",
        "openai:http://[::1/v1#m",
        "openai:http://h/v 1#m",
        "openai:http://h/\x1b[2J#m",
        "openai:http://h/v1#m\n",
        "openai:http://hüttе/v1#m",
        f"openai:http://user:{KEY}@h/v1#m",
        f"openai:http://{KEY}@h/v1#m",
        f"openai:user:{KEY}@h/v1#m",
        f"openai:http://h/v1?key={KEY}#m",
    ],
)
def test_refused_names(name: str) -> None:
    """What is no endpoint is refused at ``start``, in words; a secret in it is not repeated."""
    if name.endswith("\n"):  # an end of line is a slip of the shell, not of the name
        assert parse(name).model == "m"
        return
    for refuse in (lambda: parse(name), lambda: check_spec(job_spec(describe=name))):
        with pytest.raises(Misconfigured) as caught:
            refuse()
        assert caught.value.exit == EXIT_USAGE
        sentence = caught.value.sentence()
        assert KEY not in sentence
        assert sentence.isprintable()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("a.localhost", True),
        ("192.168.1.5", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("nas", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Loopback is what cannot leave this machine, by address or by the reserved name, not by how a name begins."""
    assert parse(f"openai:http://{host}:1/v1#m").loopback is loopback


# ------------------------------------------------------------------------------------------------- what a reply means

WISH = Wish("tiny", "What is it?", 99, 0.0, None)


def completion(content: Any, finish: str = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content, **more}, "finish_reason": finish}]}).encode()


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (completion(" A cat. \n"), Said("A cat.", True)),
        (completion("A cat and", "length"), Said("A cat and", False)),
        (completion(None, reasoning_content="hm"), Said("", True)),
        (completion(""), Said("", True)),
        (
            completion([{"type": "text", "text": "A "}, {"type": "x"}, {"type": "text", "text": "cat."}]),
            Said("A cat.", True),
        ),
        (completion("<think>Is it a dog?\n</think>\nA cat."), Said("A cat.", True)),
        (completion("<think>Is it a", "length"), Said("", False)),
        (completion('A sign: "<think>".'), Said('A sign: "<think>".', True)),
        (completion("A\0cat"), Said("A\0cat", True)),
        # A server that knows no limit: what is kept is cut, and says so.
        (completion("word " * MAX_TEXT), Said(("word " * MAX_TEXT)[:MAX_TEXT], False)),
    ],
)
def test_completions(body: bytes, reply: Said) -> None:
    """The text without its margins and without the model's thoughts, and whether the model ended it."""
    assert read_completion(200, {}, body, NOW) == reply


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"choices": [{"message": {"content": "A c',
        b"[1, 2]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [null]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": {"text": "A cat."}}}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"error": "overloaded"}',
        b'{"error": {"message": "overloaded"}}',
        b"[" * 100_000,
    ],
)
def test_garbled_completions(body: bytes) -> None:
    """A 200 that is no completion is asked for again: whatever it is, it never raises."""
    reply = read_completion(200, {}, body, NOW)
    assert isinstance(reply, Later)
    assert reply.kind == "garbled"


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (400, Refused),
        (413, Refused),
        (415, Refused),
        (422, Refused),
        (418, Refused),
        (401, Wrong),
        (402, Wrong),
        (403, Wrong),
        (404, Wrong),
        (405, Wrong),
        (307, Wrong),
        (408, "failing"),
        (429, "busy"),
        (503, "busy"),
        (500, "failing"),
        (502, "failing"),
        (504, "failing"),
        (204, "garbled"),
    ],
)
def test_statuses(status: int, means: Any) -> None:
    """Whether a status is about the picture, about the settings, or about the moment; also as an error within a 200."""
    body = json.dumps({"error": {"message": "because", "code": status}}).encode()
    found = [read_completion(status, {}, body, NOW)]
    if status >= 400:
        found.append(read_completion(200, {}, body, NOW))
    for reply in found:
        if isinstance(means, str):
            assert isinstance(reply, Later)
            assert reply.kind == means
        else:
            assert isinstance(reply, means)
        assert str(status) in getattr(reply, "words", "")
        assert status < 400 or "because" in getattr(reply, "words", "")


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("Sun, 22 Nov 2026 06:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 05:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 06:00:30 -0000", 30.0),
        ("soon", None),
        ("-3", None),
        ("", None),
        ("9" * 400, None),
    ],
)
def test_retry_after(value: str, wait_s: float | None) -> None:
    """Seconds or a date; what is neither says nothing."""
    assert read_completion(429, {"retry-after": value}, b"", NOW) == Later("busy", "it answered 429", wait_s)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no eyes"}}', "no eyes"),
        (b'{"error": "no eyes"}', "no eyes"),
        (b'{"detail": "no eyes"}', "no eyes"),
        (b'{"message": "no eyes"}', "no eyes"),
        (b'{"detail": [{"msg": "no eyes"}]}', '[{"msg":"no eyes"}]'),
        (b"no eyes", "no eyes"),
        (b"<!DOCTYPE html><html>no eyes", "an HTML page"),
    ],
)
def test_the_words_of_an_error(body: bytes, words: str) -> None:
    """The server's own words are passed on, from where the servers put them."""
    assert read_completion(400, {}, body, NOW) == Refused(f"it answered 400: {words}")


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, b'{"data": [{"id": "a"}, {"id": "b:latest"}, {"no": "id"}]}', ["a", "b:latest"]),
        (200, b'{"object": "list", "data": null}', []),
        (200, b"<html>", Wrong),
        (200, b'{"data": 5}', Wrong),
        (200, b'{"models": []}', Wrong),
        (400, b"", Wrong),
        (401, b"", Wrong),
        (404, b"", Wrong),
        (500, b"", Later),
        (503, b"loading", Later),
    ],
)
def test_lists_of_models(status: int, body: bytes, found: Any) -> None:
    """The names served; a URL at which something else lives is a person's to mend, a server that is loading is not."""
    reply = read_models(status, {}, body, NOW)
    assert reply == found if isinstance(found, list) else isinstance(reply, found)


def test_requests() -> None:
    """Settings go as they are; the second request differs in the sampling and in nothing else."""
    first = json.loads(request_body(WISH, "cGl4ZWxz"))
    assert (first["model"], first["max_tokens"], first["temperature"], first["stream"]) == ("tiny", 99, 0.0, False)
    assert "seed" not in first
    text, image = first["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert image == {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,cGl4ZWxz"}}
    assert json.loads(request_body(WISH, "cGl4ZWxz", again=True)) == first | {"temperature": SECOND_TEMPERATURE}
    seeded = Wish("tiny", "What is it?", 99, 1.5, 7)
    one, two = (json.loads(request_body(seeded, None, again=again)) for again in (False, True))
    assert (one["seed"], two["seed"], two["temperature"], len(one["messages"][0]["content"])) == (7, 8, 1.5, 1)


# ----------------------------------------------------------------------------------------------------------- patience

PATIENCE = Patience(first_s=1.0, slowest_s=8.0, busy_s=100.0)


@pytest.mark.parametrize(
    ("later", "tries", "quiet_s", "chance", "wait"),
    [
        # The wait doubles up to its limit, spread over its upper half.
        (Later("failing", ""), 1, 0.0, 1.0, 1.0),
        (Later("failing", ""), 1, 0.0, 0.0, 0.5),
        (Later("failing", ""), 4, 0.0, 1.0, 8.0),
        # Tries are counted: so many, then it is over, however quick they were.
        (Later("failing", ""), TRIES["failing"], 0.0, 1.0, None),
        (Later("garbled", ""), TRIES["garbled"], 0.0, 1.0, None),
        (Later("silent", ""), TRIES["silent"] - 1, 1e6, 1.0, 1.0),
        (Later("absent", ""), TRIES["absent"], 0.0, 1.0, None),
        # A busy server is waited for while it answers anybody, and for a while after.
        (Later("busy", ""), 50, 10.0, 1.0, 8.0),
        (Later("busy", ""), 50, 95.0, 1.0, None),
        # What it asks for is what it gets, and a little more; not more than there is patience.
        (Later("busy", "", 30.0), 1, 0.0, 0.0, 30.0),
        (Later("busy", "", 30.0), 1, 0.0, 1.0, 33.0),
        (Later("busy", "", 0.0), 1, 0.0, 1.0, 1.0),
        (Later("busy", "", 3600.0), 1, 0.0, 0.0, None),
        (Later("failing", "", 20.0), 1, 0.0, 0.0, 20.0),
        (Later("failing", "", 3600.0), 1, 0.0, 0.0, None),
    ],
)
def test_when_a_request_is_sent_again(
    later: Later, tries: int, quiet_s: float, chance: float, wait: float | None
) -> None:
    assert wait_before_next(later, tries, quiet_s, chance, PATIENCE) == (wait if wait is None else pytest.approx(wait))
