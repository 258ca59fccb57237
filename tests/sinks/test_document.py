"""What is written for a content, value by value."""

from __future__ import annotations

import base64
from uuid import UUID, uuid5

import msgspec
import pytest

from ingestd.ledger.reader import Made, Record
from ingestd.sinks.date_range import period
from ingestd.sinks.document import document, folders, payload, point_id, tombstone

JOB = UUID("6f1c1f8e-3c9e-4c0c-9d5b-2d8f6f0a1b2c")
SHA = bytes(range(32))
RECORD = Record(
    seq=7,
    sha256=SHA,
    deleted=False,
    size=1234,
    format="JPEG",
    width=640,
    height=480,
    results={
        "meta": Made("m1", '{"taken_at": "2021-07-04T12:30:00+02:00", "camera": {"make": "X"}}', None),
        "describe": Made("d1", '{"description": "a cat", "tags": ["cat", "sofa"]}', None),
        "embed": Made("e1", "{}", b"\0\0\x80\x3f"),
    },
    paths=(b"/p/a.jpg", b"/p/\xffb/c.jpg"),
    paths_total=2,
    updated_at=1_625_394_600_123,
)


def test_document() -> None:
    """The keys and their order are the interface of the JSONL file; vectors are not in it."""
    assert msgspec.json.encode(document(JOB, RECORD)) == msgspec.json.encode(
        {
            "id": str(uuid5(JOB, SHA.hex())),
            "sha256": SHA.hex(),
            "paths": ["/p/a.jpg", "/p/\ufffdb/c.jpg"],
            "paths_total": 2,
            "path_b64": {"1": base64.b64encode(b"/p/\xffb/c.jpg").decode()},
            "bytes": 1234,
            "format": "JPEG",
            "width": 640,
            "height": 480,
            "meta": {"taken_at": "2021-07-04T12:30:00+02:00", "camera": {"make": "X"}},
            "description": "a cat",
            "tags": ["cat", "sofa"],
            "steps": {"meta": "m1", "describe": "d1", "embed": "e1"},
            "updated_at": "2021-07-04T10:30:00.123Z",
        }
    )


def test_payload_adds_what_searches_filter_by() -> None:
    """The job, every ancestor folder once, and the time of exposure."""
    added = {key: value for key, value in payload(JOB, RECORD).items() if key not in document(JOB, RECORD)}
    assert added == {
        "ingestd_job": str(JOB),
        "dirs": ["/p", "/", "/p/\ufffdb"],
        "taken_at": "2021-07-04T12:30:00+02:00",
    }


def test_a_content_with_one_result_is_whole() -> None:
    """What no step has made yet is null or empty, never absent; all paths in UTF-8 need no ``path_b64``."""
    bare = Record(1, SHA, False, 5, results={}, paths=(b"/\xc3\xa4",), paths_total=1)
    found = payload(JOB, bare)
    assert found["paths"] == ["/ä"]
    assert "path_b64" not in found
    assert (found["meta"], found["description"], found["tags"], found["steps"]) == (None, None, [], {})
    assert (found["taken_at"], found["dirs"]) == (None, ["/"])


def test_a_deletion_names_its_key() -> None:
    """A tombstone and a document of one content share their ``id``."""
    assert tombstone(JOB, RECORD) == {"id": str(point_id(JOB, SHA)), "deleted": True}


def test_folders_are_ancestors() -> None:
    """Each once, the root included, a name that begins alike not."""
    assert folders([b"/a/b/c.jpg", b"/a/b/d.jpg", b"/a/bb/e.jpg"]) == ["/a/b", "/a", "/", "/a/bb"]


@pytest.mark.parametrize(
    ("since", "until", "start", "end"),
    [
        (None, None, None, None),
        ("2020-01-31", None, "2020-01-31T00:00:00+00:00", None),
        (None, "2020-01-31", None, "2020-02-01T00:00:00+00:00"),  # a date means its whole day
        ("2020-01-31T08:00:00", None, "2020-01-31T08:00:00+00:00", None),  # no zone: UTC
        (None, "2020-01-31T08:00:00+02:00", None, "2020-01-31T08:00:00.000001+02:00"),  # that moment included
    ],
)
def test_period(since: str | None, until: str | None, start: str | None, end: str | None) -> None:
    """A search's dates become a half-open span of moments with a zone."""
    span = period(since, until)
    assert (span.start.isoformat() if span.start else None, span.end.isoformat() if span.end else None) == (start, end)


@pytest.mark.parametrize("text", ["yesterday", "2020-13-01", "31.01.2020", "2020-1-1x"])
def test_what_is_no_date_is_said(text: str) -> None:
    """The sentence shows how to write one."""
    with pytest.raises(ValueError, match="write 2020-01-31"):
        period(text, None)
