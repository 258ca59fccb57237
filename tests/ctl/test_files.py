"""The client's files: what each may import, and which names they may have."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from ingestctl.main import ALONE, VERBS

from ingestd.protocol import control

CTL = Path(__file__).resolve().parents[2] / "ctl"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((CTL / "ingestctl").rglob("*.py")):
        parts = path.relative_to(CTL).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Names of modules that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside of functions count: files that need each other are one file, or three."""
    known = modules()
    left = {name: {used for used in imported(path) if used in known} for name, path in known.items()}
    assert left["ingestctl.main"], "the imports of this very package were found"
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        for name in free:
            del left[name]
    assert left == {}


# ------------------------------------------------------------------------------------------------------------ the verbs


def files_of_verbs() -> set[str]:
    return {path.stem for path in (CTL / "ingestctl" / "verbs").glob("*.py")} - {"__init__"}


def test_one_file_per_verb() -> None:
    """Whoever looks for a verb finds it by its name, and no file there is anything but a verb."""
    assert files_of_verbs() == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_described_and_run(verb: str) -> None:
    """``arguments(parser)`` describes it, ``run(args)`` does it and returns the exit code: the same two everywhere."""
    module = import_module(f"ingestctl.verbs.{verb}")
    for name, parameters, result in (("arguments", ["parser"], "None"), ("run", ["args"], "int")):
        signature = inspect.signature(getattr(module, name))
        assert (list(signature.parameters), signature.return_annotation) == (parameters, result)


def test_every_verb_for_people_is_in_both() -> None:
    """A verb of the daemon's protocol has its file here under the same name; some verbs need no daemon."""
    assert set(control.VERBS) - files_of_verbs() == {"hello", "subscribe"}
    assert files_of_verbs() - set(control.VERBS) == ALONE


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_do_not_use_each_other(verb: str) -> None:
    """What two verbs share has a file of its own, named after what it does."""
    others = {f"ingestctl.verbs.{name}" for name in VERBS}
    assert not others & set(imported(modules()[f"ingestctl.verbs.{verb}"]))
