"""A real systemd for tests, with journald, D-Bus, logind and polkit, over a throw-away overlay of this machine's root.

What happens inside reaches the machine nowhere: namespaces and control group of its own, memory for its writes,
loopback for its network. It boots in about a second and ends with the tests, however they end (``keeper`` says how).
It needs root and Debian's systemd-container, dbus, polkitd and libpam-systemd; ``refusal`` says what is missing.

Inside, ``/tmp`` and ``/run`` are fresh. ``PREFIX/bin`` holds ``ingestd`` and ``ingestctl``, installed from the wheel of
this checkout; the other packages are this environment's own, bound read-only to where every user can read them.
Limits of memory are accepted but not in force where the machine's controllers belong to the old hierarchy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.isolation import FIXED
from tests.system import keeper

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "/opt/ingestd-under-test"
"""Where the wheel is installed inside: root's, readable by everybody, not under a home or a /tmp, and not where this
machine may have an ingestd of its own."""
PACKAGES = f"{PREFIX}-packages"
PATH = f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FRESH = ("/tmp/", "/var/tmp/", "/run/", "/dev/")
"""What the sandbox, or a unit with ``PrivateTmp``, sees another folder at."""

APT = "apt-get install -y --no-install-recommends systemd-container dbus polkitd libpam-systemd"
BOOT_S = 60


class Refused(Exception):
    """This machine gives no sandbox; the text says why, and what to do."""


def refusal(name: str) -> str | None:
    """Why a sandbox cannot be had here, with the remedy; None when it can be tried."""
    if sys.platform != "linux":
        return "systemd is Linux's"
    if os.geteuid() != 0:
        return "a sandbox needs root: sudo make test"
    if not all(map(shutil.which, ("systemd-nspawn", "unshare", "nsenter"))):
        return f"systemd-nspawn, unshare or nsenter is missing: {APT}"
    wanted = ("systemd-logind", "polkitd", "pam_systemd.so", "dbus-daemon")
    rooms = [Path(room) for room in ("/usr/lib/systemd", "/usr/lib/polkit-1", "/usr/libexec", "/usr/bin")]
    rooms += [*Path("/usr").glob("lib*/security"), *Path("/usr/lib").glob("*/security")]
    if absent := [file for file in wanted if not any((room / file).exists() for room in rooms)]:
        return f"{', '.join(absent)} missing: {APT}"
    if sys.base_prefix.startswith(FRESH):
        return f"Python itself lies in {sys.base_prefix}, where a service cannot see it: use another Python"
    trial = (
        "mount -t tmpfs t /run && mkdir /run/upper /run/work /run/root && mount -t cgroup2 t /sys/fs/cgroup"
        " && mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work t /run/root"
        f" && mkdir /sys/fs/cgroup/{name} && rmdir /sys/fs/cgroup/{name}"
    )
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--net", "sh", "-c", trial]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"namespaces or control groups are refused, so run it on a whole machine: {done.stderr.strip()}"
    return None


class Sandbox:
    """One sandbox; ``start`` makes it, ``stop`` ends it with everything inside."""

    def __init__(self, log: Path) -> None:
        self.name = f"{keeper.PREFIX}{os.getpid()}"
        self.log = log
        self.keeper: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def start(self) -> None:
        """Boot. Raises ``Refused`` where that cannot be, and ``AssertionError`` where it should have been."""
        if reason := refusal(self.name):
            raise Refused(reason)
        binds = [f"{sysconfig.get_path('purelib')}:{PACKAGES}"]
        if not sys.base_prefix.startswith("/usr"):
            binds.append(sys.base_prefix)  # its libraries may know their place by its absolute path
        unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with open(self.log, "wb") as log:
            self.keeper = subprocess.Popen(
                [*unshare, sys.executable, "-I", keeper.__file__, self.name, *binds],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.wait_for(self._booted, BOOT_S)

    def stop(self) -> None:
        """End it with everything in it. Raises when something stays."""
        if self.keeper is None:
            return
        assert self.keeper.stdin is not None
        self.keeper.stdin.close()
        assert self.keeper.wait(30) == 0, self.log.read_text()

    def _booted(self) -> bool:
        assert self.keeper is not None
        assert self.keeper.poll() is None, f"systemd did not come up: {self.log.read_text()[-2000:]}"
        try:
            # unshare → keeper → nspawn → the sandbox's systemd
            process = psutil.Process(self.keeper.pid)
            for _ in range(3):
                process = process.children()[0]
            if "systemd-nspawn" in " ".join(process.cmdline()):
                return False
        except (IndexError, psutil.NoSuchProcess):
            return False
        self.leader = process.pid
        return self.run("systemctl", "is-system-running", check=False) in ("running", "degraded")

    # -------------------------------------------------------------------------------------------------- what is inside

    def path(self, inside: str) -> Path:
        """A path of the sandbox, for the tests to read and write as root."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def run(
        self, *words: str, user: str | None = None, check: bool = True, timeout: float = 60, stdin: str | None = None
    ) -> str:
        """A command's standard output, stripped; as root, or as ``user``. Fails unless it exits with 0."""
        done = self.attempt(*words, user=user, timeout=timeout, stdin=stdin)
        if check:
            assert done.returncode == 0, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.strip()

    def attempt(
        self, *words: str, user: str | None = None, timeout: float = 60, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command with its exit code and both streams."""
        enter = ["nsenter", "--target", str(self.leader), "--all"]
        env = [f"PATH={PATH}", "LANG=C.UTF-8"]
        if user is None:
            env += ["HOME=/root"]
        else:
            uid = self.uid(user)
            enter += [f"--setuid={uid}", f"--setgid={uid}", f"--wdns=/home/{user}"]
            env += [f"HOME=/home/{user}", f"USER={user}", f"XDG_RUNTIME_DIR=/run/user/{uid}"]
            env += [f"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{uid}/bus"]
        command = [*enter, "env", "-i", *env, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, input=stdin or "")

    def uid(self, user: str) -> int:
        """The number of a user made by ``add_user``; the primary group has the same."""
        for line in self.path("/etc/passwd").read_text().splitlines():
            name, _, uid, *_ = line.split(":")
            if name == user:
                return int(uid)
        raise AssertionError(f"no user {user} inside")

    def add_user(self, name: str, uid: int, *, linger: bool) -> None:
        """A person with a home; ``linger`` gives a manager of their own from now on."""
        self.run("groupadd", "--gid", str(uid), name)
        self.run("useradd", "--create-home", "--shell", "/bin/bash", "--uid", str(uid), "--gid", str(uid), name)
        if linger:
            self.run("loginctl", "enable-linger", name)
            self.wait_for(self.path(f"/run/user/{uid}/bus").is_socket, 30)

    def wait_for(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Until ``condition`` holds. Most cost a process or two, so they are looked at now and then only."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
            time.sleep(0.1)

    # ----------------------------------------------------------------------------------------------------- the product

    def install(self, dist: Path) -> None:
        """Build the wheel of this checkout into ``dist`` and install it under ``PREFIX``."""
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(ROOT)]
        done = subprocess.run(build, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done
        (wheel,) = dist.glob("*.whl")
        self._open_the_way(sys.base_prefix)
        python = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        self.run(python, "-m", "venv", "--without-pip", PREFIX)
        shutil.copy(wheel, self.path(f"{PREFIX}/{wheel.name}"))
        pip = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", f"{PREFIX}/{wheel.name}"]
        settings = [f"{name}={value}" for name, value in FIXED.items() if name.startswith("PIP_")]
        self.run("env", *settings, f"PYTHONPATH={PACKAGES}", f"{PREFIX}/bin/python", "-m", "pip", *pip)
        (site,) = self.path(f"{PREFIX}/lib").glob("python*/site-packages")
        (site / "others.pth").write_text(PACKAGES + "\n")

    def _open_the_way(self, folder: str) -> None:
        """Let every user pass to ``folder``: it may lie in root's home. The overlay takes it, the machine does not."""
        for parent in Path(folder).parents:
            inside = self.path(str(parent))
            inside.chmod(inside.stat().st_mode | 0o111)
