"""The documents are true: what they link to and name exists, and their tables say what the code says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from ingestctl.main import VERBS

from ingestd.kinds import media
from ingestd.kinds.steps import SHIPPED
from ingestd.policy import states
from tests.docskit import ROOT, anchors, code, documents, links, prose, rows, section, tables, text_of
from tests.test_layers import MODULES, layer_of

OURS = [str(path.relative_to(ROOT)) for path in documents()]
FOR_DEVELOPERS = [path for path in OURS if path not in ("README.md", "CHANGELOG.md")]
FORMS = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml"))]
ARCHITECTURE = text_of("docs/architecture.md")

ELSEWHERE = {"aside/", "config.toml", "jobs/<uuid>.json", "kinds.json", "ledger.db"}
"""What the documents name that lies in a daemon's folders and not in the repository."""

ENTRY_POINTS = {"ingestd.sinks", "ingestd.steps"}

OLD_NAMES = r"\b(crew|desks?|doors?|lobby|look_main|preflight|seats?)\b"
"""What parts were called before their names said what they are."""

LAYERS = {
    "0, words": 0,
    "1, policy": 1,
    "2, mechanism": 2,
    "3, conduct": 3,
    "4, root": 4,
    "5, for tests": 5,
    "children": None,
}
"""The rows of the table of layers → what ``test_layers`` calls them."""


def test_there_are_documents() -> None:
    """The tests below look at these, so an empty list would say nothing."""
    named = {"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", ".github/pull_request_template.md"}
    assert set(OURS) >= named
    assert len(FORMS) >= 2


