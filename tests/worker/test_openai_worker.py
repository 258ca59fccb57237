"""Endpoints through a real worker process: probes, pictures, pauses, keys and certificates."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from ingestd.protocol.work import (
    Drain,
    Fatal,
    Finish,
    FromWorker,
    Hashed,
    Hello,
    Machine,
    Outcome,
    Probe,
    Probed,
    Ready,
    Step,
    StepRequest,
    WorkerSetup,
)
from ingestd.worker.models.openai_.provider import LONGEST_SIDE
from tests.childkit import Child, running
from tests.endpointkit import (
    Ask,
    EndpointServer,
    Reply,
    always,
    described,
    obliging,
    refuses,
    says,
    serving,
    wait_for,
    write_numbered,
)
from tests.needs import needs
from tests.pictures import exif, photo
from tests.worker.workerkit import Worker

KEY = "sk-Very/Secret+Key=42"


def asked_of(child: Child, name: str, machine: Machine, **settings: Any) -> Any:
    """What a probe says of a name: ``Probed`` or ``Fatal``."""
    child.expect(Hello)
    child.send(Probe([StepRequest("meta", "meta"), StepRequest("describe", name, settings)], machine))
    return child.receive()


def probed(name: str, machine: Machine | None = None, env: dict[str, str] | None = None, **settings: Any) -> Any:
    with running("ingestd.worker", FromWorker, env) as child:
        return asked_of(child, name, machine or Machine(""), **settings)


def steps_of(name: str, env: dict[str, str] | None = None, **settings: Any) -> list[Step]:
    found = probed(name, env=env, **settings)
    assert isinstance(found, Probed), found
    return [msgspec.structs.replace(step, bit=bit) for bit, step in enumerate(found.steps)]


@contextmanager
def worker_of(steps: list[Step], machine: Machine | None = None, env: dict[str, str] | None = None) -> Iterator[Worker]:
    with running("ingestd.worker", FromWorker, env) as child:
        child.expect(Hello)
        child.send(WorkerSetup(steps, machine or Machine("")))
        child.expect(Ready)
        yield Worker(child, steps)


def description(outcome: Outcome) -> str:
    assert not outcome.failures
    text: str = json.loads(next(result.body for result in outcome.results if result.bit == 1))["description"]
    return text


def test_a_name_means_the_same_wherever_it_is_served() -> None:
    """The fingerprint is of the served model and of what is asked: no URL in it, no spelling, no number of requests."""
    with serving(names=("llava:latest",)) as one, serving(names=("llava:latest", "other")) as two:
        plain = f"openai:http://127.0.0.1:{one.port}"
        found = [
            probed(plain),
            probed(f"{plain}/v1/#llava"),
            probed(f"openai:http://localhost:{two.port}/v1#llava:latest", Machine("", concurrency=9)),
        ]
        others = [
            probed(f"openai:http://127.0.0.1:{two.port}#other"),
            *(probed(plain, **{key: value}) for key, value in SETTINGS.items()),
        ]
    prints = [said.steps[1].fingerprint for said in found]
    assert len(set(prints)) == 1
    assert len({said.steps[1].fingerprint for said in others} | set(prints)) == 2 + len(SETTINGS)
    assert found[1].steps[1].spec["served"] == "llava:latest"
    assert found[1].steps[1].spec["model"] == f"{plain}/v1/#llava"
    assert found[0].provenance["describe"]["endpoint"] == f"http://127.0.0.1:{one.port}/v1"
    for (key, value), said in zip(SETTINGS.items(), others[1:], strict=True):
        assert said.steps[1].spec[key] == value


SETTINGS: dict[str, Any] = {"prompt": "Which colour is it?", "max_tokens": 20, "temperature": 0.3, "seed": 5}


@pytest.mark.parametrize(
    ("case", "kind", "said"),
    [
        ("absent", "unavailable", "Connection refused"),
        ("other model", "misconfigured", "it serves tiny, vast"),
        ("none chosen", "misconfigured", "it serves tiny, vast, and none was chosen"),
        ("key", "misconfigured", "401"),
        ("loading", "unavailable", "503"),
        ("path", "misconfigured", "404"),
        ("web site", "misconfigured", "does not speak the OpenAI API"),
        ("no eyes", "misconfigured", "takes no pictures"),
        ("no eyes, says 500", "misconfigured", "takes no pictures"),
        ("refuses", "misconfigured", "max_tokens is too large"),
        ("exact", "misconfigured", "exact"),
        ("credentials", "misconfigured", "a user, a password"),
        ("open line", "misconfigured", "plain HTTP"),
    ],
)
def test_what_is_told_before_any_item_is_claimed(case: str, kind: str, said: str) -> None:
    """A probe finds what is wrong with a name, a key and a model, in a sentence; and what may come right by itself."""
    env, settings = {}, {}
    with serving(names=("tiny", "vast")) as server:
        name = server.name
        match case:
            case "absent":
                server.stop()
            case "other model":
                name = name.replace("#tiny", "#large")
            case "none chosen":
                name = name.removesuffix("#tiny")
            case "key":
                server.key, env = KEY, {"INGESTD_ENDPOINT_KEY": "sk-another-Secret"}
            case "loading":
                server.models_reply = refuses(503, "loading", Retry_After="3600")
            case "path":
                name = name.replace("/v1#", "/api#")
            case "web site":
                server.models_reply = Reply(body=b"<html>Welcome</html>")
            case "no eyes":
                server.behave = lambda ask: says("Yes.") if ask.number is None else refuses(400, "text only")
            case "no eyes, says 500":
                server.behave = lambda ask: says("Yes.") if ask.number is None else refuses(500, "no mmproj")
            case "refuses":
                server.behave = always(refuses(400, "max_tokens is too large"))
            case "exact":
                settings = {"exact": True}
            case "credentials":
                name = name.replace("http://", f"http://me:{KEY}@")
            case "open line":
                name, env = "openai:http://nas.example/v1#m", {"INGESTD_ENDPOINT_KEY": KEY}
        found = probed(name, env=env, **settings)
    assert isinstance(found, Fatal)
    assert (found.kind, said in found.message + found.object) == (kind, True), found
    assert found.remedy
    assert "Secret" not in repr(found)


def test_pictures_through_a_worker(tmp_path: Path) -> None:
    """Each picture's description is its own, whatever the order of the answers; it is sent once, small and bare."""
    paths = write_numbered(tmp_path, 20)
    big = tmp_path / "big.jpg"
    big.write_bytes(
        photo(5, (3000, 2000), exif=exif(make="Canon", gps=(52.5, 13.4), orientation=6), comment=b"private")
    )
    wide = tmp_path / "wide.png"
    Image.new("RGBA", (4000, 3), (0, 0, 255, 0)).save(wide)
    with serving(
        behave=lambda ask: says(described(ask.number), after_s=0.03 + 0.01 * (7 * (ask.number or 0) % 5))
    ) as server:
        steps = steps_of(server.name, max_tokens=33, prompt="Which?")
        server.asks.clear()
        server.most_at_once, server.gather = 0, 3
        with worker_of(steps, Machine("", concurrency=3)) as worker:
            outcomes = worker.process(paths)
            assert [description(outcomes[number]) for number in range(20)] == [
                described(number) for number in range(20)
            ]
            assert server.numbers() == dict.fromkeys(range(20), 1)
            assert server.most_at_once == 3
            server.asks.clear()
            server.behave = always(says("Something else."))
            assert description(worker.one(big)) == description(worker.one(wide)) == "Something else."
    sizes = []
    for ask in server.asks:
        assert (ask.body["max_tokens"], ask.body["messages"][0]["content"][0]["text"]) == (33, "Which?")
        with Image.open(io.BytesIO(ask.jpeg)) as sent:
            sizes.append(sent.size)
            assert not sent.getexif()
        assert b"private" not in ask.jpeg
        assert b"Canon" not in ask.jpeg
    assert sizes == [(round(LONGEST_SIDE * 2 / 3), LONGEST_SIDE), (LONGEST_SIDE, 1)]


