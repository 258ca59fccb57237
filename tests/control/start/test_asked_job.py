"""What a ``start`` request becomes, without a daemon: settings fill in, a known job keeps its steps."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd import config
from ingestd.control.start import asked_job
from ingestd.errors import EXIT_USAGE, IngestError, Misconfigured
from ingestd.protocol import control as c
from ingestd.records import JobRow, RootRef


def settings(**environment: str) -> config.Settings:
    return config.load({f"INGESTD_{key.upper()}": value for key, value in environment.items()}, None, "config.toml")


def made_with(**asked: Any) -> JobRow:
    """The job that a first request with these fields made."""
    spec, sinks, _ = asked_job.of_new(c.Start(**asked), settings())
    return JobRow(
        1, "uuid", "photos", (RootRef(1),), spec, True, tuple(sinks), "completed", "", "", None, 0, 0, 0, False
    )  # fmt: skip


def test_settings_fill_in_what_a_request_leaves_out() -> None:
    """What is given in the request wins over the setting."""
    asked = asked_job.of_new(c.Start(workers=3), settings(workers="2", batch_size="7", sinks="jsonl"))
    assert (asked.spec.workers, asked.spec.batch_size, asked.notes) == (3, 7, [])
    assert [sink.name for sink in asked.sinks] == ["jsonl"]


def test_a_default_store_is_left_out_where_there_are_no_vectors() -> None:
    """A store that comes from the settings is dropped with a note; one that was asked for is an error."""
    without = {"describe": "none", "embed": "none"}
    asked = asked_job.of_new(c.Start(**without), settings())
    assert [sink.kind for sink in asked.sinks] == ["jsonl"]
    assert "nothing to search" in asked.notes[0]
    with pytest.raises(Misconfigured, match="no vectors") as caught:
        asked_job.of_new(c.Start(**without, sinks=["qdrant"]), settings())
    assert caught.value.exit == EXIT_USAGE


def test_a_known_job_keeps_what_is_not_asked_for() -> None:
    """Only the limit goes when it is not given again, and that is noted."""
    job = made_with(workers=2, batch_size=7, limit=10, include=["*.jpg"], sinks=["jsonl"])
    asked = asked_job.of_known(c.Start(), job)
    assert (asked.spec.workers, asked.spec.batch_size, asked.spec.include) == (2, 7, ("*.jpg",))
    assert asked.spec.limit is None
    assert [sink.name for sink in asked.sinks] == ["jsonl"]
    (note,) = asked.notes
    assert "the limit of 10 items is lifted" in note


def test_other_filters_of_a_known_job_are_noted() -> None:
    """Files that the new filters leave out are no longer part of the job: the user is told both."""
    asked = asked_job.of_known(c.Start(include=[], exclude=["*.gif"]), made_with(include=["*.jpg"]))
    assert (asked.spec.include, asked.spec.exclude) == ((), ("*.gif",))
    assert [note.partition(":")[0] for note in asked.notes] == [
        "--include of this job is now nothing (it was *.jpg)",
        "--exclude of this job is now *.gif (it was nothing)",
    ]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"embed": "other"}, "--embed other was asked, but the job was made with builtin"),
        ({"seed": 3}, "--seed 3 was asked, but the job was made without it"),
        ({"exact": True}, "--exact True was asked, but the job was made without it"),
        ({"passes": 2}, "--passes 2 was asked, but the job was made with 1"),
    ],
)
def test_steps_of_a_known_job_do_not_change(asked: dict[str, Any], words: str) -> None:
    """The error names the flag and both values, and shows the way to a second job."""
    with pytest.raises(IngestError, match=words) as caught:
        asked_job.of_known(c.Start(**asked), made_with())
    assert "--name" in caught.value.remedy
    assert caught.value.exit == EXIT_USAGE


def test_the_same_steps_may_be_asked_for_again() -> None:
    """Also where a job has them only by default."""
    again = c.Start(describe="builtin", embed="builtin", passes=1, exact=False)
    assert asked_job.of_known(again, made_with()).notes == []