@pytest.mark.parametrize("path", OURS)
def test_links_lead_somewhere(path: str) -> None:
    """A link within the repository names a file that is there, and a heading of that file."""
    here = ROOT / path
    for link in links(here.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (here.parent / name).resolve() if name else here
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("path", OURS)
def test_tables_are_whole(path: str) -> None:
    """Each row has as many cells as the head: a reader of Markdown drops what is over."""
    for table in tables(text_of(path)):
        assert {len(row) for row in table} == {len(table[0])}, table[0]


def named(text: str) -> set[str]:
    """The paths that a document names in backticks."""
    return {
        token
        for token in code(text)
        if re.fullmatch(r"[\w.<>/-]+", token)
        and ("/" in token or re.search(r"\.(py|sql|md|toml|ya?ml|lock|sh|typed)$", token))
    }


@pytest.mark.parametrize("path", FOR_DEVELOPERS)
def test_paths_that_are_named_exist(path: str) -> None:
    """No document speaks of a file that was moved: from the root, or below ``ingestd/`` where that is the table's head.

    A path with a part to be filled in (``<verb>``) is a checklist's.
    """
    for token in named(text_of(path)) - ELSEWHERE:
        places = (ROOT / token, ROOT / "ingestd" / token, ROOT / "ingestd" / f"{token}.py")
        assert "<" in token or any(place.exists() for place in places), token


@pytest.mark.parametrize("path", FOR_DEVELOPERS)
def test_modules_that_are_named_exist(path: str) -> None:
    """A dotted name is a module of ours or something in one, or a group of entry points; no old name is left."""
    text = text_of(path)
    for token in set(re.findall(r"`(ingestd(?:\.\w+)+)`", text)) - ENTRY_POINTS:
        module, _, name = token.rpartition(".")
        inside = MODULES[module].read_text(encoding="utf-8") if module in MODULES else ""
        assert token in MODULES or re.search(rf"^(class |def )?{name}\b", inside, re.MULTILINE), token
    assert re.findall(OLD_NAMES, prose(text)) == []


@pytest.mark.parametrize("path", FOR_DEVELOPERS + FORMS)
def test_verbs_that_are_named_exist(path: str) -> None:
    """No document tells a reader to type what the client does not know."""
    for verb in re.findall(r"`[^`\n]*\bingestctl ([a-z]+)", text_of(path)):
        assert verb in VERBS, verb


# ---------------------------------------------------------------------------------------------------- the architecture


def told_layers() -> dict[str, str]:
    """Module, as the table of layers names it → the row that it stands in."""
    told: dict[str, str] = {}
    for layer, names, _ in rows(ARCHITECTURE, "Who may import whom"):
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in told, f"{name} stands in two rows"
            told[name] = layer
    return told


@pytest.mark.parametrize("module", [m for m in MODULES if MODULES[m].name != "__init__.py"])
def test_a_module_stands_in_its_layer(module: str) -> None:
    """The table puts each module where ``test_layers`` holds it; of two names the longer counts (``supervisor/…``)."""
    told = told_layers()
    place = module.removeprefix("ingestd.").replace(".", "/")
    (*_, name) = sorted(name for name in told if f"{place}/".startswith(f"{name}/"))
    assert told[name] not in LAYERS or layer_of(module) == LAYERS[told[name]]


def test_the_table_of_layers_names_what_is_there() -> None:
    """No row speaks of a module that is gone, or not there yet."""
    gone = {name for name in told_layers() if f"ingestd.{name.replace('/', '.')}" not in MODULES}
    assert gone == set()


def schema_tables() -> set[str]:
    return set(re.findall(r"^CREATE TABLE (\w+)", text_of("ingestd/ledger/schema.sql"), re.MULTILINE))


def test_every_table_of_the_ledger_is_explained() -> None:
    """One row each, and none for a table that is not there."""
    told = [cell.strip("`") for cell, _ in rows(ARCHITECTURE, "The ledger")]
    assert sorted(told) == sorted(schema_tables())


@pytest.mark.parametrize(("heading", "events"), [("Jobs", states.JobEvent), ("Items", states.ItemEvent)])
def test_every_event_is_explained(heading: str, events: object) -> None:
    """What moves a job or an item has a row that says what causes it."""
    told = [event for cell, _ in rows(ARCHITECTURE, heading) for event in re.findall(r"`(\w+)`", cell)]
    assert sorted(told) == sorted(get_args(events))


def test_the_diagrams_are_those_of_the_tables() -> None:
    """``--check`` is content with the page as it is."""
    done = subprocess.run([sys.executable, ROOT / "docs" / "draw_states.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_diagram_that_has_drifted_is_noticed(tmp_path: Path) -> None:
    """``--check`` exits with 1 and says what to do; without it the page is put right, and nothing else changes."""
    copy = tmp_path / "docs"
    copy.mkdir()
    (copy / "draw_states.py").write_text(text_of("docs/draw_states.py"))
    (copy / "architecture.md").write_text(ARCHITECTURE.replace("    queued --> running: turn\n", ""))

    def draw(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(copy / "draw_states.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})

    checked = draw("--check")
    assert (checked.returncode, "python docs/draw_states.py" in checked.stderr) == (1, True)
    assert draw().returncode == 0
    assert (copy / "architecture.md").read_text() == ARCHITECTURE


def constants() -> dict[str, set[float]]:
    """The numbers that modules of the product give names to, by name."""
    found: dict[str, set[float]] = {}
    for path in MODULES.values():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(node, "value", None)
            if (
                isinstance(target, ast.Name)
                and isinstance(value, ast.Constant)
                and isinstance(value.value, int | float)
            ):
                found.setdefault(target.id, set()).add(value.value)
    return found


def test_the_numbers_are_those_of_the_code() -> None:
    """Each constant in the table is defined somewhere with that value."""
    known = constants()
    for number, name, _ in rows(ARCHITECTURE, "Numbers"):
        assert float(number.removesuffix(" s")) in known.get(name.strip("`"), ()), name


def test_the_contents_list_the_sections() -> None:
    """The list at the top has every section, in order."""
    head = ARCHITECTURE.partition("\n## ")[0]
    assert re.findall(r"^- \[([^\]]+)\]", head, re.MULTILINE) == re.findall(r"^## (.+)$", ARCHITECTURE, re.MULTILINE)
    assert section(ARCHITECTURE, "Numbers")


# -------------------------------------------------------------------------------------------------------- the glossary

COMMON = """
asked awake away back before began begun changed closed closing delivered died disk encode encoded end ended error
fatal fetched fetching finish finished forgotten give gone grown hashed hello hits kill known locked looked lookup
lost made moved outcomes probed ready refused removed removing requested resolve resolved roots search send set short
sources spawn start started status stored tallied trouble waits wake wanted
"""
"""Words in the names of messages, events and commands that mean there what they mean in English, or that are a form of
a word in the glossary. A new word is added here, or explained there."""


def terms(heading: str) -> list[str]:
    """The words that a section of the glossary explains, in its order."""
    found = re.findall(r"^- \*\*([^*]+)\*\*([^:]*):", section(text_of("docs/glossary.md"), heading), re.MULTILINE)
    return [word for first, more in found for word in (first, *re.findall(r"\*\*([^*]+)\*\*", more))]


def message_words() -> set[str]:
    """The words that the names of messages, events and commands are made of."""
    found: set[str] = set()
    named = re.compile(r"ingestd\.(policy\.(messages|notices)|protocol\.(work|walk|sink))")
    for module in filter(named.fullmatch, MODULES):
        for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found |= {word.lower() for word in re.findall(r"[A-Z][a-z]+", node.name)}
    return found


def test_the_glossary_is_in_order() -> None:
    """Each word stands once, where the alphabet has it."""
    words = re.findall(r"^- \*\*([^*]+)\*\*", section(text_of("docs/glossary.md"), "Words"), re.MULTILINE)
    assert words == sorted(set(words), key=str.lower)


def test_every_table_stands_in_the_glossary() -> None:
    """Whoever reads the schema finds each of its words."""
    assert schema_tables() <= set(terms("Words"))


def test_every_state_stands_in_the_glossary() -> None:
    """The states of a job and of an item, in the order of the code."""
    assert terms("States of a job") == list(get_args(states.JobStatus))
    assert terms("States of an item") == list(get_args(states.ItemState))


def test_the_words_of_messages_stand_in_the_glossary() -> None:
    """What no dictionary explains is explained; and what is called a common word here is one of the code's."""
    explained = set(terms("Words")) | set(terms("States of an item"))
    assert message_words() - explained - set(COMMON.split()) == set()


def test_every_kind_stands_in_the_glossary() -> None:
    """Steps and media that ship are named where their words are explained."""
    assert {*SHIPPED, *media.MODULES} <= set(code(section(text_of("docs/glossary.md"), "Words")))


def test_bold_words_of_the_architecture_stand_in_the_glossary() -> None:
    """What that page prints bold within a sentence, the glossary explains. A bold beginning ends with a full stop."""
    bold = {word.lower() for word in re.findall(r"\*\*([^*]+)\*\*", ARCHITECTURE) if not word.endswith(".")} - {"bold"}
    explained = set(terms("Words"))
    assert {word for word in bold if not {word, word.removesuffix("s"), word.removesuffix("es")} & explained} == set()
    assert len(bold) > 15
