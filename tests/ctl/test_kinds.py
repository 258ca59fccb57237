"""The daemon's catalogue of kinds as the client reads it: flags, help, sinks, and what a bad file does (nothing)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ingestctl import kinds
from ingestctl.main import parser_of

from ingestd.kinds.sinks import words_of
from ingestd.kinds.steps import EXACT, META, SHIPPED
from ingestd.policy.job_spec import OLD_MODELS, OLD_SETTINGS
from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home, job

COLOURS: dict[str, Any] = {
    "name": "colours",
    "flag": "--colours",
    "metavar": "",
    "help": "the main colours, 100% of them",
    "takes": "switch",
    "choices": [],
    "settings": [
        {"flag": "--colours-count", "metavar": "N", "help": "how many", "type": "int", "low": 1, "high": 9},
        {"flag": "--colours-least", "metavar": "X", "help": "the smallest part", "type": "float", "low": 0, "high": 1},
        {"flag": "--colours-name", "metavar": "TEXT", "help": "of the palette", "type": "text"},
        {"flag": "--colours-named", "metavar": "", "help": "in words", "type": "switch", "name": "named"},
    ],
    "package": "ingestd-colours",
}
MOOD = {"name": "mood", "flag": "--mood", "metavar": "MODEL", "help": "the mood", "takes": "model", "package": "moods"}
FACES = {"name": "faces", "flag": "--faces", "help": "faces", "takes": "choice", "choices": ["fast", "exact"]}
CSV = {"name": "csv", "schemes": ["csv", "tsv"], "help": "a row per photo", "place": "file", "package": "ingestd-csv"}
POSTGRES = {"name": "postgres", "schemes": ["postgres"], "help": "a table", "place": "url", "package": "p"}
CATALOGUE: dict[str, Any] = {"api": 1, "steps": [COLOURS, MOOD, FACES], "sinks": [CSV, POSTGRES]}


class StartWithSteps(c.Start):
    """The request of a daemon that takes steps of other packages."""

    steps: list[dict[str, Any]] | None = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _takes_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(c.VERBS, "start", (StartWithSteps, c.StartReply))


def write(home: Home, catalogue: object) -> None:
    folder = home.folder / "state"
    folder.mkdir(exist_ok=True)
    text = catalogue if isinstance(catalogue, str) else json.dumps(catalogue)
    (folder / "kinds.json").write_text(text)


def asked(home: Home, *words: str) -> StartWithSteps:
    """What ``start /p WORDS`` asks of the daemon."""
    daemon = home.daemon(start=c.StartReply("created", job(), []))
    ran = home.run("start", "/p", *words)
    assert ran.code == 0, ran
    (request,) = daemon.asked("start")
    assert isinstance(request, StartWithSteps)
    return request


# --------------------------------------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ((), None),
        (("--describe", "none", "--exact"), None),
        (("--colours",), [{"name": "colours", "model": "", "settings": {}}]),
        (
            ("--colours", "--colours-count", "5", "--colours-least", "0.5", "--colours-name", "warm hues"),
            [
                {
                    "name": "colours",
                    "model": "",
                    "settings": {"colours_count": 5, "colours_least": 0.5, "colours_name": "warm hues"},
                }
            ],
        ),
        # Settings alone: whether the step is wanted, the configuration says, and the daemon decides.
        (("--colours-named",), [{"name": "colours", "settings": {"named": True}}]),
        (("--faces", "fast"), [{"name": "faces", "model": "fast", "settings": {}}]),
        (
            ("--mood", "org/happy", "--colours"),
            [{"name": "colours", "model": "", "settings": {}}, {"name": "mood", "model": "org/happy", "settings": {}}],
        ),
    ],
)
def test_steps_are_sent_only_when_they_were_typed(
    home: Home, words: tuple[str, ...], steps: list[dict[str, Any]] | None
) -> None:
    """One entry per step whose flags were typed, beside the fields of the steps that ship, which stay as they are."""
    write(home, CATALOGUE)
    request = asked(home, *words)
    assert request.steps == steps
    assert (request.describe, request.exact) == (("none", True) if "--exact" in words else (None, None))


def test_a_models_folder_is_made_absolute(home: Home) -> None:
    """As for the steps that ship: the daemon runs in another working folder."""
    write(home, CATALOGUE)
    assert asked(home, "--mood", "./m").steps == [{"name": "mood", "model": f"{home.cwd}/m", "settings": {}}]


def test_sinks_that_are_files_are_made_absolute(home: Home) -> None:
    """A sink's file by each of its schemes; a URL, a bare name and what nobody knows stay as they were typed."""
    write(home, CATALOGUE)
    typed = ("csv:a.csv", "tsv:~/b.tsv", "csv", "jsonl:c", "postgres:host/db", "qdrant:http://h", "xyz:d")
    request = asked(home, *(word for sink in typed for word in ("--sink", sink)))
    assert request.sinks is not None
    home_folder = home.env()["HOME"]
    here = home.cwd
    assert request.sinks[:4] == [f"csv:{here}/a.csv", f"tsv:{home_folder}/b.tsv", "csv", f"jsonl:{here}/c"]
    assert request.sinks[4:] == ["postgres:host/db", "qdrant:http://h", "xyz:d"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("/p", "--colours-count", "10"), "'10' is not a whole number from 1 to 9"),
        (("/p", "--colours-least", "nan"), "'nan' is not a number from 0 to 1"),
        (("/p", "--faces", "slow"), "invalid choice: 'slow'"),
        (("/p", "--sink", "csv:http://x"), "cannot use the sink csv: it is a file, not a URL"),
        (("--colours",), "cannot start a job with --colours: there is no source"),
    ],
)
def test_what_cannot_be_meant_is_refused(home: Home, words: tuple[str, ...], said: str) -> None:
    """Exit code 2 before any daemon is asked, as for the flags that ship."""
    write(home, CATALOGUE)
    ran = home.run("start", *words)
    assert (ran.code, ran.out) == (2, ""), ran
    assert said in ran.err


