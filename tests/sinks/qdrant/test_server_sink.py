"""The server sink: its collection and points, limits, searches and indexing, through the real client over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import Misconfigured
from ingestd.ledger.reader import PAGE
from ingestd.protocol.sink import Grown, Search
from ingestd.protocol.work import Finish, Step
from ingestd.sinks.document import point_id
from ingestd.sinks.follow import FINISH_S
from ingestd.testing.bad_sinks import SlowSink
from ingestd.testing.feed import DIM, JOB, Feed, feed_of, vector
from ingestd.testing.following import Clock, follow
from ingestd.testing.sink_places import NEW
from tests.qdranthttp import WRITES, Fault
from tests.sinks.qdrant.places import Server
from tests.sinks.qdrant.serverkit import key, same, sink_of

# ------------------------------------------------------------------------------------------------ what lies on a server


def test_the_collection_is_made_as_the_vectors_need_it(served: Server, feed: Feed) -> None:
    """Named vectors, cosine, an index on each field that searches filter by; named after job and recipe."""
    follow(served, feed)
    assert served.kit.names() == ["my photos-0123abcd"]
    config = served.kit.config("my photos-0123abcd")
    assert config["vectors"] == {"embed": {"size": DIM, "distance": "Cosine"}}
    assert config["indexes"] == {"dirs": "keyword", "taken_at": "datetime", "ingestd_job": "keyword"}


def test_points_have_their_vectors(served: Server, feed: Feed) -> None:
    """What is stored is the vector that the model made."""
    follow(served, feed)
    stored = served.kit.points()[key(feed, 13)].vector
    made = memoryview(vector(13)).cast("B").cast("f")
    assert stored["embed"] == pytest.approx(list(made), abs=1e-6)


def test_requests_are_batches_and_two_at_a_time(served: Server, feed: Feed) -> None:
    """64 to 256 points a request, waited for, two under way at most and at best."""
    served.kit.faults = [Fault(WRITES, times=99, wait_s=0.05)]
    follow(served, feed)
    upserts = served.kit.asked(WRITES)
    sizes = [len(request.body["points"]) for request in upserts]
    assert sum(sizes) == 540
    assert all(64 <= size <= 256 for size in sizes)
    assert all("wait=true" in request.line for request in upserts)
    assert served.kit.most_in_flight == 2


def test_several_vectors_a_point(served: Server, feed: Feed) -> None:
    """Each step's vector has its name; a point has those that were made so far, and is replaced whole."""
    feed.steps.append(Step(3, "embed_text", "texts-1", {"dim": 4}))
    feed._db.execute("INSERT INTO step VALUES (4, 'embed_text', 'texts-1', '{}', '{}')")
    feed._db.execute("INSERT INTO job_step(job_id, bit, step_id, pass) VALUES (?, 3, 4, 1)", (JOB,))
    cursor = follow(served, feed).cursor
    assert set(served.kit.points()[key(feed, 2)].vector) == {"embed"}
    for content in (2, 10):  # the tenth has no picture's vector
        feed._result(content, 4, {}, vector(content, 4))
        feed._move(content)
    line = follow(served, feed, cursor, script=[Grown(1), Search(1, "embed_text", vector(2, 4), 1)])
    points = served.kit.points()
    assert set(points[key(feed, 2)].vector) == {"embed", "embed_text"}
    assert set(points[key(feed, 10)].vector) == {"embed_text"}
    assert line.hits[0].hits[0].id == key(feed, 2)


def test_a_content_that_loses_its_vector_loses_its_point(served: Server, feed: Feed) -> None:
    """No vector, no point, also when there was one."""
    cursor = follow(served, feed).cursor
    feed._db.execute("DELETE FROM result WHERE step_id = 3 AND content_id = 1")
    feed.rename(1)
    follow(served, feed, cursor)
    assert key(feed, 1) not in served.state()
    assert len(served.state()) == 539


def test_a_recipe_without_vectors_asks_nothing(served: Server, tmp_path: Path) -> None:
    """The cursor moves, the server is left alone, a search is answered in words."""
    with feed_of(tmp_path, 10, dim=0) as feed:
        line = follow(served, feed)
        line = follow(served, feed, line.cursor, script=[Search(1, "embed", vector(1), 1)])
        assert [message.seq for message in line.delivered] == [10]
        assert line.hits[0].error == "this store has no vectors named 'embed'"
    assert served.kit.requests == []


