"""Endpoints over real HTTP: a server that is slow, busy, mute, garbled or gone, and whose fault each failure is."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from PIL import Image

from ingestd.endpoint_url import parse
from ingestd.errors import ItemError, Misconfigured, Unavailable
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
from ingestd.worker.models.openai_.client import REFUSALS_TRUSTED, Client
from ingestd.worker.models.openai_.family import LONGEST_SIDE
from ingestd.worker.models.openai_.meaning import SECOND_TEMPERATURE, Wish
from ingestd.worker.models.openai_.patience import TRIES, Patience
from tests.childkit import Child, running
from tests.endpointkit import (
    Ask,
    Behaviour,
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
from tests.pictures import exif, photo
from tests.worker.workerkit import Worker

KEY = "sk-Very/Secret+Key=42"
HASTY = Patience(first_s=0.01, slowest_s=0.05, busy_s=0.4, answer_s=0.5, connect_s=2.0)
WISH = Wish("tiny", "What is it?", 99, 0.0, None)
Answers = dict[int, Any]


def jpeg64(number: int) -> str:
    """A numbered picture in base64."""
    return base64.b64encode(numbered(number)).decode()


def ask_for(
    server: EndpointServer, n: int, *, concurrency: int = 1, patience: Patience = HASTY, key: str = ""
) -> Answers:
    """Descriptions of pictures 0 to ``n`` - 1 by one client: what each came to, an error of the endpoint included."""
    found: Answers = {}
    pictures = [jpeg64(number) for number in range(n)]

    async def main() -> None:
        async with Client(parse(server.name), key, concurrency, patience) as client, anyio.create_task_group() as tasks:

            async def one(number: int) -> None:
                try:
                    found[number] = await client.describe(WISH, pictures[number])
                except (Unavailable, Misconfigured) as error:
                    client.end()
                    found[number] = error

            for number in range(n):
                tasks.start_soon(one, number)

    anyio.run(main)
    return found


def only(number: int, reply: Reply, times: int = 10**6) -> Behaviour:
    """The first ``times`` requests for one picture get ``reply``; everything else is answered."""
    return lambda ask: reply if ask.number == number and ask.nth < times else obliging(ask)


def always(reply: Reply) -> Behaviour:
    return lambda ask: reply


HALF = says("A plain field that is never described to its end.")
FAULTS = {
    "429": refuses(429, "slow down"),
    "429 with Retry-After": refuses(429, "slow down", Retry_After="0.05"),
    "503": refuses(503, "loading"),
    "500": refuses(500, "boom"),
    "reset": Reply(reset=True),
    "garbage": Reply(body=b"\x00\xff<html>"),
    "error in a 200": Reply(body=b'{"error": {"message": "boom"}}'),
    "no choices": Reply(body=b'{"choices": []}'),
    "half": Reply(body=HALF.body, cut=40),
    "half, chunked": Reply(body=HALF.body, cut=40, chunked=True),
    "nothing after the head": Reply(body=HALF.body, cut=0),
    "damaged gzip": Reply(body=HALF.body, headers={"Content-Encoding": "gzip"}),
    "mute": Reply(body=HALF.body, after_s=0.7),
    "dripping": Reply(body=HALF.body, drip_s=0.05),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_got_over(fault: str) -> None:
    """Whatever happens to one request, the next one is answered, and nobody hears of it."""
    with serving(behave=only(1, FAULTS[fault], times=1)) as server:
        found = ask_for(server, 3)
        assert found == {number: (described(number), "") for number in range(3)}
        assert server.numbers() == {0: 1, 1: 2, 2: 1}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_picture_that_always_fails_fails_alone(fault: str) -> None:
    """What one picture does to an endpoint that answers others is its own failure, in the server's words."""
    with serving(behave=only(1, FAULTS[fault])) as server:
        found = ask_for(server, 3)
        assert (found[0], found[2]) == ((described(0), ""), (described(2), ""))
        assert isinstance(found[1], ItemError)
        assert (found[1].kind, found[1].stage) == ("model", "model")
        assert "answers others" in found[1].message
        assert server.counts[-1] == 1  # it was asked with another picture whose fault it is
        assert server.counts[1] <= max(TRIES.values()) + 1 or fault in ("429", "429 with Retry-After", "503")


