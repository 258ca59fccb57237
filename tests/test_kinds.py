"""A kind is known where it is declared and where its own code is, and nowhere else: read with ``ast``, nothing runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.kinds.sinks import SHIPPED, words_of

ROOT = Path(__file__).parent.parent

OWN = ("ingestd/kinds/", "ingestd/protocol/addresses/", "ctl/ingestctl/kinds.py")
"""Where declarations are, with the forms of their addresses, and the client's table of what ships."""

EXCEPTIONS = {
    "ctl/ingestctl/argument_values.py": "the example in an error",
    "ctl/ingestctl/manual/ingestctl_page.py": "the manual",
    "ctl/ingestctl/manual/ingestd_page.py": "the manual: every setting by its name",
    "ctl/ingestctl/verbs/start.py": "help and examples",
    "ingestd/testing/sink_places.py": "the contract's example is the one that needs nothing else",
    "ingestd/testing/test_sinks.py": "the contract's example is the one that needs nothing else",
}
"""Texts for people, and what the client must know by itself."""

NAMES = sorted({*SHIPPED, *words_of()}, key=len)
FOLDERS = [path.name for path in (ROOT / "ingestd" / "sinks").iterdir() if (path / "__init__.py").exists()]


def told(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name and every text of a file but its docstrings, with the line."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docs:
                yield line, text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.keyword(arg=str(text)):
                yield line, text
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                yield line, text
            case ast.Import(names=names):
                yield from ((line, f"{alias.name} {alias.asname or ''}") for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield line, " ".join([module or "", *(f"{alias.name} {alias.asname or ''}" for alias in names)])


def named(path: Path) -> list[str]:
    """Where a file names a kind."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [f"{line}: {text[:60]!r}" for line, text in told(tree) if any(name in text.casefold() for name in NAMES)]


def sources() -> dict[str, Path]:
    files = (path for room in ("ingestd", "ctl") for path in sorted((ROOT / room).rglob("*.py")))
    found = {path.relative_to(ROOT).as_posix(): path for path in files}
    own = (*OWN, *(f"ingestd/sinks/{folder}/" for folder in FOLDERS))
    return {name: path for name, path in found.items() if not name.startswith(own)}


SOURCES = sources()


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in EXCEPTIONS])
def test_no_other_file_names_a_kind_of_sink(name: str) -> None:
    """Who adds a kind edits its declaration and its folder."""
    assert named(SOURCES[name]) == []


def test_no_exception_is_left_over() -> None:
    """Each file that may name a kind is there and does."""
    assert [name for name in EXCEPTIONS if name not in SOURCES or not named(SOURCES[name])] == []


def test_each_kind_has_its_code_in_a_folder_of_its_own() -> None:
    """What it is made of and looked at with lies together."""
    for kind in SHIPPED.values():
        for module in (kind.module.partition(":")[0], kind.doctor):
            assert module.startswith(tuple(f"ingestd.sinks.{folder}." for folder in FOLDERS)), module


def test_a_name_would_be_seen(tmp_path: Path) -> None:
    """The reading itself: in a text, a part of one, a name, an import; not in a docstring or a comment."""
    for line in (
        "x = 'jsonl'", "x = f'{y}: Qdrant'", "qdrant_edge()", "x.jsonl", "import qdrant_edge", "f(jsonl=1)",
        "from a.jsonl import b", "def jsonl(): pass", "match x:\n    case 'qdrant-server': pass",
    ):  # fmt: skip
        (tmp_path / "a.py").write_text(line)
        assert named(tmp_path / "a.py"), line
    (tmp_path / "a.py").write_text('"""jsonl"""\nX = 1\n"""qdrant"""\n\ndef f():\n    """jsonl"""  # qdrant\n')
    assert named(tmp_path / "a.py") == []
