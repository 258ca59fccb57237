"""Declarations of sinks: those that ship, one from a file, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingestd import config
from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds import sink_addresses
from ingestd.kinds.sinks import API, SHIPPED, SinkKind, SinkSpec, declared, problem_of, words_of
from ingestd.kinds.steps import Setting
from ingestd.policy.disk_estimate import estimate
from ingestd.policy.recipe import sink_place
from ingestd.policy.sink_spec import default_sinks, keeps_vectors, parse_sinks, values_of
from ingestd.protocol.work import Step
from ingestd.sinks.qdrant.edge_sink import RESERVE

TABLE = SinkKind(
    "table",
    "a table",
    "plugin.table:Table",
    API,
    package="ingestd-table",
    takes=("nothing", "file", "url"),
    schemes={"tables": 7070},
    copies=0.5,
    ports=(7070,),
    secrets=("TABLE_KEY",),
    key_file="table_key_file",
    settings=(Setting("table_rows", "int", "rows of a page", "N", 1, 50), Setting("table_bold", "switch", "bold")),
)
KINDS = {**SHIPPED, "table": TABLE}


def changed(**values: Any) -> SinkKind:
    return msgspec.structs.replace(TABLE, **values)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_can_be_used(name: str) -> None:
    """Each declaration holds what it is held against, stands under its own name, and can be kept as JSON."""
    kind = SHIPPED[name]
    assert kind.name == name
    assert declared(name) == kind
    assert msgspec.json.decode(msgspec.json.encode(kind), type=SinkKind) == kind


def test_a_store_is_not_written_below_its_reserve() -> None:
    """The daemon's check and the sink's own go by one number, which the daemon cannot import."""
    assert SHIPPED["qdrant"].reserve == RESERVE


def test_what_a_job_gets_unasked() -> None:
    """As it always was."""
    assert (default_sinks(), words_of()) == ("qdrant,jsonl", ["qdrant", "jsonl"])
    assert [kind for kind in SHIPPED if keeps_vectors(kind)] == ["qdrant", "qdrant-server"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"api": API + 1}, f"written for version {API + 1}"),
        ({"name": "Table"}, "name or word"),
        ({"word": "a b"}, "name or word"),
        ({"takes": ()}, "how it is written"),
        ({"place": "../elsewhere"}, "place is no plain name"),
        ({"place": "a/b"}, "place is no plain name"),
        ({"settings": (Setting("device", "text", "x"),)}, "do not begin with table_"),
        ({"key_file": "qdrant_key_file"}, "do not begin with table_"),
        ({"key_file": "table_key"}, "does not end in _key_file"),
        ({"secrets": ("a-b",)}, "no names of variables"),
        ({"secrets": ()}, "no variable for one"),
        ({"ports": "address"}, "may have no address"),
        ({"schemes": {}}, "knows no scheme"),
        ({"module": "plugin.table"}, "package.module:C"),
        ({"doctor": "not a module"}, "no name of a module"),
        ({"takes": ("file",), "default": True}, "cannot be asked for by its word alone"),
    ],
)
def test_a_declaration_that_cannot_be_used(changes: dict[str, Any], says: str) -> None:
    """It is refused with the package that it is from, wherever its kind is asked for."""
    bad = changed(**changes)
    assert says in problem_of(bad)
    assert "ingestd-table" in problem_of(bad)
    with pytest.raises(Misconfigured) as caught:
        declared("table", {"table": bad})
    assert caught.value.exit == EXIT_USAGE


def test_a_kind_that_nobody_declares() -> None:
    """It is refused by name, with what there is."""
    with pytest.raises(Misconfigured, match="no sink of this kind") as caught:
        declared("table")
    assert "there are qdrant, jsonl" in caught.value.remedy
    assert not keeps_vectors("table")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("table", SinkSpec("table", "table")),
        ("table:/a/b", SinkSpec("table:/a/b", "table", "/a/b")),
        ("table:tables://nas/x", SinkSpec("table:tables://nas/x", "table", "tables://nas/x")),
    ],
)
def test_another_packages_kind_is_asked_for_like_ours(text: str, spec: SinkSpec) -> None:
    """What follows the word is read as the declaration says; what ships is read beside it."""
    assert parse_sinks([text, "jsonl"], KINDS) == [spec, SinkSpec("jsonl", "jsonl")]
    with pytest.raises(Misconfigured):
        parse_sinks([text])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("table:nas:7070", "no scheme"),
        ("table:http://nas", "no scheme"),
        ("table:tables://me:HUNTER2@nas", "credentials"),
        ("table:tables://nas:0", "port is 0"),
        ("table:tables://nas:seven", "cannot be read"),
        ("table:tables://", "host is missing"),
        ("table:tables://n as", "no URL has"),
    ],
)
def test_an_address_that_cannot_be(text: str, says: str) -> None:
    """Each for its reason, with the form to write, and nothing of it repeated."""
    with pytest.raises(Misconfigured) as caught:
        parse_sinks([text], KINDS)
    assert says in caught.value.message
    assert "tables://HOST:PORT" in caught.value.remedy
    assert "HUNTER2" not in caught.value.sentence()


def test_a_word_that_takes_nothing_or_needs_something() -> None:
    """Both are said, with every form that there is."""
    only = {"table": changed(takes=("nothing",), schemes={})}
    with pytest.raises(Misconfigured, match="nothing can follow") as caught:
        parse_sinks(["table:/a"], {**SHIPPED, **only})
    assert "Use --sink qdrant, qdrant:URL, jsonl, jsonl:/absolute/file or table;" in caught.value.remedy
    with pytest.raises(Misconfigured, match="its place is missing"):
        parse_sinks(["table"], {"table": changed(takes=("file",))})


def test_a_port_and_what_people_see() -> None:
    """The address's own, or the scheme's."""
    assert sink_addresses.port_of(TABLE, "tables://nas:81/x") == 81
    assert sink_addresses.port_of(TABLE, "tables://[::1]/x/") == 7070
    assert sink_addresses.shown(TABLE, "tables://[::1]/x/", "store") == "tables://[::1]:7070/x"
    assert sink_addresses.port_of(SHIPPED["qdrant-server"], "grpc://nas") == 6334


def test_its_settings_are_keys_of_the_configuration() -> None:
    """They have no value unless one is given, are checked by their declaration, and reach the sink by type."""
    found = config.load({"INGESTD_TABLE_ROWS": "7"}, 'table_bold = "yes"', "config.toml", sink_kinds=KINDS)
    assert values_of(TABLE, found.get) == {"table_rows": 7, "table_bold": True}
    assert values_of(TABLE, config.load({}, None, "", sink_kinds=KINDS).get) == {}
    for wrong in ({"TABLE_ROWS": "51"}, {"TABLE_ROWS": "x"}, {"TABLE_BOLD": "maybe"}, {"TABLE_KEY_FILE": "k"}):
        with pytest.raises(Misconfigured):
            config.load({f"INGESTD_{key}": value for key, value in wrong.items()}, None, "", sink_kinds=KINDS)
    with pytest.raises(Misconfigured, match="no key 'table_rows'"):
        config.load({}, "table_rows = 7", "config.toml")


def test_a_place_in_the_state_folder() -> None:
    """Named by the declaration, with the vectors' mark where it asks for one; of a kind that is gone, the folder."""
    steps = [Step(0, "embed", "f", {"dim": 2})]
    state = Path("/state")

    def place(kind: str, steps: list[Step]) -> str:
        return sink_place(state, "u", SinkSpec(kind, kind), steps, KINDS)

    assert place("table", steps) == "/state/sinks/u/table"
    assert place("jsonl", []) == "/state/sinks/u/items.jsonl"
    assert place("qdrant", []) == "/state/sinks/u"
    assert place("qdrant", steps).startswith("/state/sinks/u/qdrant-")
    assert place("punchcards", steps) == "/state/sinks/u"


def test_bytes_on_this_disk() -> None:
    """As often as the declaration says; a server's are elsewhere."""
    alone = estimate(10, 1000, [], 0)
    assert estimate(10, 1000, ["qdrant-server"], 0) == alone
    assert alone.needed < estimate(10, 1000, ["table"], 0, KINDS).needed < estimate(10, 1000, ["jsonl"], 0).needed