def test_a_pause_waits_for_what_is_in_flight_alone(tmp_path: Path) -> None:
    """After ``Drain`` nothing more is sent; what is in flight is answered and stored; the rest goes back."""
    with serving() as server:
        steps = steps_of(server.name)
        server.behave = lambda ask: says(described(ask.number), after_s=1.0)
        with worker_of(steps, Machine("", concurrency=2)) as worker:
            for item, path in enumerate(write_numbered(tmp_path, 16)):
                worker.give(item, path)
            worker.until(lambda: len(worker.hashed) == 16)
            wait_for(lambda: len(server.numbers()) == 2)
            worker.child.send(Drain())
            assert worker.to_the_end() == 0
            assert sorted(worker.outcomes) == sorted(server.numbers())
            assert len(worker.outcomes) in (2, 3)  # an answer may have come just before
            for item, outcome in worker.outcomes.items():
                assert description(outcome) == described(item)


def test_a_pause_does_not_wait_for_one_that_waits_itself(tmp_path: Path) -> None:
    """An endpoint that asked for minutes is no reason to keep a worker: it ends clean, the item goes back."""
    with serving() as server:
        steps = steps_of(server.name)
        server.behave = always(refuses(429, "later", Retry_After="200"))
        with worker_of(steps) as worker:
            worker.give(0, write_numbered(tmp_path, 1)[0])
            worker.until(lambda: 0 in worker.hashed)
            wait_for(lambda: server.counts[0] == 1)
            worker.child.send(Drain())
            assert worker.to_the_end() == 0
            assert not worker.outcomes