def test_a_shared_collection_is_only_ours_in_part(served: Server, feed: Feed, tmp_path: Path) -> None:
    """Another program's points and another job's are not deleted by a rebuild, and no search shows them."""
    served.kit.create("mine", {"embed": {"size": DIM, "distance": "Cosine"}, "other": {"size": 3, "distance": "Dot"}})
    foreign = {"id": str(feed.uuid), "vector": {"other": [1.0, 2.0, 3.0]}, "payload": {"a": 1}}
    twin = {"id": str(point_id(feed.uuid, b"x")), "vector": {"embed": [1.0] * DIM}, "payload": {"ingestd_job": "else"}}
    served.kit.put("mine", [foreign, twin])
    served.place += "?collection=mine"
    follow(served, feed)
    line = follow(served, feed, NEW, script=[Search(1, "embed", vector(3), 600)])
    assert served.kit.names() == ["mine"]
    assert same(served, feed)
    assert len(served.state()) == 542
    ask = follow(served, feed, line.cursor, script=[Search(1, "embed", vector(3), 600)])
    assert len(ask.hits[0].hits) == 540


@pytest.mark.parametrize(
    ("vectors", "params", "why"),
    [
        ({"size": 8, "distance": "Cosine"}, {}, "it has one vector without a name, and embed (8) is needed"),
        ({"image": {"size": 8, "distance": "Cosine"}}, {}, "it has no vector named embed (it has image)"),
        ({"embed": {"size": 9, "distance": "Cosine"}}, {}, "its vector embed has 9 dimensions, the model's has 8"),
        ({"embed": {"size": 8, "distance": "Dot"}}, {}, "its vector embed is compared by Dot, not by Cosine"),
        ({"embed": {"size": 8, "distance": "Cosine", "datatype": "uint8"}}, {}, "its vector embed holds whole numbers"),
        (
            {"embed": {"size": 8, "distance": "Cosine", "multivector_config": {"comparator": "max_sim"}}},
            {},
            "its vector embed is a multivector",
        ),
        ({"embed": {"size": 8, "distance": "Cosine"}}, {"sharding_method": "custom"}, "it is sharded by keys of its"),
    ],
)
def test_a_collection_that_does_not_match_is_refused(
    served: Server, feed: Feed, vectors: Any, params: Any, why: str
) -> None:
    """Before anything is written, with the difference in words; nothing there is changed."""
    served.kit.create("mine", vectors, **params)
    served.place += "?collection=mine"
    with pytest.raises(Misconfigured) as raised:
        follow(served, feed)
    assert raised.value.message.startswith(why)
    assert raised.value.object == f"the collection mine at {served.kit.url}"
    assert {request.line.partition(" ")[0] for request in served.kit.requests} == {"GET"}


def test_all_differences_are_told_at_once(served: Server, feed: Feed) -> None:
    """Nobody should have to make a collection three times."""
    served.kit.create("mine", {"embed": {"size": 9, "distance": "Dot"}})
    served.place += "?collection=mine"
    with pytest.raises(Misconfigured, match=r"dimensions.*; .*Dot"):
        follow(served, feed)


# --------------------------------------------------------------------------------------------------- points and limits


def test_a_request_that_is_too_long_is_halved(served: Server, feed: Feed) -> None:
    """Until it fits; what fits is remembered for the pages that follow."""
    served.kit.max_body = 40_000
    feed.add(600)
    line = follow(served, feed)
    assert line.troubles == []
    assert same(served, feed)
    sizes = [len(request.body["points"]) for request in served.kit.asked(WRITES)]
    assert max(sizes[-10:]) <= 64
    assert sizes.count(128) <= 4, "the same long request was sent with every page"


def test_a_point_that_is_refused_is_named_and_not_skipped(served: Server, feed: Feed) -> None:
    """The others of its page may be there, the cursor stays before it; when the server takes it, delivery goes on."""
    served.kit.refused_points = {key(feed, 303)}
    line = follow(served, feed, finish_after=3)
    assert line.cursor.seq == PAGE
    assert "the server refuses the point of /photos/2003/image-303.jpg: " in line.troubles[0].message
    assert "is not liked" in line.troubles[0].message
    served.kit.refused_points = set()
    follow(served, feed, line.cursor)
    assert same(served, feed)


def test_a_search_that_the_server_refuses_is_answered_in_words(served: Server, feed: Feed) -> None:
    """And the sink stays open."""
    cursor = follow(served, feed).cursor
    served.kit.faults = [Fault(".*/points/query", status=400), Fault(".*/points/query", status=403)]
    sink = sink_of(served, feed, cursor)
    sink.open(cursor)
    with pytest.raises(ValueError, match="the server cannot answer: the server answers 400: Service"):
        sink.search(Search(1, "embed", vector(1), 1))
    assert sink.opened
    with pytest.raises(ValueError, match=r"cannot search the collection .*: the server answers 403"):
        sink.search(Search(1, "embed", vector(1), 1))
    assert not sink.opened
    sink.close()


