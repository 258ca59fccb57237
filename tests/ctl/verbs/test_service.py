"""``ingestctl service`` where no service manager runs, and under a played launchd; systemd is in ``tests/system``."""

from __future__ import annotations

import argparse
import json
import os
import plistlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ingestctl import locations, rpc
from ingestctl.service import detect, files, launchd, run_as_user, variables
from ingestctl.service.launchd import Launchd
from ingestctl.service.systemd import Systemd
from ingestctl.verbs import service as verb

from tests.ctl.ctlkit import FakeDaemon, Home

UNIT = "systemd/user/ingestd.service"
OF_THE_SYSTEM = [
    "/etc/systemd/system/ingestd@.service",
    "/etc/systemd/system/ingestd@nobody.service.d/ingestd.conf",
    "/etc/polkit-1/rules.d/50-ingestd-nobody.rules",
]
no_systemd = pytest.mark.skipif(
    os.path.isdir("/run/systemd/system") or sys.platform != "linux",
    reason="systemd runs here: what is said where it does not was not tested",
)


# ------------------------------------------------------------------------------------------------ by the real client


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: what is printed is systemd's units")
def test_print_changes_nothing(home: Home) -> None:
    """The files with their places, this environment's program and folder in them; nothing is made."""
    config = home.folder / "config"
    ran = home.run("service", "install", "--print", env={"XDG_CONFIG_HOME": str(config)})
    assert ran.code == 0, ran
    assert ran.out.startswith(f"# {config}/{UNIT}\n")
    assert f"\nExecStart={sys.executable} -m ingestd\n" in ran.out
    assert f"\nEnvironment=INGESTD_HOME={home.folder}\n" in ran.out
    assert not config.exists()
    before = [os.path.exists(path) for path in OF_THE_SYSTEM]
    ran = home.run("service", "install", "--print", "--system", "--for", "nobody")
    assert ran.code == 0, ran
    places = [line[2:] for line in ran.out.splitlines() if line.startswith("# /")]
    assert places == OF_THE_SYSTEM
    assert [os.path.exists(path) for path in OF_THE_SYSTEM] == before


@no_systemd
@pytest.mark.parametrize("words", [("install",), ("uninstall",), ("install", "--system", "--for", "nobody")])
def test_without_systemd_it_says_so(home: Home, words: tuple[str, ...]) -> None:
    """In a container: a sentence with the ways on, and nothing is written."""
    config = home.folder / "config"
    ran = home.run("service", *words, env={"XDG_CONFIG_HOME": str(config)})
    assert (ran.code, ran.out) == (1, ""), ran
    assert "no systemd runs on this machine" in ran.err
    assert "ingestctl start" in ran.err
    assert f"{sys.executable} -m ingestd" in ran.err
    assert not config.exists()


@no_systemd
def test_status_without_a_service(home: Home) -> None:
    """Not installed: exit code 1, and what to type; as JSON with the same facts."""
    env = {"XDG_CONFIG_HOME": str(home.folder / "config")}
    ran = home.run("service", "status", env=env)
    assert ran.code == 1
    assert "installed  no; ingestctl service install" in ran.out
    ran = home.run("service", "status", "--json", env=env)
    facts = json.loads(ran.out)
    assert ran.code == 1
    assert (facts["installed"], facts["enabled"], facts["pid"], facts["scope"]) == (False, False, 0, "user")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("install", "-f"), "it is for logs"),
        (("status", "--print"), "it is for install"),
        (("logs", "--json"), "it is for status"),
        (("install", "--for", "ada"), "--for without --system"),
        (("install", "--system", "--for", "nobody", "--linger"), "needs no lingering"),
        (("install", "--user", "--system"), "not allowed with"),
        (("restart",), "invalid choice"),
    ],
)
def test_what_does_not_fit_together(home: Home, words: tuple[str, ...], said: str) -> None:
    """Exit code 2 and the reason; nothing is done by half."""
    ran = home.run("service", *words)
    assert ran.code == 2, ran
    assert said in ran.err


def test_whose_service_it_is(home: Home) -> None:
    """root has to say whose; sudo says it; an unknown name is told."""
    if os.geteuid() == 0:
        ran = home.run("service", "install", "--system", "--print")
        assert ran.code == 2
        assert "--for USER" in ran.err
        ran = home.run("service", "install", "--system", "--print", env={"SUDO_USER": "nobody"})
        assert "ingestd@nobody.service.d" in ran.out
    ran = home.run("service", "install", "--system", "--print", "--for", "no-such-person")
    assert ran.code == 1
    assert "there is no such user" in ran.err


