"""Limits that hold a child, the environment that it inherits, and what a machine is said to offer."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingestd.kinds.sinks import SHIPPED
from ingestd.lockdown import environment, landlock
from ingestd.lockdown.limits import STEP_S, TOKEN_S, patience
from ingestd.lockdown.offers import offers


def run(code: str, cwd: Path) -> int:
    """Run ``code``, with all core dumps allowed that this user may allow; its wait status."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    start = f"import resource, os; resource.setrlimit(resource.RLIMIT_CORE, ({most}, {most}))\n"
    process = subprocess.Popen([sys.executable, "-c", start + code], cwd=cwd, stderr=subprocess.DEVNULL)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = status
    return status


@pytest.mark.skipif(sys.platform != "linux", reason="core dumps were not tested: they lie elsewhere there")
def test_no_core_is_dumped(tmp_path: Path) -> None:
    """Neither into a file nor into a program that takes dumps: the kernel says of the end that nothing was dumped."""
    control = run("os.abort()", tmp_path)
    if not os.WCOREDUMP(control):
        pytest.skip("no process of this machine dumps core: that a locked one does not was not tested")
    for file in tmp_path.iterdir():
        file.unlink()
    status = run(
        "from ingestd.lockdown import Access, apply; apply(Access(anywhere=True, ports=None)); os.abort()", tmp_path
    )
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_runs_in_circles_is_ended(tmp_path: Path) -> None:
    """By the kernel, in native code too, once it has used its CPU time without a message."""
    status = run("from ingestd.lockdown.limits import Spin\nSpin(1)\nwhile True: pass", tmp_path)
    assert os.WTERMSIG(status) == signal.SIGXCPU


def test_progress_gives_time_anew(tmp_path: Path) -> None:
    """A long batch is not ended: the limit is for the time between two messages, not for all of it."""
    code = (
        "import time\nfrom ingestd.lockdown.limits import Spin\nspin = Spin(1)\n"
        "while time.process_time() < 2.6: spin.progress()\n"
    )
    assert run(code, tmp_path) == 0


def test_a_file_may_not_grow_for_ever(tmp_path: Path) -> None:
    """Past the limit a write fails with a sentence; the process is not killed for it."""
    code = (
        "import errno\nfrom ingestd.lockdown import limits\nassert limits.short_files() and limits.few_descriptors()\n"
        "file = open('file', 'wb')\nos.truncate('file', limits.FILE_BYTES)\nfile.seek(limits.FILE_BYTES)\n"
        "try: file.write(b'x'); file.flush()\nexcept OSError as error: os._exit(error.errno != errno.EFBIG)\n"
    )
    assert run(code, tmp_path) == 0


def test_cpu_time_follows_from_the_work() -> None:
    """A model that writes gets time for every token, on all cores; what does not write gets the same for any batch."""
    assert patience((), 2) == 2 * STEP_S
    assert patience((64, 0), 4) == 4 * (STEP_S + 64 * TOKEN_S)


PLAIN = {"PATH": "/bin", "HOME": "/home/u", "OMP_NUM_THREADS": "2", "INGESTD_HOME": "/x", "TOKENIZERS_PARALLELISM": "1"}
PLAIN |= {"PWD": "/home/u", "OLDPWD": "/", "XDG_SESSION_PATH": "/s", "HTTP_PROXY": "http://proxy:3128"}
SECRETS = {
    "INGESTD_ENDPOINT_KEY": "a", "INGESTD_QDRANT_KEY": "b", "HF_TOKEN": "c", "OPENAI_API_KEY": "d",
    "AWS_SECRET_ACCESS_KEY": "e", "AWS_ACCESS_KEY_ID": "f", "SSH_AUTH_SOCK": "/s", "PGPASSWORD": "g",
    "HTTPS_PROXY": "http://user:word@proxy:3128", "DATABASE_URL": "postgres://u:p@host/x", "github_token": "h",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1/bus", "NOTIFY_SOCKET": "/run/n",
    "MYSQL_PWD": "i", "SMTP_PASS": "j", "GITHUB_PAT": "k", "API_KEYS": "l", "MYAPIKEY": "m", "SENTRY_DSN": "n",
    "STORAGE_CONNECTION_STRING": "o", "MIRROR": "https://token@host/x",
}  # fmt: skip