@pytest.mark.parametrize("fault", FAULTS)
def test_an_endpoint_that_answers_nothing_is_away(fault: str) -> None:
    """No picture fails for it: the worker ends, the job waits and says why."""
    with serving(behave=always(FAULTS[fault])) as server:
        found = ask_for(server, 3)
    assert isinstance(found[0], Unavailable)
    assert f"the endpoint http://127.0.0.1:{server.port}/v1" in found[0].sentence()
    assert not any(isinstance(one, ItemError | tuple) for one in found.values())


def test_an_endpoint_that_is_not_there() -> None:
    """Refused at every try is away, and no picture's fault."""
    with serving() as server:
        server.stop()
        (found,) = ask_for(server, 1).values()
    assert isinstance(found, Unavailable)
    assert "Connection refused" in found.message

    async def main() -> None:
        async with Client(parse("openai:http://no-such-host.invalid/v1#m"), "", 1, HASTY) as client:
            await client.served()

    with pytest.raises(Unavailable, match="name is not known"):
        anyio.run(main)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "key"), (403, "key"), (404, "URL"), (405, "URL"), (307, "URL")],
)
def test_what_only_a_person_can_change(status: int, said: str) -> None:
    """Key, name and URL: told at once, without a second request."""
    with serving(behave=always(refuses(status, "because", Location="http://elsewhere/"))) as server:
        (found,) = ask_for(server, 1).values()
        assert isinstance(found, Misconfigured)
        assert str(status) in found.message
        assert said in found.remedy
        assert server.numbers() == {0: 1}


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_picture_fails_with_the_servers_words(status: int) -> None:
    """A 4xx about the input is not tried again; one control tells it from an endpoint that refuses everything."""
    with serving(behave=only(0, refuses(status, "the image\nis \x1b[2Jtoo " + "w" * 1000 + "ide"))) as server:
        found = ask_for(server, 3)
        assert isinstance(found[0], ItemError)
        assert f"it answered {status}: the image is [2Jtoo w" in found[0].message
        assert len(found[0].message) < 400
        assert found[0].message.isprintable()
        assert found[1] == (described(1), "")
        assert (server.counts[0], server.counts[-1]) == (1, 1)


def test_an_endpoint_that_refuses_every_picture() -> None:
    """A model without eyes is said after one picture, not after 200,000 failures; also one that was put there later."""
    refusal = refuses(400, "this model takes no images")
    with serving(behave=always(refusal)) as server:
        found = ask_for(server, 5)
        assert [number for number, one in found.items() if isinstance(one, Misconfigured)] == [0]
        assert "takes no images" in found[0].message
        assert sum(server.numbers().values()) == 1
    with serving(behave=lambda ask: obliging(ask) if ask.number == 0 else refusal) as server:
        found = ask_for(server, 20)
        kinds = [type(found[number]) for number in range(20) if found[number] is not None]
        assert kinds == [tuple] + [ItemError] * REFUSALS_TRUSTED + [Misconfigured]


def test_requests_at_once() -> None:
    """``concurrency`` requests are in flight and never more; a slow one holds up nobody else."""
    with serving() as server:

        def behave(ask: Ask) -> Reply:
            if ask.number == 0:
                wait_for(lambda: sum(server.answered.values()) == 19, 20)
            return obliging(ask)

        server.gather, server.behave = 5, behave
        found = ask_for(server, 20, concurrency=5)
        assert list(found).index(0) >= 20 - 5  # what was in flight with it may have come together with it
        assert server.most_at_once == 5
        assert set(found.values()) == {(described(number), "") for number in range(20)}


