"""What the daemon says can be found in a real journal by field, by priority and by unit."""

from __future__ import annotations

import json

from tests.system.unit import META, Unit


def test_entries_carry_their_fields_and_priorities(unit: Unit) -> None:
    """A file that cannot be read is a warning about its item; the job's own moves are information."""
    name = f"logged-{unit.kind}"
    folder = unit.photos(name, 3)
    unit.sandbox.path(f"{folder}/bad.jpg").write_bytes(b"no image")
    unit.ctl("start", folder, "--name", name, *META)
    counts = unit.finish(name)["counts"]
    assert (counts["done"], counts["failed"]) == (3, 1)

    found = unit.entries(f"INGESTD_JOB={name}")
    (failure,) = (entry for entry in found if entry["INGESTD_EVENT"] == "item failed")
    message = json.loads(failure["MESSAGE"])
    assert (failure["PRIORITY"], message["level"]) == ("4", "warning")
    ((item,),) = unit.query("SELECT id FROM item WHERE name = CAST('bad.jpg' AS BLOB)")
    assert failure["INGESTD_ITEM"] == str(item) == str(message["item"])
    assert int(failure["INGESTD_PID"]) != unit.pid  # the worker's
    assert int(failure["INGESTD_BATCH"]) == message["batch"]
    moves = [entry for entry in found if entry["INGESTD_EVENT"] == "job status"]
    assert [json.loads(entry["MESSAGE"])["status"] for entry in moves][-1] == "completed"
    assert {entry["PRIORITY"] for entry in moves} == {"6"}

    assert unit.entries(f"INGESTD_ITEM={item}", f"INGESTD_JOB={name}") == [failure]
    warnings = unit.entries(f"INGESTD_JOB={name}", "--priority=warning")
    assert failure in warnings
    assert {entry["PRIORITY"] for entry in warnings} <= {"2", "3", "4"}


def test_the_units_own_view_has_them(unit: Unit) -> None:
    """``journalctl -u`` and ``ingestctl service logs`` show the daemon's lines, as the manager and a person ask."""
    name = f"seen-{unit.kind}"
    unit.start(name, 2)
    unit.finish(name)
    scope = "--unit" if unit.kind == "system" else "--user-unit"
    lines = unit.entries(f"INGESTD_JOB={name}")
    assert lines
    of_unit = unit.entries(f"{scope}={unit.name}", user=unit.manager_user)
    assert all(line in of_unit for line in lines)
    assert lines[-1]["MESSAGE"] in unit.service("logs")
