"""What any child reads of the machine: Python and its packages, libraries, the CPU's description, devices.

Home folders, the state folder and ``/etc`` as a whole are not among it.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from typing import Final

from ingestd.lockdown.landlock import DEVICE, READ, READ_FILE, WRITE, WRITE_FILE, Rule

_LIBRARIES: Final = (
    *("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/nix/store", "/gnu/store"),
    *("/opt/rocm*", "/opt/cuda*", "/opt/intel", "/opt/nvidia", "/opt/homebrew"),
)

_PYTHON: Final = ("lib", "lib64", "bin", "include", "share", "Frameworks", "Resources", "pyvenv.cfg", "ssl")
"""Of an installation's folder, which may be somebody's home. Conda's certificates lie in ``ssl``."""

_SETTINGS: Final = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives"),
    *("/etc/localtime", "/etc/timezone", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/os-release"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates*", "/etc/mime.types", "/etc/nvidia*", "/etc/OpenCL"),
    *("/etc/locale.alias", "/etc/locale.conf", "/etc/machine-id"),
)

_KERNEL: Final = (
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/vmstat", "/proc/zoneinfo", "/proc/version"),
    *("/proc/filesystems", "/proc/devices", "/proc/driver", "/proc/modules", "/proc/uptime", "/proc/loadavg"),
    *("/proc/sys", "/sys/devices", "/sys/bus", "/sys/class", "/sys/module", "/sys/fs/cgroup", "/sys/kernel/mm"),
)
"""Not ``/proc`` whole: other processes' command lines are nobody's business. ``/proc/self`` is this process alone."""

_RANDOM: Final = ("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_COMPUTING: Final = ("/dev/nvidia*", "/dev/nvmap", "/dev/nvhost*", "/dev/nvgpu", "/dev/dri", "/dev/kfd", "/dev/dxg")
"""NVIDIA (a Jetson's have other names), Mesa and ROCm, Windows' subsystem."""

_RESOLVING: Final = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols"),
    *("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/etc/nsswitch.conf"),
)

_NAMED: Final = ("CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "LD_LIBRARY_PATH")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def everybody() -> Iterator[Rule]:
    """The rules that each child needs."""
    for path in (*_python(), *_found(*_LIBRARIES, *_SETTINGS, *_KERNEL, *_RANDOM), *_variables(*_NAMED)):
        yield Rule(path, READ)
    yield Rule(b"/dev/null", READ_FILE | WRITE_FILE)


def computing() -> Iterator[Rule]:
    """The rules for what computes beside the CPU."""
    for path in devices():
        yield Rule(path, DEVICE)
    if devices():  # CUDA shares memory by files here
        yield Rule(b"/dev/shm", WRITE)


def devices() -> list[bytes]:
    """What this machine has that computes."""
    return _found(*_COMPUTING)


def network() -> Iterator[Rule]:
    """The rules for finding a host by its name and checking its certificate."""
    for path in (*_found(*_RESOLVING), *_variables(*_CERTIFICATES)):
        yield Rule(path, READ)


def _python() -> Iterator[bytes]:
    """Where modules come from. The home folder, the one that the daemon was started in and a checkout of ours are on
    ``sys.path`` at times: of those, only what is known to be Python is given."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    yield os.fsencode(ours)
    beside = os.path.dirname(ours)
    if glob.glob(os.path.join(glob.escape(beside), "ingestd-*.dist-info")):  # pip put us there, and all that we use
        yield os.fsencode(beside)
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        for part in _PYTHON:
            yield os.fsencode(os.path.join(prefix, part))
    shut = {beside, os.path.expanduser("~"), os.getcwd(), "/"}
    shut |= {os.path.realpath(place) for place in shut}
    for place in sys.path:
        if place and not {place, os.path.realpath(place)} & shut:
            yield os.fsencode(place)


def _found(*patterns: str) -> list[bytes]:
    """What is there of these paths; ``*`` stands for any name's end."""
    found = []
    for pattern in patterns:
        if "*" in pattern:
            found += glob.glob(pattern)
        elif os.path.lexists(pattern):
            found.append(pattern)
    return [os.fsencode(path) for path in found]


def _variables(*names: str) -> list[bytes]:
    """The absolute places that environment variables name, ``:`` between several."""
    places = [place for name in names for place in os.environ.get(name, "").split(":")]
    return [os.fsencode(place) for place in places if os.path.isabs(place) and place != "/"]
