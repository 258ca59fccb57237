"""The unit files: what is in them is what the daemon needs, and systemd knows every word."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from ingestctl.service import systemd, templates

from ingestd import daemon, errors
from ingestd.ledger import ledger
from ingestd.logs import opening
from ingestd.supervisor import loop
from tests.needs import needs

UNITS = ("user", "system")
CHILDREN_S = 6.0
"""After SIGKILL: ``children`` waits 5 s for a process whose socket has ended, and 1 s for what it printed last."""

Directives = dict[str, list[str]]


def text_of(kind: str, python: str = "/usr/bin/true", **environment: str) -> str:
    make = templates.user_unit if kind == "user" else templates.system_unit
    return make(environment, python)


def parsed(text: str) -> dict[str, Directives]:
    """Sections with their directives; one that stands several times has several values."""
    sections: dict[str, Directives] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith(("#", ";")):
            key, equals, value = line.partition("=")
            assert equals, line
            section.setdefault(key, []).append(value)
    return sections


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(s|min|)", text)
    assert found, text
    return int(found[1]) * (60 if found[2] == "min" else 1)


@pytest.mark.parametrize("kind", UNITS)
def test_what_the_daemon_needs_of_its_manager(kind: str) -> None:
    """Readiness by notification from the daemon alone, and children that are its own business."""
    unit = parsed(text_of(kind))
    service = {key: values[-1] for key, values in unit["Service"].items()}
    wanted = {
        "Type": "notify", "NotifyAccess": "main", "KillMode": "mixed", "OOMPolicy": "continue", "Restart": "on-failure",
        "ExecStart": "/usr/bin/true -m ingestd", "UMask": "0077", "NoNewPrivileges": "yes",
    }  # fmt: skip
    assert wanted.items() <= service.items()
    # Each of these breaks the daemon: its peer check, homes, and names of users.
    assert not {"PrivateUsers", "DynamicUser", "PrivateNetwork"} & set(service)
    assert unit["Install"]["WantedBy"] == ["default.target" if kind == "user" else "multi-user.target"]
    assert ("User" in service) is (kind == "system")


@pytest.mark.parametrize("kind", UNITS)
def test_a_mistake_is_not_restarted_for_ever(kind: str) -> None:
    """The codes that a restart cannot mend are those of ``errors``, and there is an end to crashes as well."""
    unit = parsed(text_of(kind))
    codes = unit["Service"]["RestartPreventExitStatus"][0].split()
    assert sorted(map(int, codes)) == sorted(errors.NO_RESTART)
    pause, burst = seconds(unit["Service"]["RestartSec"][0]), int(unit["Unit"]["StartLimitBurst"][0])
    interval = seconds(unit["Unit"]["StartLimitIntervalSec"][0])
    assert burst * (pause + 5) < interval, "a daemon that dies within 5 s would be restarted for ever"


@pytest.mark.parametrize("kind", UNITS)
def test_times_fit_the_daemon(kind: str) -> None:
    """It gets the time of its whole stop ladder, and of a slow start; the watchdog is slower than a disk."""
    service = parsed(text_of(kind))["Service"]
    ladder = loop.CLOSE_S + CHILDREN_S + daemon.REPLIES_S + 3 * ledger.CLOSE_LANE_S + opening.FLUSH_S
    assert ladder < seconds(service["TimeoutStopSec"][0])
    assert f"within {round(ladder / 10) * 10:.0f} s" in text_of(kind), "the comment in the unit tells another figure"
    assert seconds(service["TimeoutStartSec"][0]) >= 600
    assert seconds(service["WatchdogSec"][0]) >= 60


def test_the_drop_in_and_the_rule_are_of_one_user() -> None:
    """Places of that user may be written, where they exist; the rule is for that name and for three locks alone."""
    text = templates.system_drop_in({"INGESTD_HOME": "/srv/in gest"}, ["/srv/in gest", "/home/ada/.cache"])
    assert parsed(text)["Service"] == {
        "Environment": ['"INGESTD_HOME=/srv/in gest"'],
        "ReadWritePaths": ['"-/srv/in gest" -/home/ada/.cache'],
    }
    assert parsed(text)["Unit"] == {"RequiresMountsFor": ['"/srv/in gest" /home/ada/.cache']}
    rule = templates.polkit_rule('a"da')
    assert re.findall(r"subject\.\w+ != (.*?)\)", rule) == [r'"a\"da"', r'"ingestd@a\"da.service"']
    actions = re.findall(r'"org\.freedesktop\.login1\.([\w-]+)"', rule)
    assert actions == ["inhibit-block-sleep", "inhibit-block-idle", "inhibit-handle-lid-switch"]
    assert rule.count("polkit.Result.YES") == 1
    assert "@" not in rule.replace("ingestd@", "")


def told_by_systemd(unit: Path, *scope: str, **env: str) -> list[str]:
    """The lines of ``systemd-analyze verify`` that name the unit: it also verifies what the machine has besides."""
    command = ["systemd-analyze", "verify", *scope, str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | env)
    return [line for line in (done.stdout + done.stderr).splitlines() if unit.stem in line]


@needs("systemd-analyze", "that systemd understands every line of the units")
@pytest.mark.parametrize("kind", UNITS)
@pytest.mark.parametrize("folder", ["plain", "a b%h$HOME;#=é"])
def test_systemd_knows_every_word(kind: str, folder: str, tmp_path: Path) -> None:
    """``systemd-analyze verify`` finds no fault, also where the program's path is as strange as a path may be.

    It looks whether the program can be run, so a name that it read as another would be told.
    """
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    unit = tmp_path / ("ingestd.service" if kind == "user" else "ingestd@.service")
    unit.write_text(text_of(kind, str(python), INGESTD_HOME=f"/srv/'{folder}\"\\"))
    scope = ["--user"] if kind == "user" else ["--system"]
    assert told_by_systemd(unit, *scope, XDG_RUNTIME_DIR=str(tmp_path)) == []


@needs("systemd-analyze", "that systemd finds a fault of a unit")
def test_verify_would_have_said_something(tmp_path: Path) -> None:
    """The test above can fail: an unknown word, and a program that is not there, are told."""
    unit = tmp_path / "ingestd@.service"
    unit.write_text(text_of("system", "/nowhere/python").replace("OOMPolicy=", "OomPolicy="))
    told = told_by_systemd(unit)
    assert any("OomPolicy" in line for line in told)
    assert any("/nowhere/python" in line for line in told)


def test_one_home_is_not_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """``start`` uses the service only where both mean one folder: a trial in another folder has its own daemon."""
    for home, text, same in (
        (None, text_of("user"), True),
        (None, text_of("user", INGESTD_HOME="/srv/a"), False),
        ("/srv/a", text_of("user", INGESTD_HOME="/srv/a"), True),
        ("/srv/a/../a", text_of("user", INGESTD_HOME="/srv/a"), True),
        ("/srv/a", text_of("user", INGESTD_HOME="/srv/ab"), False),
        ("/srv/a", text_of("user"), False),
        ("/srv/ü %h", text_of("user", INGESTD_HOME="/srv/ü %h"), True),
    ):
        monkeypatch.delenv("INGESTD_HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("INGESTD_HOME", home)
        assert systemd.same_home(text) is same, (home, text)


@pytest.mark.parametrize(
    ("code", "status", "result", "words"),
    [
        ("1", "78", "exit-code", "exit code 78: a mistake in the configuration"),
        ("1", "0", "success", "exit code 0: it ended in order"),
        ("2", "9", "signal", "ended by signal 9"),
        ("2", "6", "watchdog", "no sign of life"),
        ("0", "0", "success", ""),
        ("", "", "", ""),
    ],
)
def test_the_last_exit_in_words(code: str, status: str, result: str, words: str) -> None:
    """What systemd keeps of an end, as a person reads it."""
    found = systemd.ending({"ExecMainCode": code, "ExecMainStatus": status, "Result": result})
    assert words in found
    assert bool(found) is bool(words)


def test_the_endings_are_the_daemons() -> None:
    """Every code that the daemon gives has words here, and no other."""
    assert set(systemd.ENDINGS) == {0, *(value for name, value in vars(errors).items() if name.startswith("EX_"))}