# ------------------------------------------------------------------------------------------------------------- the help


def test_the_help_shows_the_catalogue(home: Home) -> None:
    """Flags under the name of their package, sinks beside those that ship."""
    plain = home.run("start", "--help").out
    write(home, CATALOGUE)
    shown = home.run("start", "--help").out
    for line in (
        "from ingestd-colours:\n  --colours                 the main colours, 100% of them\n",
        "  --colours-count N         how many\n",
        "from moods:\n  --mood MODEL              the mood\n",
        "  --faces fast|exact        faces\n",
    ):
        assert line in shown, shown
        assert line not in plain
    told = " ".join(shown.split())
    assert "jsonl or jsonl:FILE, csv/tsv:FILE (a row per photo), postgres:URL (a table); may be repeated" in told


def test_other_text_cannot_steer_the_terminal(home: Home) -> None:
    """Help and names of a package that its author wrote are shown as text, on one line."""
    write(home, CATALOGUE | {"steps": [COLOURS | {"help": "a\x1b[31m\nb %(prog)s", "package": "p\x07"}]})
    ran = home.run("start", "--help")
    assert ran.code == 0, ran
    assert "from p\\x07:\n  --colours                 a\\x1b[31m b %(prog)s\n" in ran.out


# ----------------------------------------------------------------------------------------------------------- a bad file


