"""What contributors are given is true: the checklists, filled in with what is there already, the hooks, the forms."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from ingestd.kinds import media, steps
from tests.docskit import ROOT, section, text_of

CONTRIBUTING = text_of("CONTRIBUTING.md")

VERBS = ("pause", "status", "start", "search", "shutdown")
EXAMPLES = [
    *(("Add a verb", "verb", verb) for verb in VERBS),
    ("Add a sink", "kind", "jsonl"),
    *(("Add a step", "step", name) for name in steps.SHIPPED if name != steps.META.name),
    *(("Add a medium", "medium", name) for name in media.MODULES),
]
"""A checklist, what it leaves to be filled in, and with what that is done here. ``meta`` is nobody's ask."""

LISTS = ("Add a verb", "Add a sink", "Add a step", "Add a medium", "Change the ledger")


class Place(NamedTuple):
    """A path of a checklist, with the tables that have a row there (one of them), or the section of a document."""

    path: str
    tables: tuple[str, ...]
    section: str


def place(line: str) -> Place:
    """From the text of an entry: its path comes first."""
    head = re.match(r"`([^`]+)`", line)
    assert head, f"an entry begins with a path: {line}"
    heading = re.search(r"section \*([^*]+)\*", line)
    return Place(head[1], tuple(re.findall(r"(?:row|name) in `(\w+)`", line)), heading[1] if heading else "")


def entries(heading: str) -> list[list[Place]]:
    """The entries of a checklist; each is one place, or several of which one is enough."""
    found: list[list[str]] = []
    for line in section(CONTRIBUTING, heading).splitlines():
        if line.startswith("- [ ] "):
            found.append([line.removeprefix("- [ ] ")])
        elif line.startswith("  - "):
            found[-1].append(line.removeprefix("  - "))
        elif line.startswith("  ") and found:
            found[-1][-1] += line
    return [[place(line) for line in (lines[1:] or lines)] for lines in found]


ROWS = [
    pytest.param(what, example, places, id=f"{example}-{places[0].path}")
    for heading, what, example in EXAMPLES
    for places in entries(heading)
]


def assigned(path: Path, name: str) -> str:
    """The source of what ``name`` is set to in a module or a class of it. Raises ``LookupError`` where it is not."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            return (ast.get_source_segment(source, value) or "") if value is not None else ""
    raise LookupError(f"{path} has no {name}")


def trouble(place: Place, what: str, example: str) -> str:
    """What an entry names that is not there; "" when everything is."""
    path = ROOT / place.path.replace(f"<{what}>", example.replace("-", "_"))
    if not path.exists():
        return f"there is no {path.relative_to(ROOT)}"
    word = re.compile(rf"\b{re.escape(example).replace('_', '[_-]')}\b", re.IGNORECASE)
    if place.tables and not any(word.search(assigned(path, table)) for table in place.tables):
        return f"{path.relative_to(ROOT)} has no row for {example} in {' or '.join(place.tables)}"
    if place.section:
        body = section(path.read_text(encoding="utf-8"), place.section)
        if path.name != "CHANGELOG.md" and what and not word.search(body):
            return f"the section {place.section} of {path.name} does not speak of {example}"
    return ""


@pytest.mark.parametrize(("what", "example", "places"), ROWS)
def test_an_entry_holds_for_what_is_there(what: str, example: str, places: list[Place]) -> None:
    """The path exists, the table has its row, the document speaks of it; of alternatives one is enough."""
    troubles = [trouble(place, what, example) for place in places]
    assert "" in troubles, troubles


@pytest.mark.parametrize("places", entries("Change the ledger"), ids=lambda places: places[0].path)
def test_the_ledgers_entries_exist(places: list[Place]) -> None:
    """This list has nothing to fill in."""
    assert [trouble(place, "", "") for place in places] == [""] * len(places)


def test_the_lists_are_read() -> None:
    """Each has entries and leaves nothing else to be filled in than what it says."""
    for heading in LISTS:
        left = set(re.findall(r"<(\w+)>", section(CONTRIBUTING, heading)))
        assert left == {what for named, what, _ in EXAMPLES if named == heading}, heading
        assert len(entries(heading)) >= 5, heading


def test_a_list_that_is_wrong_is_noticed() -> None:
    """A path, a row and a section that are not there are each told."""
    assert trouble(place("`ingestd/no/<verb>.py`: x"), "verb", "pause") == "there is no ingestd/no/pause.py"
    assert "no row for dance" in trouble(place("`ingestd/protocol/control.py`: a row in `VERBS`"), "verb", "dance")
    assert "does not speak" in trouble(place("`README.md`, section *Sinks*"), "kind", "parchment")
    with pytest.raises(LookupError):
        trouble(place("`ingestd/protocol/control.py`: a row in `WORDS`"), "verb", "pause")


# ------------------------------------------------------------------------------------------ a package of somebody else


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)


def test_the_declaration_is_one() -> None:
    """The example is a kind of step of this release's API, as the entry points above it name it."""
    (toml,), (code,) = blocks("toml"), blocks("python")
    points = tomllib.loads(toml)["project"]["entry-points"]
    assert set(points) == {"ingestd.steps", "ingestd.sinks"}
    names: dict[str, object] = {}
    exec(code, names)
    (kind,) = (value for value in names.values() if isinstance(value, steps.StepKind))
    assert kind.api == steps.API
    assert points["ingestd.steps"] == {kind.name: f"my_package.kinds:{kind.name.upper()}"}
    assert names[kind.name.upper()] is kind


def test_what_is_typed_exists() -> None:
    """Each ``make`` of the page is a target, and each module that is run is there."""
    makefile = text_of("Makefile")
    lines = "\n".join(blocks("sh"))
    for target in re.findall(r"^make (\w+)", lines, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in re.findall(r"--pyargs ([\w.]+)", lines):
        assert (ROOT / module.replace(".", "/") / "__init__.py").exists(), module
    for folder in re.findall(r"pytest [^#\n]*?(tests/\w+)", lines):
        assert (ROOT / folder).is_dir(), folder


# ---------------------------------------------------------------------------------------------------- hooks and forms


def test_the_hooks_are_what_make_check_runs() -> None:
    """Whoever commits with the hooks finds ``make check`` green; nothing is fetched for it."""
    config = yaml.safe_load(text_of(".pre-commit-config.yaml"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {(hook["language"], hook["pass_filenames"]) for hook in hooks} == {("system", False)}
    recipe = re.findall(r"^\t\$\(BIN\)/(.*)$", text_of("Makefile").partition("\ncheck:")[2].partition("\n\n")[0], re.M)
    assert len(recipe) >= 4
    assert {f".venv/bin/{line}" for line in recipe} <= {hook["entry"] for hook in hooks}


@pytest.mark.parametrize("name", ["bug_report", "feature_request"])
def test_an_issue_form_can_be_filled_in(name: str) -> None:
    """It has a name, says what it is for, and asks for something that must be given; no field has two meanings."""
    form = yaml.safe_load(text_of(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert form["name"]
    assert form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_a_report_has_what_is_needed_to_act() -> None:
    """Version, the doctor's findings and log lines are asked for, and must be given."""
    form = yaml.safe_load(text_of(".github/ISSUE_TEMPLATE/bug_report.yml"))
    needed = {part["id"] for part in form["body"] if part.get("validations", {}).get("required")}
    assert needed >= {"version", "doctor", "log"}
