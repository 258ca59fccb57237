"""A process that locks itself and then tries what it may and what it may not; each attempt's outcome as JSON.

Run as a program: ``python -c`` with this file's text, from a folder of its own, and the wishes as JSON in its argument.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from ingestd import lockdown
from ingestd.lockdown.landlock import Kernel


def main(wish: dict[str, Any]) -> None:
    """Lock as ``wish["access"]`` says (not at all without it), try everything, print ``{attempt: outcome}``."""
    told: dict[str, Any] = {}
    if access := wish.get("access"):
        places = {key: tuple(os.fsencode(path) for path in access.get(key, ())) for key in ("read", "write", "change")}
        kernel = Kernel(*wish["kernel"]) if "kernel" in wish else None
        ports = None if access.get("ports", ()) is None else tuple(access.get("ports", ()))
        flags = {key: access.get(key, False) for key in ("anywhere", "attributes")}
        applied = lockdown.apply(lockdown.Access(**places, ports=ports, **flags), kernel)
        told = {"force": applied.force, "missing": applied.missing}
    found = {name: _outcome(attempt) for name, attempt in _attempts(wish).items()}
    found |= {f"{name}, in a thread": _in_thread(_attempts(wish)[name]) for name in ("read a secret",)}
    print(json.dumps({"told": told, "found": found}))


def _attempts(wish: dict[str, Any]) -> dict[str, Callable[[], object]]:
    source, scratch, home = wish["source"], wish["scratch"], wish["home"]
    return {
        "read a source": lambda: _read(f"{source}/photo.jpg"),
        "list a source": lambda: os.listdir(source),
        "read a model": lambda: _read(f"{wish['model']}/config.json"),
        "read a model behind a link": lambda: _read(f"{wish['model']}/model.safetensors"),
        "write scratch": lambda: _write(f"{scratch}/new"),
        "rename scratch": lambda: os.replace(f"{scratch}/old", f"{scratch}/renamed"),
        "random": lambda: _read("/dev/urandom", 8),
        "numpy": lambda: __import__("numpy").__version__,
        "a pair of sockets": socket.socketpair,
        "its own memory": lambda: _read("/proc/self/smaps_rollup"),
        "the CPU": lambda: _read("/proc/cpuinfo"),
        "a thread": lambda: threading.Thread(target=int).start(),
        # --------------------------------------------------------------------------------------------- what it may not
        "read a secret": lambda: _read(f"{home}/.ssh/id"),
        "read a secret behind a link": lambda: _read(f"{source}/link.jpg"),
        "list a home": lambda: os.listdir(home),
        "read the ledger": lambda: _read(wish["ledger"]),
        "write the ledger": lambda: _write(wish["ledger"]),
        "write into a source": lambda: _write(f"{source}/new.jpg"),
        "change a source": lambda: _write(f"{source}/photo.jpg"),
        "cut a source short": lambda: os.truncate(f"{source}/photo.jpg", 1),
        "delete a source": lambda: os.unlink(f"{source}/victim.jpg"),
        "rename a source": lambda: os.rename(f"{source}/other.jpg", f"{scratch}/taken"),
        "write a model": lambda: _write(f"{wish['model']}/config.json"),
        "make a folder": lambda: os.mkdir(f"{home}/new"),
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", wish["port"]), 5),
        "connect to another port": lambda: socket.create_connection(("127.0.0.1", wish["other_port"]), 5),
        "listen": _listen,
        "send a datagram": lambda: _datagram(wish["port"]),
        "connect to a Unix socket": lambda: _unix(wish["unix"]),
        "connect to an abstract socket": lambda: _unix("\0" + wish["abstract"]),
        "change a source's mode": lambda: os.chmod(f"{source}/photo.jpg", 0o600),
        "change a source's time": lambda: os.utime(f"{source}/photo.jpg", (1, 1)),
        "change a source's attributes": lambda: os.setxattr(f"{source}/photo.jpg", "user.test", b"x"),
        "change the mode of what it may not read": lambda: os.chmod(home, 0o755),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "read its parent's environment": lambda: _read(f"/proc/{os.getppid()}/environ"),
        "read its parent's memory": lambda: _ptrace(os.getppid()),
    }


def _read(path: str, count: int = -1) -> int:
    with open(path, "rb") as file:
        return len(file.read(count))


def _write(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def _listen() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))


def _datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("127.0.0.1", port))


def _unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address)


def _ptrace(pid: int) -> None:
    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    buffer = ctypes.create_string_buffer(1)
    local, remote = Vector(ctypes.addressof(buffer), 1), Vector(id(None), 1)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) < 0:
        code = ctypes.get_errno()
        if code != 14:  # EFAULT: it was let in, and the address is not one of that process
            raise OSError(code, os.strerror(code))


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def _in_thread(attempt: Callable[[], object]) -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(_outcome(attempt)))
    thread.start()
    thread.join()
    return found[0]


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    main(json.loads(sys.argv[1]))