def test_an_endpoint_that_goes_away_ends_the_worker_and_no_item(tmp_path: Path) -> None:
    """What was answered is kept, nothing failed; the next worker finds another model there, and says so."""
    paths = write_numbered(tmp_path, 8)
    with serving() as server:
        steps = steps_of(server.name)

        answered: list[int | None] = []

        def answers_two(ask: Ask) -> Reply:
            with server.lock:
                if len(answered) < 2 and ask.nth == 0:
                    answered.append(ask.number)
                    return obliging(ask)
            return Reply(reset=True)

        server.behave = answers_two
        with worker_of(steps, Machine("", concurrency=2)) as worker:
            for item, path in enumerate(paths):
                worker.give(item, path)
            fatal = None
            while (message := worker.child.receive(60)) is not None:
                if isinstance(message, Fatal):
                    fatal = message
                else:
                    worker.note(message)
                if isinstance(message, Hashed):
                    worker.verdict(message.item, "go")
            assert fatal is not None
            assert fatal.kind == "unavailable"
            assert f"http://127.0.0.1:{server.port}/v1" in fatal.object
            assert set(worker.outcomes) == set(answered)
            assert not any(outcome.failures for outcome in worker.outcomes.values())
        server.names = ("another",)
        with running("ingestd.worker", FromWorker) as child:
            child.expect(Hello)
            child.send(WorkerSetup(steps, Machine("")))
            fatal = child.expect(Fatal)
            assert (fatal.kind, "it serves another" in fatal.message) == ("misconfigured", True)


def test_the_key_reaches_the_server_from_a_file(tmp_path: Path) -> None:
    """The worker reads the file itself; a worker without work left ends clean."""
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    machine = Machine("", key_file=str(path))
    with serving(key=KEY) as server:
        found = probed(server.name, machine)
        assert isinstance(found, Probed)
        assert "Secret" not in repr(found)
        steps = [msgspec.structs.replace(step, bit=bit) for bit, step in enumerate(found.steps)]
        with worker_of(steps, machine) as worker:
            assert description(worker.one(write_numbered(tmp_path, 1)[0])) == described(0)
            worker.child.send(Finish())
            assert worker.to_the_end() == 0


@needs("openssl", "certificates of endpoints")
def test_certificates_are_checked(tmp_path: Path) -> None:
    """A certificate of nobody known is refused in words, before the key is sent; one that the owner trusts is not."""
    certificate = tmp_path / "cert.pem"
    words = (
        f"-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {certificate} -out {tmp_path}/public.pem"
    )
    subject = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", "req", *words.split(), *subject], check=True, capture_output=True)
    with certificate.open("ab") as file:
        file.write((tmp_path / "public.pem").read_bytes())
    server = EndpointServer()
    server.start(certificate)
    try:
        name = f"openai:https://localhost:{server.port}#tiny"
        env = {"INGESTD_ENDPOINT_KEY": KEY}
        found = probed(name, env=env)
        assert isinstance(found, Fatal)
        assert (found.kind, "is not trusted" in found.message) == ("misconfigured", True), found
        assert server.models_asked == 0
        assert isinstance(probed(name, env=env | {"SSL_CERT_FILE": str(tmp_path / "public.pem")}), Probed)
        assert server.asks[0].authorization == f"Bearer {KEY}"
    finally:
        server.stop()
