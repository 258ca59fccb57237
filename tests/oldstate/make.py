"""Makes the state folder of an old release that the tests in this folder thaw: ``state-6b54340.tar.xz``.

It was run once over the code of commit 6b54340 (version 0.1.0, ledger version 2), on Linux with Python 3.11 and what
that commit's ``requirements.lock`` pins::

    python -m tests.oldstate.make       # needs GNU tar, xz, scikit-image, and that /tmp/ingestd-old does not exist

It is kept to show what is in the archive and how that came to be; a later release makes another one. Everything goes
through a real daemon and the real client. What is to be found in the middle is held there by SIGSTOP and SIGKILL:

- ``holiday`` completed, with both models: copies, a deleted file, broken files, skipped ones, a name that is not UTF-8;
- ``filtered`` completed, with ``--include``, ``--exclude`` and ``--limit``; ``by-list`` completed, from a list of NULs;
- ``report`` failed: the folder of its JSONL file was removed;
- ``dropped`` stopped, ``catalogue`` paused (its worker was killed: it has a suspect), both partly done;
- ``share`` waiting, partly done: its source was taken away (the archive has it in ``away``);
- ``journey`` running, in the second of two passes, the daemon killed; its sinks had written what they had not yet told;
- ``later`` and ``queued-list`` queued behind it.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from tests.oldstate.record import BASE, HOME, LEDGER, query, record, shown

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PHOTOS = BASE / "photos"
ENV = {k: v for k, v in os.environ.items() if not k.startswith("INGESTD_")} | {
    "INGESTD_HOME": str(HOME), "HF_HUB_OFFLINE": "1", "LOGNAME": "ada", "PYTHONPATH": f"{ROOT}:{ROOT / 'ctl'}",
}  # fmt: skip
FILTERS = ["--include", "*.jpg", "--exclude", "thumbs/", "--limit", "5"]
MODELS = ["--describe", "builtin", "--embed", "builtin"]
CONFIG = """\
describe = "none"
embed = "none"
embed_text = "none"
batch_size = 80
awake = "no"
sinks = ["qdrant", "jsonl"]
"""
PLANS: dict[str, dict[str, Any]] = {
    "holiday": {"words": ["start", "{base}/photos/holiday", *MODELS]},
    "filtered": {"words": ["start", "{base}/photos/album", "--name", "filtered", *FILTERS]},
    "by-list": {"words": ["start", "-0", "-", "--name", "by-list"], "nul": True},
    "report": {"words": ["start", "{base}/photos/report", "--sink", "jsonl:{base}/out/report.jsonl"]},
    "dropped": {"words": ["start", "{base}/photos/dropped"]},
    "share": {"words": ["start", "{base}/photos/share"]},
    "catalogue": {"words": ["start", "{base}/photos/catalogue", "--cooldown", "0"]},
    "journey": {"words": ["start", "{base}/photos/journey", *MODELS, "--embed-text", "builtin", "--passes", "2"]},
    "later": {"words": ["start", "{base}/photos/later/one.jpg", "{base}/photos/later/sub", "--name", "later"]},
    "queued-list": {"words": ["start", "-", "--name", "queued-list"]},
}
"""The command line of each job; a test gives the same again."""


# --------------------------------------------------------------------------------------------------------- the sources


def picture(seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    coarse = Image.frombytes("RGB", (4, 3), random.Random(seed).randbytes(36))
    return coarse.resize(size, Image.Resampling.BILINEAR)


def save(path: Path | bytes, image: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=70, **options)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(out.getvalue())
    return out.getvalue()


def many(name: str, count: int, seed: int) -> None:
    for number in range(count):
        save(PHOTOS / name / f"{'odd' if number % 2 else 'even'}/photo-{number:02}.jpg", picture(seed + number))


def make_photos() -> None:
    from skimage import data

    real = Path(data.__file__).parent
    holiday = PHOTOS / "holiday"
    for name in ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png"):
        image = Image.open(real / name).convert("RGB")
        image.thumbnail((160, 160))
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = "2021:07:04 12:30:00"
        save(holiday / Path(name).with_suffix(".jpg").name, image, exif=exif.tobytes())
    (holiday / "copies").mkdir()
    shutil.copyfile(holiday / "coffee.jpg", holiday / "copies" / "breakfast.jpg")
    save(os.fsencode(holiday) + b"/caf\xe9 \xff.jpg", picture(1))
    save(holiday / "deleted.jpg", picture(2))
    whole = save(holiday / "torn.jpg", picture(3, (320, 240)))
    (holiday / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (holiday / "letter.jpg").write_text("This is no picture at all.\n")
    (holiday / "empty.jpg").write_bytes(b"")
    (holiday / "film.mp4").write_bytes(b"film")
    (holiday / "coffee.xmp").write_text("<x/>")
    save(holiday / ".hidden.jpg", picture(4))
    for number in range(8):
        save(PHOTOS / "album" / f"{number}.jpg", picture(100 + number))
        save(PHOTOS / "album" / "thumbs" / f"{number}.jpg", picture(100 + number, (12, 9)))
    picture(120).save(PHOTOS / "album" / "drawing.png")
    many("listed", 6, 200)
    for number in range(4):
        save(PHOTOS / "report" / f"{number}.jpg", picture(300 + number))
    many("dropped", 64, 400)
    many("share", 64, 500)
    many("catalogue", 64, 600)
    # It takes the decoder long: it is what the worker is at when it is killed.
    Image.new("L", (12_000, 8_000), 90).save(PHOTOS / "catalogue" / "even" / "panorama.png")
    many("journey", 56, 700)
    shutil.copyfile(PHOTOS / "journey/even/photo-00.jpg", PHOTOS / "journey/zz-copy.jpg")
    save(PHOTOS / "later/one.jpg", picture(800))
    save(PHOTOS / "later/not this one.jpg", picture(801))
    many("later/sub", 4, 810)


def listed(name: str) -> list[bytes]:
    """The files of a list, as bytes of their paths."""
    if name == "by-list":
        return sorted(os.fsencode(path) for path in (PHOTOS / "listed").rglob("*.jpg"))
    known = [
        os.fsencode(PHOTOS / "holiday") + b"/" + name for name in (b"caf\xe9 \xff.jpg", b"coffee.jpg", b"rocket.jpg")
    ]
    return [*known, *listed("by-list")[:2], os.fsencode(PHOTOS / "album" / "7.jpg")]


# ------------------------------------------------------------------------------------------------ the daemon in the act


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.001)
    return value


def ctl(*words: str, codes: tuple[int, ...] = (0,), stdin: bytes = b"") -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ingestctl", *words], env=ENV, cwd=BASE, input=stdin, capture_output=True, timeout=120
    )
    assert done.returncode in codes, (words, done)


def start(name: str, codes: tuple[int, ...] = (0,)) -> None:
    plan = PLANS[name]
    end = b"\0" if plan.get("nul") else b"\n"
    stdin = b"".join(path + end for path in listed(name)) if "-" in plan["words"] else b""
    ctl(*(word.format(base=BASE) for word in plan["words"]), codes=codes, stdin=stdin)


def status(name: str) -> str:
    return str(query("SELECT status FROM job WHERE name = ?", name)[0][0])


def hold_worker(name: str, also: Callable[[], None] = lambda: None) -> psutil.Process:
    """Start a job, and hold its worker as soon as an item is done. ``also`` is called all the while."""
    db = sqlite3.connect(f"file:{LEDGER}?mode=ro", uri=True)  # one for all looks: it must be quick
    seen = "SELECT done, (SELECT pid FROM batch WHERE batch.job_id = job.id ORDER BY batch.id DESC LIMIT 1)"
    seen += " FROM job JOIN tally ON job_id = job.id WHERE name = ?"
    started = threading.Thread(target=start, args=(name,))
    started.start()
    row = None
    while row is None or not row[0]:
        also()
        row = db.execute(seen, (name,)).fetchone()
    os.kill(row[1], signal.SIGSTOP)
    db.close()
    started.join()
    return psutil.Process(row[1])


def ask(verb: str, name: str, becomes: str, then: Callable[[], None]) -> None:
    """A verb that waits for the worker, which goes on (or dies) when the verb has been stored."""
    thread = threading.Thread(target=ctl, args=(verb, name))
    thread.start()
    until(lambda: status(name) == becomes)
    then()
    thread.join()


def sink_process(job: str, sink: str) -> psutil.Process:
    lines = [json.loads(line) for line in (HOME / "log" / "ingestd.log").read_text().splitlines()]
    begun = [line for line in lines if line["event"] == "child started" and line.get("sink") == sink]
    return psutil.Process(next(line["pid"] for line in reversed(begun) if line["job"] == job))


def act(daemon: subprocess.Popen[bytes]) -> None:
    """Bring every job to where it is to be found, and kill the daemon."""
    start("holiday")
    ctl("wait", "holiday", codes=(3,))
    (PHOTOS / "holiday" / "deleted.jpg").unlink()
    start("holiday")
    ctl("wait", "holiday", codes=(3,))
    for name in ("filtered", "by-list"):
        start(name)
        ctl("wait", name)
    (BASE / "out").mkdir()
    start("report")
    ctl("wait", "report")
    shutil.rmtree(BASE / "out")
    save(PHOTOS / "report" / "late.jpg", picture(350))
    start("report", codes=(0, 1))
    until(lambda: status("report") == "failed")

    ask("stop", "dropped", "stopped", hold_worker("dropped").resume)

    worker = hold_worker("share")
    (BASE / "away").mkdir()
    (PHOTOS / "share").rename(BASE / "away" / "share")
    worker.resume()
    until(lambda: query("SELECT 1 FROM job WHERE status = 'waiting' AND reason LIKE 'source offline%'"))

    ask("pause", "catalogue", "paused", hold_worker("catalogue").kill)

    sinks: dict[str, psutil.Process] = {}

    def hold_sinks() -> None:
        """Hold each sink as soon as it has delivered something: it is to lag behind."""
        behind = "SELECT sink FROM cursor JOIN job ON job.id = job_id WHERE name = 'journey' AND seq > 0"
        for (name,) in query(behind) if len(sinks) < 2 else ():
            if name not in sinks:
                sinks[name] = sink_process("journey", name)
                sinks[name].suspend()

    worker = hold_worker("journey", hold_sinks)
    assert len(sinks) == 2, "a sink was not quick enough"
    start("later")
    start("queued-list")
    family = [psutil.Process(daemon.pid), *psutil.Process(daemon.pid).children()]
    daemon.send_signal(signal.SIGSTOP)
    told = written("journey")
    for sink in sinks.values():
        sink.resume()
    until(lambda: all(now > then for now, then in zip(written("journey"), told, strict=True)))
    time.sleep(2)  # more of what they had been told of; how much is of no importance
    daemon.kill()
    worker.kill()
    daemon.wait()
    psutil.wait_procs(family, 20)


def written(name: str) -> tuple[int, int]:
    """How far the two sinks of a job have got by themselves: bytes of lines, and the seq of the store's mark."""
    folder = HOME / "state" / "sinks" / str(query("SELECT uuid FROM job WHERE name = ?", name)[0][0])
    (mark,) = folder.glob("qdrant-*/ingestd.json")
    return (folder / "items.jsonl").stat().st_size, json.loads(mark.read_bytes())["seq"]


