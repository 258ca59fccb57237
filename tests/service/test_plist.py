"""The launchd agent: a property list that says nothing that launchd.plist(5) does not know."""

from __future__ import annotations

import plistlib
from typing import Any

import pytest
from ingestctl.service import templates

from ingestd import daemon
from ingestd.ledger import ledger
from ingestd.logs import opening
from ingestd.supervisor import loop

KEYS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("Label", "UserName", "GroupName", "Program", "BundleProgram", "RootDirectory"), (str,)),
    **dict.fromkeys(("WorkingDirectory", "StandardInPath", "StandardOutPath", "StandardErrorPath"), (str,)),
    **dict.fromkeys(("ProcessType", "LimitLoadToDeveloperMode"), (str,)),
    **dict.fromkeys(("Disabled", "EnableGlobbing", "EnableTransactions", "EnablePressuredExit", "OnDemand"), (bool,)),
    **dict.fromkeys(("ServiceIPC", "RunAtLoad", "InitGroups", "StartOnMount", "Debug", "WaitForDebugger"), (bool,)),
    **dict.fromkeys(("AbandonProcessGroup", "LowPriorityIO", "LowPriorityBackgroundIO", "LaunchOnlyOnce"), (bool,)),
    **dict.fromkeys(("MaterializeDatalessFiles", "SessionCreate", "LegacyTimers"), (bool,)),
    **dict.fromkeys(("TimeOut", "ExitTimeOut", "ThrottleInterval", "StartInterval", "Nice"), (int,)),
    **dict.fromkeys(("ProgramArguments", "LimitLoadToHosts", "LimitLoadFromHosts", "WatchPaths"), (list,)),
    **dict.fromkeys(("QueueDirectories",), (list,)),
    **dict.fromkeys(("LimitLoadToSessionType", "AssociatedBundleIdentifiers"), (str, list)),
    **dict.fromkeys(("inetdCompatibility", "LimitLoadToHardware", "LimitLoadFromHardware"), (dict,)),
    **dict.fromkeys(("EnvironmentVariables", "SoftResourceLimits", "HardResourceLimits"), (dict,)),
    **dict.fromkeys(("MachServices", "Sockets", "LaunchEvents"), (dict,)),
    "KeepAlive": (bool, dict),
    "StartCalendarInterval": (dict, list),
    "Umask": (int, str),
}
"""Every key of launchd.plist(5), with the types that its value may have."""

KEEP_ALIVE = {
    "SuccessfulExit": bool, "NetworkState": bool, "PathState": dict, "OtherJobEnabled": dict, "Crashed": bool,
    "AfterInitialDemand": bool,
}  # fmt: skip
PROCESS_TYPES = ("Background", "Standard", "Adaptive", "Interactive")


def faults(plist: dict[str, Any]) -> list[str]:
    """What launchd would not understand."""
    found = [key for key in plist if key not in KEYS]
    # bool is an int to Python, but not to launchd.
    found += [key for key, value in plist.items() if key in KEYS and type(value) not in KEYS[key]]
    for key, value in (plist["KeepAlive"] if isinstance(plist.get("KeepAlive"), dict) else {}).items():
        if type(value) is not KEEP_ALIVE.get(key):
            found.append(f"KeepAlive.{key}")
    for key in ("ProgramArguments", "WatchPaths"):
        found += [key for word in plist.get(key, []) if type(word) is not str]
    found += [
        f"EnvironmentVariables.{k}" for k, v in plist.get("EnvironmentVariables", {}).items() if type(v) is not str
    ]
    if plist.get("ProcessType", "Standard") not in PROCESS_TYPES:
        found.append("ProcessType")
    if "Label" not in plist or not {"Program", "ProgramArguments"} & set(plist):
        found.append("Label or program")
    return found


def agent(python: str = "/opt/venv/bin/python", **environment: str) -> dict[str, Any]:
    made: dict[str, Any] = plistlib.loads(
        templates.agent(environment, "/Users/me/Library/Logs/ingestd", python).encode()
    )
    return made


def test_launchd_knows_every_key() -> None:
    """Each key is one of the manual's, each value of a type that it may have."""
    assert faults(agent(PATH="/usr/bin:/bin")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"KeepAlive": {"OnFailure": True}},
        {"KeepAlive": {"SuccessfulExit": "no"}},
        {"ThrottleInterval": "10"},
        {"ThrottleInterval": True},
        {"ProcessType": "Fast"},
        {"EnvironmentVariables": {"PATH": 1}},
        {"ProgramArguments": ["a", 2]},
        {"StandardErrPath": "/x"},
    ],
)
def test_the_check_can_fail(wrong: dict[str, Any]) -> None:
    """Mistakes that launchd takes in silence are found here."""
    assert faults(agent(PATH="/bin") | wrong)


def test_what_it_says() -> None:
    """Begun at login, not throttled, restarted on failure alone, told apart by the daemon's own option, with a log."""
    made = agent(PATH="/usr/bin:/bin")
    assert made["Label"] == "local.ingestd"
    assert made["ProgramArguments"] == ["/opt/venv/bin/python", "-m", "ingestd", "--launchd"]
    assert made["RunAtLoad"] is True
    assert made["KeepAlive"] == {"SuccessfulExit": False}
    assert made["ProcessType"] == "Interactive"
    assert made["ThrottleInterval"] >= 10
    assert made["Umask"] == 0o077
    assert made["StandardErrorPath"] == made["StandardOutPath"] == "/Users/me/Library/Logs/ingestd/ingestd.stderr"
    assert made["EnvironmentVariables"] == {"PATH": "/usr/bin:/bin"}
    assert made["ExitTimeOut"] > loop.CLOSE_S + daemon.REPLIES_S + 3 * ledger.CLOSE_LANE_S + opening.FLUSH_S


def test_strange_places_survive() -> None:
    """What XML would take for its own is read back as it was."""
    strange = "/Users/a & b/<c>\"'%$/é"
    made = agent(python=f"{strange}/python", INGESTD_HOME=strange)
    assert made["ProgramArguments"][0] == f"{strange}/python"
    assert made["EnvironmentVariables"]["INGESTD_HOME"] == strange
    assert faults(made) == []
