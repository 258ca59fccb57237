"""Endpoints over real HTTP: a server that is slow, busy, mute, garbled or gone, and whose fault each failure is."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import anyio
import pytest

from ingestd.errors import ItemError, Misconfigured, Unavailable
from ingestd.protocol.addresses.endpoint_url import parse
from ingestd.worker.models.openai_.http_client import REFUSALS_TRUSTED, Client
from ingestd.worker.models.openai_.meaning import SECOND_TEMPERATURE, Wish
from ingestd.worker.models.openai_.patience import TRIES, Patience
from tests.endpointkit import (
    Ask,
    EndpointServer,
    Reply,
    always,
    described,
    numbered,
    obliging,
    only,
    refuses,
    says,
    serving,
    wait_for,
)

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
