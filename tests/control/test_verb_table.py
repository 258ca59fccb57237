"""A verb has one name everywhere: in the protocol, in the table of handlers, as a file, and in the client."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from ingestctl import main

from ingestd.control import verb_table, verbs
from ingestd.protocol import control as c

NOT_IN_THE_CLIENT = {"hello", "subscribe"}
"""Verbs for programs: the client says hello by itself, and follows a job by asking for its status."""


def test_the_files_are_the_table() -> None:
    """Every verb of the protocol has one file and one row, and there are no others."""
    (folder,) = verbs.__path__
    files = {path.stem for path in Path(folder).glob("*.py")} - {"__init__"}
    assert files == set(c.VERBS)
    assert sorted([*verb_table.HANDLERS, *verb_table.STREAMS]) == sorted(files)


@pytest.mark.parametrize("verb", c.VERBS)
def test_a_handler_takes_and_gives_its_verbs_structs(verb: str) -> None:
    """The row ``pause`` is the handler in ``pause.py``, from ``Pause`` to the reply that the protocol names."""
    handler = verb_table.HANDLERS.get(verb) or verb_table.STREAMS[verb]
    params, reply = c.VERBS[verb]
    hints = typing.get_type_hints(handler)
    assert handler.__module__ == f"{verbs.__name__}.{verb}"
    assert hints["params"] is params
    assert hints["return"] is (reply if verb in verb_table.HANDLERS else type(None))


@pytest.mark.parametrize("verb", sorted(set(c.VERBS) - NOT_IN_THE_CLIENT))
def test_the_client_has_the_verb(verb: str) -> None:
    """What a person may ask of the daemon, the client can ask: the verb is listed, and its arguments are read."""
    assert verb in main.VERBS
    assert main.parser_of(verb).prog == f"ingestctl {verb}"


def test_the_client_lists_no_verb_for_programs() -> None:
    """``hello`` and ``subscribe`` are not for people."""
    assert not NOT_IN_THE_CLIENT & set(main.VERBS)