def kept(secrets: frozenset[str], *, online: bool) -> set[str]:
    return environment.of_child(PLAIN | SECRETS, secrets, online=online).keys() & SECRETS.keys()


def test_a_child_inherits_no_secret_but_its_own() -> None:
    """A local model's worker none; an endpoint's its key, a server's sink that server's, a fetch the hub's token."""
    assert kept(environment.of_models(["builtin", "/folder", "siglip2"]), online=False) == set()
    endpoint = environment.of_models(["builtin", "openai:http://127.0.0.1/v1#m"])
    assert kept(endpoint, online=False) == {"INGESTD_ENDPOINT_KEY", "HTTPS_PROXY"}
    server = environment.of_sinks([SHIPPED["qdrant-server"], SHIPPED["jsonl"]])
    assert kept(server, online=False) == {"INGESTD_QDRANT_KEY", "HTTPS_PROXY"}
    assert kept(environment.of_sinks([SHIPPED["qdrant"], SHIPPED["jsonl"]]), online=False) == set()
    assert kept(frozenset(), online=True) == {"HF_TOKEN", "HTTPS_PROXY"}


def test_what_is_no_secret_is_inherited() -> None:
    """What tunes libraries reaches them."""
    assert environment.of_child(PLAIN | SECRETS, (), online=False).items() >= PLAIN.items()


def test_only_what_fetches_is_online() -> None:
    """A model hub is asked by the probe of a job with a model of a hub; telemetry is off for all."""
    assert [environment.may_fetch([model]) for model in ("builtin", "none", "/folder", "openai:http://h/v1")] == [
        False
    ] * 4
    assert environment.may_fetch(["builtin", "siglip2"])
    assert environment.may_fetch(["google/siglip2-base-patch16-224"])
    offline = environment.of_child(PLAIN, (), online=False)
    assert (offline["HF_HUB_OFFLINE"], offline["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    online = environment.of_child(PLAIN, (), online=True)
    assert "HF_HUB_OFFLINE" not in online
    assert offline["HF_HUB_DISABLE_TELEMETRY"] == online["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_proxies_are_reached_by_their_ports() -> None:
    """An endpoint behind a proxy is reached; a proxy that cannot be read gives nothing."""
    assert environment.proxy_ports({"HTTPS_PROXY": "http://p:3128", "no_proxy": "localhost:9"}) == [3128]
    assert [environment.port_of(url) for url in ("https://h/v1", "http://h:8000", "h:1", "ftp://h", "http://h:x")] == [
        *(443, 8000, 1, 0, 0)
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's own: it was not tested")
def test_what_a_machine_offers_is_said_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thing that is missing names what would bring it; a kernel that knows all has nothing to say."""

    def refused(*_: object) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    whole = offers(kernel=landlock.Kernel(6))
    assert whole[0].whole
    assert not whole[0].remedy
    old = offers(kernel=landlock.Kernel(3))[0]
    assert not old.whole
    assert "TCP" in old.words
    assert "6.12" in old.remedy
    none = offers(kernel=landlock.Kernel(0, "this kernel was built without it"))[0]
    assert "this kernel was built without it" in none.words
    assert "5.13" in none.remedy
    monkeypatch.setattr(landlock, "_call", refused)
    kept = offers()[0]
    assert "a container or a service, refuses it" in kept.words
    assert "landlock_restrict_self" in kept.remedy
    off = offers("no")
    assert [offer.whole for offer in off] == [False]
    assert "lockdown" in off[0].remedy
