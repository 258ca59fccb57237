"""``models list|pull|remove`` as a person runs them: the real client, the real child, a real hub on loopback."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import jobs
from ingestd.ledger.ledger import open_writer
from ingestd.records import RootRef
from tests import hubkit
from tests.ctl.ctlkit import Home, on_terminal, plain, until
from tests.jobkit import job_spec

ID = "google/siglip2-base-patch16-224"
WEIGHTS = "model.safetensors"
NEEDED = ("config.json", "tokenizer.json", "preprocessor_config.json", WEIGHTS)


@pytest.fixture
def served() -> Iterator[hubkit.Hub]:
    with hubkit.hub() as served:
        yield served


@pytest.fixture
def at(home: Home, served: hubkit.Hub, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose clients know the hub, and a cache of their own, named from where they stand."""
    known = home.env()
    known |= {"HF_ENDPOINT": served.url, "HF_HOME": "../hf", "HF_HUB_OFFLINE": "0"}
    monkeypatch.setattr(home, "env", lambda **changes: known | changes)
    return home


def cache(home: Home) -> Path:
    return home.folder / "hf" / "hub"


def came(home: Home) -> int:
    """Bytes of the largest file under way."""
    return max((path.stat().st_size for path in cache(home).glob("*/blobs/*.incomplete")), default=0)


def add_job(home: Home, name: str, status: str, **spec: str) -> None:
    """A job in this home's ledger, as a daemon that ended has left it."""
    state = home.folder / "state"
    state.mkdir(exist_ok=True)
    db, _ = open_writer(state / "ledger.db", 1)
    ((root),) = jobs.add_roots(db, [(b"/photos", 1, "ext4")])
    row = jobs.add(
        db, uuid=f"uuid-{name}", name=name, refs=[RootRef(root)], spec=job_spec(**spec),  # type: ignore[arg-type]
        sinks=[SinkSpec("jsonl", "jsonl")], actor="me", now=1,
    )  # fmt: skip
    jobs.set_status(db, row.id, status, "", "me", 2)  # type: ignore[arg-type]
    db.close()


def test_a_model_from_the_hub_to_the_shelf_and_away(at: Home, served: hubkit.Hub) -> None:
    """pull says the disk first, the place last; list shows it; a second pull asks nobody; remove says what it frees."""
    files = hubkit.clip()
    commit = served.publish(ID, files)
    total = sum(len(files[name]) for name in NEEDED)

    ran = at.run("models", "pull", "siglip2")
    assert (ran.code, ran.err) == (0, ""), ran
    first, *_, end = ran.out.splitlines()
    assert first.startswith(f"siglip2 is {ID} at {commit[:12]}: 3.0 MB to fetch; ")
    assert first.endswith(f" free in {cache(at)}")
    assert end.startswith(f"siglip2 is here (3.0 MB fetched): {cache(at)}/")

    ran = at.run("models", "list")
    assert ran.code == 0
    rows = {line.split()[0]: line.split() for line in ran.out.splitlines()}
    assert rows["siglip2"][1:5] == ["embed", "3.0", "MB", commit[:12]]
    assert rows["builtin"][1:3] == ["describe,", "embed"]
    assert "not here" in " ".join(rows["smolvlm"])

    listed = json.loads(at.run("models", "list", "--json").out)
    row = next(row for row in listed["models"] if row["name"] == "siglip2")
    assert (row["state"], row["kinds"], row["size"], row["hub_id"], row["revision"]) == (
        "here",
        ["embed"],
        total,
        ID,
        commit,
    )
    assert (Path(row["folder"]) / WEIGHTS).read_bytes() == files[WEIGHTS]

    asked = len(served.requests)
    ran = at.run("models", "pull", ID)
    assert "it was here already" in ran.out
    assert len(served.requests) == asked

    ran = at.run("models", "remove", "siglip2")
    assert (ran.code, ran.out, ran.err) == (0, f"siglip2 ({ID}) is removed: 3.0 MB freed\n", ""), ran
    assert not any(cache(at).glob("models--*"))
    ran = at.run("models", "remove", "siglip2")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"Error: cannot remove the model 'siglip2': {ID} is not on this machine\nTry: ")


def test_an_interrupted_pull_says_so_and_goes_on(at: Home, served: hubkit.Hub) -> None:
    """Ctrl-C exits 130 with the way on; no process stays; the next pull asks for the rest alone."""
    files = hubkit.clip(4_000_000)
    served.publish(ID, files)
    gate = threading.Event()
    served.faults = hubkit.Faults(gate=gate)
    client = at.popen("models", "pull", "siglip2")
    until(lambda: came(at) > 500_000)
    under_way = psutil.Process(client.pid).children(recursive=True)
    assert len(under_way) == 2  # the answering process and its child
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=20)
    assert client.returncode == 130
    assert err.decode() == "interrupted; what has come stays: ingestctl models pull siglip2 goes on from there\n"
    until(lambda: not any(process.is_running() for process in under_way))
    gate.set()
    served.faults = hubkit.Faults()
    kept = came(at)
    assert kept > 500_000
    ran = at.run("models", "pull", "siglip2")
    assert ran.code == 0, ran
    assert "are here already" in ran.out.splitlines()[0]
    assert served.asked(WEIGHTS)[-1].range == f"bytes={kept}-"


