"""The layer rule of ``ingestd/__init__`` is kept: read from the imports, with ``ast``, nothing executed."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INGESTD = ROOT / "ingestd"

# Packages whose __init__ is a docstring alone count as words.
WORDS = {
    "ingestd",
    "ingestd.errors",
    "ingestd.paths",
    "ingestd.protocol",
    "ingestd.supervisor",
    "ingestd.control",
    "ingestd.ledger",
}
POLICY = {"ingestd.config", "ingestd.records"}
MECHANISM = {"ingestd.supervisor.children", "ingestd.catalogue_file"}
CHILDREN = (
    "ingestd.walker",
    "ingestd.worker",
    "ingestd.sinks",
    "ingestd.catalogue",
    "ingestd.child",
    "ingestd.child_channel",
)
HEAVY = {"torch", "numpy", "PIL", "qdrant_edge", "qdrant_client", "transformers", "safetensors"}


def layer_of(module: str) -> int | None:
    """0 words, 1 policy, 2 mechanism, 3 conduct, 4 root, 5 what is shipped for tests; None for children."""
    if module in CHILDREN or module.startswith(tuple(f"{child}." for child in CHILDREN)):
        return None
    if module in WORDS or module.startswith(("ingestd.protocol.", "ingestd.lockdown", "ingestd.kinds")):
        return 0
    if module in POLICY or module.startswith("ingestd.policy"):
        return 1
    mechanism = ("ingestd.ledger", "ingestd.host", "ingestd.logs", "ingestd.executors")
    if module.startswith(mechanism) or module in MECHANISM:
        return 2
    if module.startswith(("ingestd.supervisor.", "ingestd.control")):
        return 3
    if module.startswith("ingestd.testing"):
        return 5
    return 4


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(INGESTD.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth of its code, as written."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_used(module: str) -> set[str]:
    """Every other file that a file imports: of ``from package import module`` the module, not the package."""
    used: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            used |= {name if name in MODULES else node.module for name in full}
    return (used & MODULES.keys()) - {module}


MODULES = modules()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_its_own_layer_or_those_below(module: str) -> None:
    """A layer may use the ones under it and itself, never one above; children use words and the ledger's reader.
    What is shipped for tests may use everything, and nobody uses it."""
    own = layer_of(module)
    for name in imports(MODULES[module]):
        if name not in MODULES:
            continue
        used = layer_of(name)
        if own is None:
            room = module.split(".")[1]
            fine = used == 0 or name.startswith((f"ingestd.{room}", "ingestd.child")) or name == "ingestd.ledger.reader"
            assert fine, f"the child {module} imports {name}"
        else:
            if used is None:
                assert own == 5, f"{module} imports the child {name}: children are started, not imported"
                continue
            assert used <= own, f"{module} (layer {own}) imports {name} (layer {used})"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside of functions count: files that need each other are one file, or three. The client's test of this
    is in ``tests/ctl/test_files.py``."""
    graph = {module: files_used(module) for module in MODULES}
    assert "ingestd.supervisor.loop" in graph["ingestd.daemon"], "the imports of this very package were found"
    TopologicalSorter(graph).prepare()  # raises CycleError, with the files of the circle


@pytest.mark.parametrize("module", [m for m in MODULES if layer_of(m) in (0, 1)])
def test_policy_touches_nothing(module: str) -> None:
    """What decides has no clock, no processes, no database and no event loop: everything is passed in."""
    banned = {"time", "subprocess", "sqlite3", "asyncio", "anyio", "socket", "threading", "psutil", "structlog"}
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & banned


@pytest.mark.parametrize("module", [m for m in MODULES if layer_of(m) is not None])
def test_the_daemon_imports_nothing_heavy(module: str) -> None:
    """Models, images and stores belong to children: nothing native can stall or kill the daemon."""
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & HEAVY


@pytest.mark.parametrize("module", [m for m in MODULES if layer_of(m) != 5])
def test_pytest_is_for_what_is_shipped_for_tests(module: str) -> None:
    """What runs has no need of it."""
    assert "pytest" not in {name.split(".")[0] for name in imports(MODULES[module])}


def test_mechanisms_do_not_know_each_other() -> None:
    """The ledger, the host and the executors do not import one another, nor the children's keeper."""
    for module, path in MODULES.items():
        if module.startswith("ingestd.ledger"):
            assert not any(name.startswith(("ingestd.host", "ingestd.supervisor")) for name in imports(path)), module
        if module.startswith("ingestd.host"):
            assert not any(name.startswith(("ingestd.ledger", "ingestd.supervisor")) for name in imports(path)), module
        if module.startswith("ingestd.executors"):
            others = ("ingestd.ledger", "ingestd.host", "ingestd.supervisor")
            assert not any(name.startswith(others) for name in imports(path)), module


def test_sql_has_one_room() -> None:
    """No SQL outside ``ingestd/ledger``; there it stands in the .sql files, pragmas and transactions apart."""
    words = ("SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM")
    for module, path in MODULES.items():
        if module.startswith("ingestd.ledger") or module == "ingestd.testing.feed":  # which makes a ledger by hand
            continue
        strings = [
            n.value
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        assert not any(text.lstrip().startswith(words) for text in strings), module


def test_the_client_uses_the_standard_library_alone() -> None:
    """``ingestctl status`` loads nothing that was installed: it starts in the time of a bare interpreter."""
    code = (
        "import sys; before = set(sys.modules); sys.argv = ['ingestctl', 'status']\n"
        "import ingestctl.main\n"
        "try: ingestctl.main.main()\n"
        "except SystemExit: pass\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before} - {'ingestctl'}\n"
        "print('FOREIGN', sorted(m for m in new if m not in sys.stdlib_module_names))\n"
    )
    env = {"PATH": "/usr/bin:/bin", "INGESTD_HOME": "/nonexistent/ingestd", "HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert "FOREIGN []" in done.stdout, done.stdout + done.stderr