def test_a_pause_during_the_last_try_fails_nothing() -> None:
    """A picture whose patience ends with the worker was not found out: it goes back, and no control is sent."""
    found: Answers = {}
    with serving(behave=always(FAULTS["mute"])) as server:

        async def main() -> None:
            async with Client(parse(server.name), "", 1, HASTY) as client, anyio.create_task_group() as tasks:

                async def one() -> None:
                    found[0] = await client.describe(WISH, jpeg64(0))

                tasks.start_soon(one)
                while server.counts[0] < TRIES["silent"]:
                    await anyio.sleep(0.005)
                client.end()

        anyio.run(main)
        assert found == {0: None}
        assert server.counts == {0: TRIES["silent"]}


LOOP = "The cat sits on the mat. " * 12
SHORT = "A cat."


@pytest.mark.parametrize(
    ("first", "second", "text", "flag"),
    [
        (says(""), says(SHORT), SHORT, ""),
        (says(None), says(" \n"), "", "empty"),
        (says("", finish="length"), says(LOOP), LOOP.strip(), "loop"),
        (says(LOOP, finish="length"), says(SHORT), SHORT, ""),
        (says("A cat that", finish="length"), says(SHORT), SHORT, ""),
        (says("A cat that", finish="length"), says(LOOP, finish="length"), "A cat that", "cut"),
        (says("A cat that", finish="length"), says("A dog that", finish="length"), "A cat that", "cut"),
        # The second request fails for good: what there is is kept.
        (says("A cat that", finish="length"), refuses(400), "A cat that", "cut"),
    ],
)
def test_odd_descriptions_are_asked_for_once_more(first: Reply, second: Reply, text: str, flag: str) -> None:
    """Empty, looping or cut: once more with other sampling; what is least odd is kept, and says so."""

    def behave(ask: Ask) -> Reply:
        return obliging(ask) if ask.number == -1 else (first, second)[ask.nth]

    with serving(behave=behave) as server:
        assert ask_for(server, 1) == {0: (text, flag)}
        temperatures = [ask.body["temperature"] for ask in server.asks if ask.number == 0]
        assert temperatures == [0.0, SECOND_TEMPERATURE]


def test_an_answer_without_end_is_left() -> None:
    """A reply beyond all measure is not taken into memory whole."""
    with serving(behave=only(0, Reply(body=b" " * 9_000_000))) as server:
        (found,) = ask_for(server, 1, patience=dataclasses.replace(HASTY, answer_s=10.0)).values()
    assert isinstance(found, ItemError)
    assert "longer than" in found.message


def test_the_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may repeat the key in every error: it is in no message; a proxy of the environment does not get it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    def behave(ask: Ask) -> Reply:
        if ask.number == -1:
            return obliging(ask)
        if ask.number == 0:
            return says(f"A sign that says {ask.authorization}.")
        return refuses((400, 500, 429)[ask.number % 3], f"{ask.authorization} " + "x" * 280 + ask.authorization)

    with serving(key=KEY, behave=behave) as server:
        found = ask_for(server, 4, key=KEY)
        assert {ask.authorization for ask in server.asks} == {f"Bearer {KEY}"}
    assert found[0] == ("A sign that says Bearer [key].", "")
    for number in (1, 2, 3):
        assert isinstance(found[number], ItemError)
        assert "[key]" in found[number].message
        assert "Secret" not in found[number].message + found[number].detail
    with serving(key=KEY) as server:
        (wrong,) = ask_for(server, 1, key=KEY + "Secret").values()
    assert isinstance(wrong, Misconfigured)
    assert "401" in wrong.message
    assert "SecretSecret" not in wrong.sentence()


# ---------------------------------------------------------------------------------------------- through a real worker


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
    assert found[0].provenance["endpoint"] == f"http://127.0.0.1:{one.port}/v1"
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


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl to make a certificate with: TLS was not tested")
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


def wait_for(condition: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
