"""``make demo``: a real folder of photos, ingested, summed up and searched, with every command shown as it is typed.

``make demo DIR=/some/folder`` takes that folder. Everything lies in ``.demo`` beside the Makefile (``INGESTD_HOME``),
so that a second ``make demo`` finds what the first one did. Whatever ends the demo, Ctrl-C included, ends its daemon.

Exit code: 0 when each built-in photo came first for its words; 1 when one did not, or when a command failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLIENT = Path(sys.executable).parent / "ingestctl"

QUESTIONS = {"a cat": "chelsea.png", "a cup of coffee": "coffee.png", "a rocket": "rocket.jpg"}
"""What is asked of the built-in photos, and the photo that answers it."""

ONLY = ("--include", "*.png", "--include", "*.jpg")
"""The same folder also holds arrays and multi-page scans for tests of other software."""

FINISHED_WITH_FAILURES = 3
SURE = 0.3
"""The score from which a tag counts as something that is in the user's folder."""


class DemoFailed(Exception):
    """A command of the demo ended in another way than it should have."""


class Transcript:
    """Runs ``ingestctl`` in the demo's own home and prints each command before its output."""

    def __init__(self, home: Path) -> None:
        # Nothing that somebody set for a daemon of theirs may change what the demo shows.
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("INGESTD_")}
        self.env |= {"INGESTD_HOME": str(home), "HF_HUB_OFFLINE": "1"}

    def run(self, *words: str, good: tuple[int, ...] = (0,)) -> int:
        """Run one command with its output where ours goes; its exit code, which must be one of ``good``."""
        print(f"\n$ ingestctl {shlex.join(words)}", flush=True)
        # In a session of its own: at a Ctrl-C the client would say that the job goes on, and here the daemon ends.
        with subprocess.Popen([CLIENT, *words], env=self.env, start_new_session=True) as client:
            try:
                code = client.wait()
            except BaseException:
                client.terminate()
                client.wait()
                print(flush=True)  # the progress bar keeps its line
                raise
        if code not in good:
            raise DemoFailed(f"ingestctl {words[0]} ended with exit code {code}")
        return code

    def ask(self, *words: str) -> str:
        """Run one command, print its output, and return it."""
        print(f"\n$ ingestctl {shlex.join(words)}", flush=True)
        done = subprocess.run([CLIENT, *words], env=self.env, stdout=subprocess.PIPE, check=False)
        text = done.stdout.decode()
        print(text, end="", flush=True)
        if done.returncode:
            raise DemoFailed(f"ingestctl {words[0]} ended with exit code {done.returncode}")
        return text

    def job(self, source: Path) -> dict[str, Any]:
        """The newest job's status, read silently."""
        reply = subprocess.run([CLIENT, "status", "--json"], env=self.env, stdout=subprocess.PIPE, check=True).stdout
        jobs = json.loads(reply)["jobs"]
        return dict(next(job for job in jobs if job["sources"] == [str(source)]))

    def start_daemon(self) -> None:
        """Begin the daemon. A Ctrl-C that comes meanwhile waits: half begun, the daemon could not be ended."""
        with undisturbed():
            print("$ ingestctl start", flush=True)
            code = subprocess.run([CLIENT, "start"], env=self.env, start_new_session=True, check=False).returncode
        if code:
            raise DemoFailed(f"ingestctl start ended with exit code {code}")

    def end_daemon(self) -> None:
        """End it, whatever happened before."""
        with undisturbed():
            print("\n$ ingestctl shutdown", flush=True)
            code = subprocess.run([CLIENT, "shutdown"], env=self.env, start_new_session=True, check=False).returncode
        if code:
            raise DemoFailed(f"ingestctl shutdown ended with exit code {code}")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put an interruption off until the end of the block."""
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def photos() -> Path:
    """The folder of photos that scikit-image ships."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DemoFailed("scikit-image, which brings the photos, is not installed: run it as make demo")
    return Path(spec.origin).parent / "data"


def builtin_photos(show: Transcript) -> bool:
    """Ingest and search the photos that come with the environment; whether each question found its photo."""
    source = photos()
    ingest(show, source, "--name", "demo", *ONLY)
    right = True
    for question, answer in QUESTIONS.items():
        best = show.ask("search", question, "--n", "3").partition("\n")[0]
        if f"/{answer}  " not in best:
            print(f"Error: {answer} was to come first for {question!r}", file=sys.stderr)
            right = False
    return right


def own_photos(show: Transcript, source: Path) -> None:
    """Ingest the user's folder, and search for what most of its pictures show."""
    ingest(show, source)
    job = show.job(source)
    if job["counts"]["failed"]:
        show.run("failed", job["name"])
    lines = next(sink["place"] for sink in job["sinks"] if sink["kind"] == "jsonl")
    tags = most_seen(Path(lines))
    if not tags:
        print("\nNo picture here shows anything that the builtin model is sure of: no search is tried.")
    for tag in tags:
        show.run("search", tag, "--n", "3", "--job", job["name"])


def ingest(show: Transcript, source: Path, *options: str) -> None:
    """Start the folder and look on until everything is done; then say how it went."""
    began = time.time()
    show.run("start", spelled(source), *options, "--follow", good=(0, FINISHED_WITH_FAILURES))
    job = show.job(source)
    age = job["last_commit_age"]
    if age is not None and age > time.time() - began:
        print("Everything was done already, and nothing was done a second time.")
    show.run("summary", job["name"])


def spelled(path: Path) -> str:
    """``path`` as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def most_seen(lines: Path, n: int = 3) -> list[str]:
    """The tags that most pictures have with some certainty, from the JSONL sink, where the last line of an id wins."""
    current: dict[str, dict[str, Any]] = {}
    with open(lines, encoding="utf-8") as file:
        for line in file:
            document = json.loads(line)
            current[document["id"]] = document
    seen = Counter(tag["label"] for doc in current.values() for tag in doc.get("tags", ()) if tag["score"] >= SURE)
    return [label for label, _ in seen.most_common(n)]


def next_steps(home: Path) -> str:
    """What to type now."""
    ctl = spelled(CLIENT)
    return f"""
What to type next
  these pictures again   export INGESTD_HOME={shlex.quote(str(home))}
                         {ctl} start
                         {ctl} search "an animal"
                         {ctl} shutdown; unset INGESTD_HOME
  a folder of yours      make demo DIR=~/Pictures
  for real               make install
                         ingestctl start ~/Pictures --follow
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="demo.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", help="a folder of your own (default: photos from scikit-image)")
    parser.add_argument("--home", type=Path, default=ROOT / ".demo", help="where the demo's daemon keeps everything")
    args = parser.parse_args(argv)
    home = args.home.absolute()
    show = Transcript(home)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    source = Path(args.folder).expanduser().resolve() if args.folder else None
    if source is not None and not source.is_dir():
        print(f"Error: cannot read {source}: it is no folder\nTry: make demo DIR=/a/folder/of/photos", file=sys.stderr)
        return 2
    print(f"A daemon of the demo's own; everything it keeps lies in {home}\n", flush=True)
    right = True
    try:
        try:
            show.start_daemon()
            if source is None:
                right = builtin_photos(show)
            else:
                own_photos(show, source)
        finally:
            show.end_daemon()
    except KeyboardInterrupt:
        print("The demo was interrupted and its daemon ended; make demo goes on where it was.", file=sys.stderr)
        return 130
    except DemoFailed as failure:
        print(f"Error: cannot show the demo: {failure}\nTry: read {home / 'log' / 'ingestd.log'}", file=sys.stderr)
        return 1
    print(next_steps(home))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
