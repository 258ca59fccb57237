"""A line: JSON with the same fields everywhere, whatever the values are; no secret in it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ingestd.logs.lines import MAX_TEXT, make_line
from ingestd.logs.opening import logger_to
from ingestd.logs.secrets import hidden, secrets_of, without
from tests.logs.logkit import Shelf, logged


def test_a_line_names_what_it_is_about_first() -> None:
    """Time, level, event, job, item, batch and pid stand first and in this order, however the call gave them."""
    (entry,) = logged(lambda log: log.warning("item failed", path="/p/a.jpg", pid=7, batch=3, item=4, job="photos"))
    assert list(entry) == ["time", "level", "event", "job", "item", "batch", "pid", "path"]
    assert (entry["level"], entry["event"], entry["item"]) == ("warning", "item failed", 4)
    assert abs(time.time() - _seconds(entry["time"])) < 60


def _seconds(text: str) -> float:
    from datetime import datetime

    assert text.endswith("Z")
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(level: str, kept: list[str]) -> None:
    """``log_level`` is the least that is kept; every line says its own."""

    def call(log: Any) -> None:
        for name in ("debug", "info", "warning", "error"):
            getattr(log, name)("x")

    assert [entry["level"] for entry in logged(call, level)] == kept


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"/p/\xff.jpg", "/p/�.jpg"),
        (os.fsdecode(b"/p/\xff.jpg"), "/p/�.jpg"),
        ("\ud800", "�"),
        (Path("/p/a"), "/p/a"),
        (2**70, str(2**70)),
        (float("nan"), None),
        ("one\ntwo\x1b[31m", "one\ntwo\x1b[31m"),
        ({"a": {1: b"x"}}, {"a": {"1": "x"}}),
        ((1, None, "x"), [1, None, "x"]),
    ],
)
def test_any_value_becomes_json_on_one_line(value: object, shown: object) -> None:
    """Bytes that are no UTF-8, numbers and texts that JSON cannot carry: the line is made, and it is one line."""
    made = make_line("info", {"event": "x", "value": value})
    assert b"\n" not in made.text
    assert json.loads(made.text)["value"] == shown


def test_a_value_that_cannot_be_shown_does_not_raise() -> None:
    """A log call never ends what called it."""
    (entry,) = logged(lambda log: log.info("x", value=Nasty()))
    assert (entry["level"], entry["event"], entry["cause"]) == (
        "error",
        "a log line could not be made",
        "RuntimeError",
    )


def test_long_values_are_cut() -> None:
    """A library's exception may quote a whole file: both its ends are kept, and how much is missing is said."""
    (entry,) = logged(lambda log: log.info("x", text="a" * 10**6 + "z", many=list(range(10**5))))
    assert len(entry["text"]) < MAX_TEXT + 60
    assert entry["text"].startswith("aaa")
    assert entry["text"].endswith("z")
    assert "992,001 characters" in entry["text"]
    assert len(entry["many"]) == 64


def test_an_exception_has_its_traceback() -> None:
    """``exc_info`` becomes text."""

    def call(log: Any) -> None:
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            log.exception("failed")

    (entry,) = logged(call)
    assert entry["level"] == "error"
    assert entry["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_line_knows_its_call() -> None:
    """For ``CODE_FILE`` and its like: the file, line and function that logged, not the logger's own."""
    shelf = Shelf()
    logger_to(shelf, "info").info("x")
    file, number, function = shelf.lines[0].code
    assert (file, function) == (__file__, "test_a_line_knows_its_call")
    assert "logger_to(shelf" in Path(file).read_text().splitlines()[number - 1]


KEY = "sk-Very/Secret+Key=42"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"it said {KEY}!", "it said [hidden]!"),
        ("https://me:pass@host/v1", "https://[hidden]@host/v1"),
        ("qdrant:http://u%40x:p@127.0.0.1:6333", "qdrant:http://[hidden]@127.0.0.1:6333"),
        ("http://h/x?api_key=abc&n=1", "http://h/x?api_key=[hidden]&n=1"),
        ("http://h/x?n=1&token=abc#f", "http://h/x?n=1&token=[hidden]#f"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: [hidden]"),
        ("{'authorization': 'Bearer abcdefgh'}", "{'authorization': '[hidden]'}"),
        ("x-api-key: abcdef", "x-api-key: [hidden]"),
    ],
)
def test_secrets_are_taken_out(text: str, left: str) -> None:
    """The known ones, and what stands where only a secret stands, also in members of lists and in tracebacks."""
    assert hidden(without(text, (KEY,))) == left
    (entry,) = logged(lambda log: log.info("x", a=text, b=[text], c={"d": text}), secrets=(KEY,))
    assert (entry["a"], entry["b"], entry["c"]) == (left, [left], {"d": left})

    def fail(log: Any) -> None:
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("failed")

    (entry,) = logged(fail, secrets=(KEY,))
    assert entry["exception"].endswith(f"ValueError: {left}")


@pytest.mark.parametrize(
    "text",
    [
        "/photos/bearer bonds/key=1.jpg",
        "http://127.0.0.1:6333/collections/photos",
        "the API key in /etc/ingestd/key cannot be read",
        "Give a key that it accepts, by INGESTD_ENDPOINT_KEY or the setting endpoint_key_file",
        "no authorization was given",
        "a@b.example wrote ://",
        "token 5 of 100",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Names of files and the daemon's own sentences pass as they are."""
    assert hidden(without(text, (KEY,))) == text


def test_which_values_are_secret() -> None:
    """Keys from the environment, but not the words that people give where none is wanted."""
    environ = {
        "INGESTD_ENDPOINT_KEY": f" {KEY}\n",
        "INGESTD_QDRANT_KEY": "none",
        "HF_TOKEN": KEY + "longer",
        "X": "y" * 9,
    }
    assert secrets_of(environ) == (KEY + "longer", KEY)


def test_a_secret_at_a_cut_is_hidden() -> None:
    """A long text is searched before it is cut: half a key would not be recognised."""
    for secret, shown in ((KEY, KEY[:5]), ("https://me:pass@host", "pass")):
        text = "a" * (MAX_TEXT // 2 - 14) + secret + "b" * 10**5
        (entry,) = logged(lambda log, text=text: log.info("x", text=text), secrets=(KEY,))
        assert shown not in entry["text"]


def test_a_line_costs_the_caller_little() -> None:
    """Well under a millisecond of the event loop's time, the longest values included."""
    shelf = Shelf()
    log = logger_to(shelf, "info", (KEY,))
    fields: dict[str, Any] = {"job": "photos", "item": 5, "batch": 3, "pid": 77, "path": "/photos/2020/a.jpg"}
    began = time.thread_time()
    for _ in range(500):
        log.warning("item failed", **fields, kind="corrupt", stage="decode", message="image file is truncated")
    usual = (time.thread_time() - began) / 500
    began = time.thread_time()
    for _ in range(20):
        log.warning("worker died", **fields, cause="x" * 4000, last_lines=["Error: " + "y" * 4000] * 20)
    longest = (time.thread_time() - began) / 20
    assert usual < 0.5e-3, usual
    assert longest < 2e-3, longest