def test_a_search_while_the_server_is_away(served: Server, feed: Feed) -> None:
    """It is told why, and the sink opens again by itself."""
    cursor = follow(served, feed).cursor
    sink = sink_of(served, feed, cursor)
    sink.open(cursor)
    served.kit.stop()
    with pytest.raises(ValueError, match=r"cannot search the collection .*: connection refused"):
        sink.search(Search(1, "embed", vector(1), 1))
    assert not sink.opened
    served.kit.start()
    assert sink.open(cursor).seq == 600
    assert len(sink.search(Search(1, "embed", vector(1), 1))) == 1
    sink.close()


# ------------------------------------------------------------------------------------------------------------- indexing


def thresholds(served: Server) -> list[int]:
    changes = served.kit.asked("PATCH")
    return [request.body["optimizers_config"]["indexing_threshold"] for request in changes]


def test_indexing_is_put_off_during_a_bulk_load(served: Server, feed: Feed) -> None:
    """From the sixteenth full page on, and given back, as it was, when nothing is left to deliver."""
    feed.add(4000)
    follow(served, feed)
    assert thresholds(served) == [10**12 + 20_000, 20_000]
    assert served.kit.requests.index(served.kit.asked("PATCH")[0]) < served.kit.requests.index(
        served.kit.asked(WRITES)[-3]
    )
    assert served.kit.config(served.collection(feed))["optimizers"]["indexing_threshold"] == 20_000


def test_a_small_job_changes_no_setting(served: Server, feed: Feed) -> None:
    """Pages that come as the models make them are no bulk load."""
    cursor = NEW
    for _ in range(20):
        feed.add(20)
        cursor = follow(served, feed, cursor).cursor
    assert thresholds(served) == []


def test_indexing_comes_back_after_a_crash(served: Server, feed: Feed) -> None:
    """The server's own setting tells that it was raised, and from what: also to a sink that has lost its cursor."""
    cursor = follow(served, feed).cursor
    for stored in (cursor, NEW):
        served.kit.config(served.collection(feed))["optimizers"]["indexing_threshold"] = 10**12 + 5000
        follow(served, feed, stored)
        assert served.kit.config(served.collection(feed))["optimizers"]["indexing_threshold"] == 5000


@pytest.mark.parametrize(("faults", "after"), [([], 20_000), ([Fault("PATCH", skip=1, status=500)], 10**12 + 20_000)])
def test_indexing_comes_back_when_a_bulk_load_is_given_up(
    served: Server, feed: Feed, faults: list[Fault], after: int
) -> None:
    """A job that drops this sink, or is removed, never comes back to it. A server that is away holds up nothing."""
    feed.add(6400)
    served.kit.faults = faults
    clock = Clock()
    slow = SlowSink(sink_of(served, feed), clock, FINISH_S / 20)
    line = follow(served, feed, sink=slow, clock=clock, script=[Finish()])
    assert 20 * PAGE <= line.cursor.seq < 7000
    assert thresholds(served) == [10**12 + 20_000, 20_000]
    assert served.kit.config(served.collection(feed))["optimizers"]["indexing_threshold"] == after


def test_indexing_of_a_users_collection_is_left_alone(served: Server, feed: Feed) -> None:
    """Others may be using it."""
    served.kit.create("mine", {"embed": {"size": DIM, "distance": "Cosine"}})
    served.place += "?collection=mine"
    feed.add(4000)
    follow(served, feed)
    assert thresholds(served) == []


@pytest.mark.parametrize("status", [400, 403])
def test_a_key_that_may_not_change_settings_still_delivers(served: Server, feed: Feed, status: int) -> None:
    """Indexing goes on during the load, that is all."""
    served.kit.faults = [Fault("PATCH", times=9, status=status)]
    feed.add(4000)
    line = follow(served, feed)
    assert line.troubles == []
    assert line.cursor.seq == 4600


def test_giving_indexing_back_is_tried_again(served: Server, feed: Feed) -> None:
    """A server that is away just then is waited for."""
    cursor = follow(served, feed).cursor
    served.kit.config(served.collection(feed))["optimizers"]["indexing_threshold"] = 10**12 + 5000
    served.kit.faults = [Fault("PATCH", times=2, status=500)]
    line = follow(served, feed, cursor, script=[])
    assert [trouble.retry_s for trouble in line.troubles] == [1, 2, 0]
    assert thresholds(served)[-1] == 5000