def pack(archive: Path) -> None:
    """Sparse, so that a store's files of 32 MiB of zeros cost nothing, and without owners and times."""
    form = "--sparse --hole-detection=raw --format=gnu --sort=name --owner=0 --group=0 --numeric-owner"
    left_out = ("home/run", "home/log", "home/stderr", "*.db-shm", "home/state/lock", "home/state/scratch")
    command = ["tar", *form.split(), "--mtime=@1700000000", *(f"--exclude={name}" for name in left_out)]
    with open(archive, "wb") as out:
        tar = subprocess.Popen([*command, "-C", str(BASE), "-c", "home", "photos", "away"], stdout=subprocess.PIPE)
        subprocess.run(["xz", "-9e"], stdin=tar.stdout, stdout=out, check=True)
        assert tar.wait() == 0


def main() -> None:
    HOME.mkdir(parents=True)
    (HOME / "config.toml").write_text(CONFIG)
    make_photos()
    with open(HOME / "stderr", "wb") as stderr:
        daemon = subprocess.Popen([sys.executable, "-m", "ingestd"], env=ENV, cwd=BASE, stdout=stderr, stderr=stderr)
    try:
        until((HOME / "run" / "ingestd.sock").exists)
        act(daemon)
    finally:
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGCONT)
            daemon.kill()
            daemon.wait()
    pack(BASE / "state.tar.xz")  # as it was left, before anybody looks into it
    found = record(PLANS, {name: listed(name) for name in ("by-list", "queued-list")})
    states = {name: job["status"] for name, job in found["jobs"].items()}
    assert set(states.values()) == {"queued", "running", "paused", "waiting", "completed", "failed", "stopped"}, states
    for name, needed in (
        ("journey", ("done", "running", "pending")),
        ("catalogue", ("done", "suspect", "pending")),
        ("share", ("done", "pending")),
        ("dropped", ("done", "pending")),
        ("holiday", ("done", "failed", "gone", "skipped")),
    ):
        counts = found["jobs"][name]["counts"]
        assert all(counts[state] for state in needed), (name, counts)
    shutil.move(BASE / "state.tar.xz", HERE / "state-6b54340.tar.xz")
    (HERE / "expected.json").write_text(shown(found) + "\n")
    shutil.rmtree(BASE)


if __name__ == "__main__":
    main()