def test_progress_for_scripts_and_in_a_pipe(at: Home, served: hubkit.Hub) -> None:
    """--json prints what happens, one document a line; a pipe gets lines without control characters."""
    served.publish(ID, hubkit.clip())
    served.publish("someone/else", hubkit.clip(seed=1))
    documents = [json.loads(line) for line in at.run("models", "pull", "siglip2", "--json").out.splitlines()]
    assert [next(iter(document)) for document in (documents[0], *documents[-2:])] == ["planned", "fetching", "pulled"]
    assert documents[-2]["fetching"]["done"] == documents[0]["planned"]["total"]
    out = at.run("models", "pull", "someone/else").out
    assert "\x1b" not in out
    assert "\r" not in out
    assert any(line.startswith("someone/else: ") and " of 3.0 MB" in line for line in out.splitlines())


def test_a_bar_on_a_terminal(at: Home, served: hubkit.Hub) -> None:
    """The bar is redrawn in place, fits the width, and gives way to the result."""
    served.publish(ID, hubkit.clip())
    served.faults = hubkit.Faults(slow_s=0.03)
    code, drawn = on_terminal(at.cwd, at.env(TERM="xterm", COLUMNS="70"), "models", "pull", "siglip2")
    assert code == 0
    bars = [line for line in drawn if "░" in line]
    assert len(bars) > 1
    assert all(len(line) < 70 for line in bars), bars
    assert plain(drawn[-1]).startswith("siglip2 is here (3.0 MB fetched)")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["pull", "no/such"], 1, "has no model no/such"),
        (["pull", "sigllip"], 1, "Did you mean 'siglip'?"),
        (["pull", "builtin"], 1, "it ships with ingestd"),
        (["pull", "openai:http://127.0.0.1:1#m"], 1, "an endpoint's models are the endpoint's own"),
        (["pull", "./folder"], 1, "cannot find the model '/"),
        (["pull"], 2, "it needs the NAME of a model"),
        (["list", "siglip2"], 2, "it takes no NAME"),
        (["pull", "siglip2", "--force"], 2, "--force is for remove"),
        (["burn", "siglip2"], 2, "list|pull|remove"),
    ],
)
def test_what_cannot_be_done_is_said(at: Home, words: list[str], code: int, says: str) -> None:
    """Exit 1 for what is wrong, 2 for wrong words, with operation, object and remedy on stderr alone."""
    ran = at.run("models", *words)
    assert (ran.code, ran.out) == (code, ""), ran
    assert says in ran.err


def test_a_hub_out_of_reach_is_exit_5_and_offline_is_exit_1(at: Home, served: hubkit.Hub) -> None:
    """What may come right by itself is told apart from what was asked for; both name the ways on."""
    served.publish(ID, hubkit.clip(1000))
    served.faults = hubkit.Faults(statuses=[(503, "")], retry_after="3600")
    ran = at.run("models", "pull", "siglip2")
    assert (ran.code, ran.out) == (5, ""), ran
    assert "is out of order (status 503)" in ran.err
    assert "'builtin'" in ran.err
    ran = at.run("models", "pull", "siglip2", env={"HF_HUB_OFFLINE": "1"})
    assert (ran.code, ran.out) == (1, ""), ran
    assert "HF_HUB_OFFLINE forbids fetching it" in ran.err


def test_a_model_that_a_job_needs_stays_unless_forced(at: Home, served: hubkit.Hub) -> None:
    """The ledger is looked at: an active job keeps its model; with --force it is said what follows for each job."""
    served.publish(ID, hubkit.clip(1000))
    assert at.run("models", "pull", "siglip2").code == 0
    add_job(at, "holiday", "paused", embed=ID)
    add_job(at, "old", "completed", embed="siglip2:base")
    add_job(at, "other", "queued")
    ran = at.run("models", "remove", "siglip2")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: cannot remove the model 'siglip2': the job holiday is not over and needs it\n")
    assert any(cache(at).glob("models--*"))
    ran = at.run("models", "remove", "siglip2", "--force")
    assert ran.code == 0, ran
    notes = ran.err.splitlines()
    assert {note.split()[3] for note in notes} == {"holiday", "old"}
    assert all(note.startswith("Note: the job ") for note in notes)
    assert not any(cache(at).glob("models--*"))


def test_a_ledger_that_cannot_be_read_stops_a_removal(at: Home, served: hubkit.Hub) -> None:
    """Whether a job needs the model is not known then; --force goes on without that knowledge."""
    served.publish(ID, hubkit.clip(1000))
    assert at.run("models", "pull", "siglip2").code == 0
    (at.folder / "state" / "ledger.db").write_bytes(b"no database" * 1000)
    ran = at.run("models", "remove", "siglip2")
    assert (ran.code, ran.out) == (1, ""), ran
    assert "cannot read the ledger" in ran.err
    assert at.run("models", "remove", "siglip2", "--force").code == 0