@pytest.mark.parametrize(
    "catalogue",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "[]",
        '{"api": 1}',
        CATALOGUE | {"api": 2},
        CATALOGUE | {"api": True},
        {key: value for key, value in CATALOGUE.items() if key != "api"},
        {"api": 1, "steps": {"name": "x"}, "sinks": 5},
        {"api": 1, "steps": [None, 1, {}, [CATALOGUE]], "sinks": [None, {}]},
        CATALOGUE | {"padding": "x" * kinds.MAX_BYTES},
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_cannot_be_read_changes_nothing(home: Home, catalogue: object) -> None:
    """Broken, newer, of another shape or too large: the help is that of what ships, and nothing is said about it."""
    plain = home.run("start", "--help")
    write(home, catalogue)
    shown = home.run("start", "--help")
    assert (shown.code, shown.out, shown.err) == (0, plain.out, "")


def test_a_folder_in_its_place_changes_nothing(home: Home) -> None:
    plain = home.run("start", "--help").out
    (home.folder / "state" / "kinds.json").mkdir(parents=True)
    assert home.run("start", "--help").out == plain


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "a b"},
        {"name": None},
        {"flag": "-c"},
        {"flag": "--Colours"},
        {"flag": "--colours=x"},
        {"takes": "file"},
        {"takes": "choice", "choices": []},
        {"takes": "choice", "choices": ["$(x)", "two words"]},
        # Its flag has a meaning already, or it takes the name of a step that ships.
        {"flag": "--limit"},
        {"flag": "--help"},
        {"flag": "--color"},
        {"flag": "--describe"},
        {"name": "describe"},
        {"name": "mood"},
    ],
    ids=str,
)
def test_a_bad_step_is_left_out_alone(home: Home, bad: dict[str, Any]) -> None:
    """The others stay, and the flags that ship keep their meaning."""
    write(home, CATALOGUE | {"steps": [MOOD, COLOURS | bad]})
    shown = home.run("start", "--help").out
    assert "--mood MODEL" in shown
    assert "--colours " not in shown
    assert "from ingestd-colours" not in shown
    assert asked(home, "--limit", "3").limit == 3


@pytest.mark.parametrize("bad", [{"flag": "--limit"}, {"flag": "count"}, {"type": "date"}, {"type": None}], ids=str)
def test_a_bad_setting_is_left_out_alone(home: Home, bad: dict[str, Any]) -> None:
    """Its step and the step's other settings stay."""
    first, *others = COLOURS["settings"]
    write(home, CATALOGUE | {"steps": [COLOURS | {"settings": [first | bad, *others]}]})
    shown = home.run("start", "--help").out
    assert "--colours-count" not in shown
    assert "--colours " in shown
    assert "--colours-least X" in shown


@pytest.mark.parametrize(
    "bad",
    [{"schemes": []}, {"schemes": ["a b"]}, {"schemes": ["jsonl"]}, {"name": "qdrant"}, {"place": "tape"}],
    ids=str,
)
def test_a_bad_sink_is_left_out_alone(home: Home, bad: dict[str, Any]) -> None:
    """The others stay; nobody takes the place of a sink that ships."""
    write(home, CATALOGUE | {"sinks": [POSTGRES, CSV | bad]})
    shown = home.run("start", "--help").out
    assert "postgres:URL (a table)" in shown
    assert "(a row per photo)" not in shown
    assert asked(home, "--sink", "jsonl:x").sinks == [f"jsonl:{home.cwd}/x"]


# ----------------------------------------------------------------------------------------------------------- what ships


def test_what_ships_has_fields_of_its_own() -> None:
    """Each shipped step and setting is a field of the request under its flag's name, and a field of a job's steps."""
    settings = [setting for step in kinds.STEPS for setting in step["settings"]]
    flags = [entry["flag"] for entry in (*kinds.STEPS, *settings, *kinds.SETTINGS)]
    fields = [flag[2:].replace("-", "_") for flag in flags]
    assert set(fields) == {*OLD_MODELS, *OLD_SETTINGS}
    assert set(fields) <= set(c.Start.__struct_fields__)
    assert [sink["name"] for sink in kinds.SINKS] == words_of()
    taken = parser_of("start")._option_string_actions
    assert all(flag in taken for flag in flags)


def test_what_ships_is_told_as_it_is_declared() -> None:
    """The client's own table has the flags, the help and the types of the declarations, since it imports none."""
    declared = {kind.name: kind for kind in SHIPPED.values() if kind is not META}
    assert {step["name"] for step in kinds.STEPS} == set(declared)
    for step in kinds.STEPS:
        kind = declared[step["name"]]
        told = (step["flag"], step["metavar"], step["help"], step["takes"])
        assert told == (kind.flag, kind.metavar, kind.help, kind.takes)
        own = [setting for setting in kind.settings if setting.name != EXACT.name]
        assert [(s["flag"], s["help"], s["type"], s["metavar"], s.get("low")) for s in step["settings"]] == [
            (s.flag, s.help, s.type, s.metavar, None if s.type == "text" else s.low) for s in own
        ]
    [exact] = kinds.SETTINGS
    assert (exact["flag"], exact["help"], exact["type"]) == (EXACT.flag, EXACT.help, EXACT.type)
