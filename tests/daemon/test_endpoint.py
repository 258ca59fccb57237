"""Descriptions from an endpoint, through a real daemon: every item ends done or failed with its reason, and once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.house import HastyDaemon, defects
from tests.daemonkit import Daemon, RpcError
from tests.endpointkit import (
    Ask,
    EndpointServer,
    Reply,
    described,
    numbered,
    obliging,
    refuses,
    says,
    serving,
    write_numbered,
)

KEY = "sk-Very/Secret+Key=42"


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[HastyDaemon]:
    """A daemon that looks again soon at what is away, and has a key."""
    daemon = HastyDaemon(tmp_path / "home", {"ingestd.policy.moves.SOURCE_RETRY_S": 0.2})
    daemon.env["INGESTD_ENDPOINT_KEY"] = KEY
    with daemon:
        yield daemon
    assert not defects(daemon)


def begin(daemon: Daemon, folder: Path, server: EndpointServer, **params: Any) -> str:
    """Start a job that only describes; returns its name."""
    given = {"describe": server.name, "embed": "none", "sinks": ["jsonl"], **params}
    name: str = daemon.call("start", sources=[str(folder)], **given)["job"]["name"]
    return name


def ended(daemon: Daemon, name: str) -> dict[str, Any]:
    return dict(daemon.call("wait", 300, job=name)["job"])


def descriptions(daemon: Daemon, job: dict[str, Any]) -> dict[str, str]:
    """By file name, of what has one."""
    lines = daemon.jsonl(job).values()
    return {Path(line["paths"][0]).name: line["description"] for line in lines if line["description"] is not None}


def test_every_item_ends_done_or_failed_with_its_reason(shared: Daemon, tmp_path: Path) -> None:
    """An endpoint that is slow, busy, garbled, cut and refusing at once: each picture gets what is its own, once."""
    paths = write_numbered(tmp_path / "photos", 40)
    whole = says("A plain field that is never described to its end.").body
    once: dict[int, Reply] = {
        0: refuses(429, "slow down", Retry_After="1"),
        1: refuses(503, "loading"),
        2: Reply(reset=True),
        3: Reply(body=whole, cut=30),
        4: Reply(body=whole, cut=30, chunked=True),
        5: Reply(body=b"<html>"),
    }
    always: dict[int, tuple[Reply, str]] = {
        10: (Reply(body=b'{"choices": []}'), "its answer holds no choices"),
        11: (Reply(body=whole, cut=30), "its answer was cut"),
        12: (refuses(413, "the picture is too large"), "it answered 413: the picture is too large"),
        13: (refuses(500, "it broke"), "it answered 500: it broke"),
    }
    odd = {20: "empty", 21: "cut", 22: "loop"}

    def behave(ask: Ask) -> Reply:
        number = -1 if ask.number is None else ask.number
        if number in once and ask.nth == 0:
            return once[number]
        if number in always:
            return always[number][0]
        text = {20: "", 21: "A field that", 22: "It is a field, and then " * 20}.get(number, described(number))
        return says(text, finish="length" if number in (21, 22) else "stop", after_s=0.02 * (number % 3))

    with serving(behave=behave) as server:
        server.gather = 6
        job = ended(shared, begin(shared, tmp_path / "photos", server, concurrency=6))
        assert server.most_at_once == 6
    assert (job["status"], job["counts"]["done"], job["counts"]["failed"]) == ("completed", 36, 4)
    failures = {Path(one["path"]).name: one for one in shared.call("failed", job=job["name"])["rows"]}
    assert sorted(failures) == [paths[number].name for number in always]
    for number, (_, words) in always.items():
        failure = failures[paths[number].name]
        assert failure["kind"] == "model"
        assert words in failure["message"]
    expected = {paths[number].name: described(number) for number in range(40) if number not in (*always, *odd)}
    texts = descriptions(shared, job)
    assert {name: text for name, text in texts.items() if name in expected} == expected
    assert texts[paths[21].name] == "A field that"
    again = {**dict.fromkeys(once, 2), **dict.fromkeys(odd, 2)}
    assert {n: times for n, times in server.numbers().items() if n not in always} == {
        n: again.get(n, 1) for n in range(40) if n not in always
    }
    assert shared.call("summary", job=job["name"])["odd"] == {"cut": 1, "empty": 1, "loop": 1}


def test_an_endpoint_that_is_away_is_waited_for(hasty: HastyDaemon, tmp_path: Path) -> None:
    """At the start and in the middle: the job waits, says why, goes on by itself, and describes nothing twice."""
    paths = write_numbered(tmp_path / "photos", 30)
    down = threading.Event()
    with serving() as server:
        server.stop()
        name = begin(hasty, tmp_path / "photos", server, concurrency=4)
        reason = hasty.waiting(name)["reason"]
        assert "Connection refused" in reason
        assert f"http://127.0.0.1:{server.port}/v1" in reason

        def ten_then_down(ask: Ask) -> Reply:
            if ask.number == -1 or sum(server.numbers().values()) <= 10:
                return obliging(ask)
            down.wait(60)
            return Reply(reset=True)

        server.behave = ten_then_down
        server.start()
        hasty.wait_for(lambda: sum(server.numbers().values()) > 13)
        threading.Timer(0.1, down.set).start()
        server.stop()
        hasty.wait_for(lambda: hasty.job(name)["status"] == "waiting")
        counts = hasty.job(name)["counts"]
        assert (counts["done"], counts["suspect"]) == (10, 0)
        server.behave = obliging
        server.start()
        job = ended(hasty, name)
        assert (job["status"], job["counts"]["done"], job["counts"]["failed"]) == ("completed", 30, 0)
        assert {number: server.answered[number] for number in range(30)} == dict.fromkeys(range(30), 1)
    assert descriptions(hasty, job) == {path.name: described(number) for number, path in enumerate(paths)}


def test_a_pause_takes_the_requests_in_flight_and_no_more(shared: Daemon, tmp_path: Path) -> None:
    """Not the four times as many that a worker holds ready; what was in flight is kept, and asked for once."""
    write_numbered(tmp_path / "photos", 24)
    with serving(names=("slow",)) as server:
        server.behave = lambda ask: says(described(ask.number), after_s=0.0 if ask.number == -1 else 1.0)
        name = begin(shared, tmp_path / "photos", server, concurrency=3)
        shared.wait_for(lambda: len(server.numbers()) >= 3)
        shared.call("pause", job=name)
        sent = len(server.numbers())
        job = shared.job(name)
        assert (job["status"], shared.children("worker")) == ("paused", [])
        assert job["counts"]["done"] == sent < 12
        server.behave = obliging
        shared.call("resume", job=name)
        assert ended(shared, name)["counts"]["done"] == 24
        assert server.numbers() == dict.fromkeys(range(24), 1)


def test_the_key_is_nowhere(hasty: HastyDaemon, tmp_path: Path) -> None:
    """Not in state, logs, replies, process list or errors, although the server repeats it; a bad key fails the job."""
    write_numbered(tmp_path / "photos", 8)

    def behave(ask: Ask) -> Reply:
        if ask.number is None or ask.number < 4:
            return says(f"A sign that says {ask.authorization}.", after_s=0.2)
        return refuses((400, 500)[ask.number % 2], f"no {ask.authorization}", X_Key=ask.authorization)

    shown: list[str] = []
    with serving(key=KEY, behave=behave) as server:
        name = begin(hasty, tmp_path / "photos", server)
        while hasty.job(name)["status"] in ("queued", "running"):
            shown += [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
            time.sleep(0.05)
        job = ended(hasty, name)  # its sink may still be at work
        assert (job["status"], job["counts"]["done"], job["counts"]["failed"]) == ("completed", 4, 4)
        assert set(descriptions(hasty, job).values()) == {"A sign that says Bearer [key]."}
        shown.append(json.dumps(hasty.call("failed", job=name)))
        assert shown[-1].count("[key]") >= 4
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "new.jpg").write_bytes(numbered(9))
        server.behave = lambda ask: obliging(ask) if ask.number == -1 else refuses(401, f"no {ask.authorization}")
        failed = ended(hasty, begin(hasty, tmp_path / "more", server))
        assert (failed["status"], failed["counts"]["pending"], failed["counts"]["failed"]) == ("failed", 1, 0)
        assert "401" in failed["reason"]
        assert "INGESTD_ENDPOINT_KEY" in failed["reason"]
        server.key = "sk-another"
        with pytest.raises(RpcError, match="it answered 401") as refused:
            begin(hasty, tmp_path / "more", server, name="third")
        shown.append(f"{refused.value} {refused.value.data}")
        with pytest.raises(RpcError, match="a user, a password") as refused:
            begin(hasty, tmp_path / "more", server, describe=server.name.replace("http://", f"http://me:{KEY}@"))
        shown.append(f"{refused.value} {refused.value.data}")
    for verb, params in (("status", {}), ("summary", {"job": job["name"]}), ("config", {})):
        shown.append(json.dumps(hasty.call(verb, **params)))
    hasty.end()
    for path in (*(tmp_path / "home").rglob("*"),):
        if path.is_file():
            shown.append(path.read_bytes().decode("latin-1"))
    assert any("A sign that says" in text for text in shown)
    assert any("ingestd.worker" in text for text in shown)
    for text in shown:
        assert "Secret" not in text


def test_another_url_of_the_same_model(shared: Daemon, tmp_path: Path) -> None:
    """What one server described is not asked of another that serves the same model; what is new goes to the other."""
    folder = tmp_path / "photos"
    write_numbered(folder, 6)
    with serving(names=("moved",)) as old:
        assert ended(shared, begin(shared, folder, old))["counts"]["done"] == 6
    write_numbered(folder, 9)
    with serving(names=("moved",)) as new:
        job = ended(shared, begin(shared, folder, new, name="again"))
        assert (job["status"], job["counts"]["done"], job["reused"]) == ("completed", 9, 6)
        assert new.numbers() == {6: 1, 7: 1, 8: 1}