def test_a_program_that_cannot_run_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is tried first, in the service's environment: what is missing is said in its own words."""
    run_as_user.trial(variables.kept())
    (tmp_path / "ingestd").mkdir()
    (tmp_path / "ingestd" / "__init__.py").write_text("")
    (tmp_path / "ingestd" / "__main__.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(rpc.CommandError, match="a_package_that_is_not_there"):
        run_as_user.trial({"PYTHONPATH": str(tmp_path)})
    monkeypatch.setattr(run_as_user.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(rpc.CommandError, match="No such file"):
        run_as_user.trial({})


def test_settings_of_a_shell_are_not_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places go with it, settings do not, and are named."""
    for name in (*variables.KEPT, *variables.settings_left_out()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INGESTD_HOME", "/srv/x/../ingest")
    monkeypatch.setenv("HF_HOME", "/srv/models")
    monkeypatch.setenv("INGESTD_WORKERS", "3")
    kept = variables.kept()
    kept.pop("PYTHONPATH", None)
    assert kept == {"INGESTD_HOME": "/srv/ingest", "HF_HOME": "/srv/models"}
    assert variables.settings_left_out() == ["INGESTD_WORKERS"]


# ------------------------------------------------------------------------------------------- under a played launchd


class PlayedLaunchd:
    """``launchctl`` with one agent: what is bootstrapped runs, as a small daemon that answers at this home's socket."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.daemon: FakeDaemon | None = None
        self.loaded: str | None = None
        self.last_exit: int | None = None
        self.begins = True
        self.screen = True

    def __call__(self, *words: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        self.calls.append(words)
        code, out = {"print": self._print, "bootstrap": self._bootstrap, "bootout": self._bootout}.get(
            words[0], lambda *_: (0, "")
        )(*words[1:])
        return subprocess.CompletedProcess(words, code, out, "" if code == 0 else "Could not find service")

    def _print(self, target: str) -> tuple[int, str]:
        if "/" not in target.removeprefix("gui/"):
            return (0 if self.screen else 125), ""
        if self.loaded is None:
            return 113, ""
        lines = [f"\tpath = {self.loaded}", f"\tstate = {'running' if self.daemon else 'not running'}"]
        lines += [f"\tpid = {os.getpid()}"] if self.daemon else []
        lines += [f"\tlast exit code = {self.last_exit}"] if self.last_exit is not None else []
        return 0, "\n".join([f"{target} = {{", *lines, "}"])

    def _bootstrap(self, domain: str, path: str) -> tuple[int, str]:
        plistlib.loads(Path(path).read_bytes())
        self.loaded = path
        if self.begins:
            self.daemon = FakeDaemon(Path(locations.socket()), {})
        else:
            self.last_exit = 0
        return 0, ""

    def _bootout(self, target: str) -> tuple[int, str]:
        if self.loaded is None:
            return 113, ""
        if self.daemon is not None:
            self.daemon.end()
            Path(locations.socket()).unlink(missing_ok=True)
        self.daemon, self.loaded = None, None
        return 0, ""


@pytest.fixture
def mac(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedLaunchd]:
    """A home of its own, and a launchd for it."""
    played = PlayedLaunchd()
    monkeypatch.setenv("HOME", str(home.folder))
    monkeypatch.setenv("INGESTD_HOME", str(home.folder))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(rpc, "_owner", lambda _: os.getuid())  # asked of this kernel, with a Mac's numbers
    monkeypatch.setattr(launchd, "run_launchctl", played)
    monkeypatch.setattr(Launchd.__init__, "__defaults__", (played,))
    monkeypatch.setattr(run_as_user, "trial", lambda *_: None)
    yield played
    if played.daemon is not None:
        played.daemon.end()


def perform(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verb.arguments(parser)
    return verb.run(parser.parse_args(words))


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def read() -> str:
        captured = capsys.readouterr()
        return captured.out + captured.err

    return read


def test_an_agent_from_install_to_uninstall(
    mac: PlayedLaunchd, home: Home, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written, loaded and answering; again: nothing; changed: reloaded; taken away: no trace of it."""
    plist = home.folder / "Library" / "LaunchAgents" / "local.ingestd.plist"
    assert perform("status") == 1
    assert "installed  no" in said()
    assert perform("install") == 0
    assert f"wrote {plist}" in said()
    assert plistlib.loads(plist.read_bytes())["EnvironmentVariables"]["INGESTD_HOME"] == str(home.folder)
    assert perform("status") == 0
    assert f"active (running), pid {os.getpid()}" in said()
    first = mac.daemon
    assert perform("install") == 0
    assert "nothing was to change" in said()
    assert mac.daemon is first
    plist.write_text(plist.read_text().replace("Interactive", "Background"))
    assert perform("status") == 0
    assert "renew" in said()
    assert perform("install") == 0
    assert "restarted" in said()
    assert mac.daemon is not first
    assert "Interactive" in plist.read_text()
    second = mac.daemon
    monkeypatch.setattr(verb, "__version__", "99.0")
    assert perform("status") == 0
    assert "daemon 0.1.0, this client 99.0" in said()
    assert perform("install") == 0
    assert mac.daemon is not second, "an upgrade of the package alone wants a restart as well"
    assert perform("uninstall") == 0
    assert mac.loaded is None
    assert not plist.exists()
    assert perform("uninstall") == 0
    assert "is not installed" in said()


def test_an_agent_that_will_not_begin(mac: PlayedLaunchd, home: Home) -> None:
    """What it printed is what is told: launchd itself knows an exit code alone."""
    mac.begins = False
    (home.folder / "log").mkdir()
    (home.folder / "log" / "ingestd.stderr").write_text("Error: cannot read the configuration\nTry: mend it\n")
    with pytest.raises(rpc.CommandError, match="cannot read the configuration"):
        perform("install")


def test_nobody_at_the_screen(mac: PlayedLaunchd) -> None:
    """Agents belong to a login at the screen: over ssh alone there is none, and that is said."""
    mac.screen = False
    with pytest.raises(rpc.CommandError, match="nobody is logged in at the screen"):
        perform("install")
    assert not Launchd().installed()


def test_what_launchd_has_not(mac: PlayedLaunchd) -> None:
    """No system service, no lingering, no priorities: each is refused in words."""
    for words in (("install", "--system"), ("install", "--linger"), ("logs", "-p", "err")):
        with pytest.raises(rpc.CommandError):
            perform(*words)


def test_start_uses_the_agent_of_its_own_home(mac: PlayedLaunchd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial in a folder of its own is not the agent's business."""
    perform("install")
    assert detect.installed() is not None
    monkeypatch.setenv("INGESTD_HOME", "/srv/trial")
    assert detect.installed() is None


def test_a_service_stays_with_its_folder(mac: PlayedLaunchd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed again from a shell with another INGESTD_HOME, it would leave the jobs of the first one to nobody."""
    perform("install")
    first, text = mac.daemon, Path(Launchd().unit_file).read_text()
    with monkeypatch.context() as shell:
        shell.delenv("INGESTD_HOME")
        with pytest.raises(rpc.CommandError, match="another INGESTD_HOME") as caught:
            perform("install")
    assert "service uninstall" in caught.value.remedy
    assert (mac.daemon, Path(Launchd().unit_file).read_text()) == (first, text)
    Path(Launchd().unit_file).write_text("damaged")
    assert perform("install") == 0, "what says nothing any more is renewed"
    assert Path(Launchd().unit_file).read_text() == text


def test_a_unit_knows_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same under systemd: by what its file says."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("INGESTD_HOME", str(tmp_path / "a b"))
    unit = Systemd()
    assert not unit.same_home()
    files.write(unit.unit_file, unit.files()[unit.unit_file])
    assert unit.same_home()
    monkeypatch.setenv("INGESTD_HOME", str(tmp_path / "other"))
    assert not unit.same_home()
    monkeypatch.delenv("INGESTD_HOME")
    assert not unit.same_home()


@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_a_service_is_about_ones_own_daemon(
    mac: PlayedLaunchd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, action: str
) -> None:
    """With INGESTD_SOCKET, what is handed over or looked at would be the daemon that it names: nothing is done."""
    monkeypatch.setenv("INGESTD_SOCKET", str(tmp_path / "theirs.sock"))
    with pytest.raises(rpc.CommandError, match="one's own") as caught:
        perform(action)
    assert "env -u INGESTD_SOCKET" in caught.value.remedy
    assert mac.calls == []


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    """A write that fails leaves the old file; an empty drop-in folder goes with its file, another's stays."""
    path = tmp_path / "ingestd@ada.service.d" / "ingestd.conf"
    files.write(str(path), "one")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one", 0o644)
    assert files.changed({str(path): "one", str(tmp_path / "absent"): "x"}) == [str(tmp_path / "absent")]
    assert files.changed({str(path): "two"}) == [str(path)]
    path.with_name("ingestd.conf.new").mkdir()
    with pytest.raises(rpc.CommandError, match="directory"):
        files.write(str(path), "two")
    assert path.read_text() == "one"
    assert files.remove(str(path))
    assert path.parent.exists(), "somebody else's settings lie there"
    path.with_name("ingestd.conf.new").rmdir()
    files.write(str(path), "three")
    assert files.remove(str(path))
    assert not path.parent.exists()
    assert not files.remove(str(path))
