"""Programs that a test runs and that a machine may lack: the test then skips, and says what was not tested and why."""

from __future__ import annotations

import shutil
from typing import NoReturn

import pytest

PACKAGES = {
    "bash": "bash",
    "fish": "fish",
    "groff": "groff-base",
    "make": "make",
    "man": "man-db",
    "mandoc": "mandoc",
    "mount": "mount",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "pgrep": "procps",
    "prlimit": "util-linux",
    "setpriv": "util-linux",
    "socat": "socat",
    "systemd-analyze": "systemd",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
    "zsh": "zsh",
}
"""The Debian package of each program that a test looks for. ``.ci/run`` installs them all."""

OTHERS = ("bash-completion", "dbus", "libpam-systemd", "polkitd")
"""Debian packages that are needed for files which are no programs on PATH."""


def skip(package: str, untested: str) -> NoReturn:
    """End the test as skipped, because the Debian package ``package`` is not installed."""
    __tracebackhide__ = True  # so that pytest names the line of the test
    pytest.skip(_reason(package, untested))


def program(name: str, untested: str) -> str:
    """The path of a program; where it is missing the test is skipped, with ``untested`` as what was not tested."""
    __tracebackhide__ = True
    found = shutil.which(name)
    if found is None:
        skip(PACKAGES[name], untested)
    return found


def needs(name: str, untested: str, *, when: bool = True) -> pytest.MarkDecorator:
    """A mark for tests that ``program`` would skip; where ``when`` is false they do not need it."""
    return pytest.mark.skipif(when and shutil.which(name) is None, reason=_reason(PACKAGES[name], untested))


def _reason(package: str, untested: str) -> str:
    return f"NOT TESTED: {untested}: the Debian package {package} is not installed"
