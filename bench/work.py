"""What goes through the daemon, against bare loops over the same files, and fresh processes against an endless one.

Rates through the daemon are taken between the first and the last committed result, so that starting processes and
loading models are left out, as they are in the bare loops; the whole job's wall time stands beside them.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from bench.table import Row, of_pairs, several
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

SMALL_FILES = 2_000
PHOTOS = 600
ENDLESS = 1_000_000
FRESH_RATIO = 0.97
SIMPLE_RATIO = 1.5
SIDE = 512
SOURCES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "ihc", "motorcycle_left", "retina", "rocket")


class Measured(NamedTuple):
    """A job: items per second between its first and last result, and seconds from asking for it to its end."""

    rate: float
    wall: float


def through_daemon(daemon: Daemon, folder: Path, **params: Any) -> Measured:
    """One job over ``folder``, which the ledger forgets afterwards: the next one has to do everything again."""
    began = time.perf_counter()
    job = daemon.ingest(folder, **params)
    wall = time.perf_counter() - began
    ((first, last),) = daemon.query("SELECT min(at), max(at) FROM result")
    ((results,),) = daemon.query("SELECT count(DISTINCT content_id) FROM result WHERE at > ?", first)
    assert job["counts"]["done"] == len(os.listdir(folder)), job
    daemon.call("remove", job=job["name"])
    return Measured(1000 * results / max(1, last - first), wall)


def bare(loop: str, folder: Path, cache: Path) -> float:
    """Items per second of one of ``bench.bare``'s loops."""
    command = [sys.executable, "-m", "bench.bare", loop, str(folder), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return len(os.listdir(folder)) / float(done.stdout.split()[-1])


def catalogue(folder: Path) -> Iterator[Row]:
    """``meta``: many small files."""
    small = folder / "small"
    write_photos(small, SMALL_FILES, seed=8)
    ours: list[Measured] = []
    theirs: list[float] = []
    with Daemon(folder / "home") as daemon:
        for _ in range(2):
            ours.append(through_daemon(daemon, small, **META))
            theirs.append(bare("catalogue", small, folder))
    rates = [measured.rate for measured in ours]
    yield Row(
        f"meta, {SMALL_FILES:,} small files: daemon ÷ loop that reads, hashes, decodes",
        "",
        f"{several(rates)} ÷ {several(theirs)} files/s; whole job {several([m.wall for m in ours])} s",
        of_pairs(rates, theirs),
    )


def model(folder: Path) -> Iterator[Row]:
    """``builtin``: the daemon against two loops, and batches against one long one."""
    photos = folder / "photos"
    distinct_photos(photos, PHOTOS)
    cache = folder / "cache"
    fresh: list[Measured] = []
    endless: list[Measured] = []
    forward: list[float] = []
    simple: list[float] = []
    with Daemon(folder / "home") as daemon:
        first = folder / "first"
        distinct_photos(first, 1)
        through_daemon(daemon, first)  # the label vectors are computed once for a state folder
        for _ in range(2):
            endless.append(through_daemon(daemon, photos, batch_size=ENDLESS))
            forward.append(bare("forward", photos, cache))
            fresh.append(through_daemon(daemon, photos, batch_size=100))
            simple.append(bare("simple", photos, cache))
    rates, batches = [measured.rate for measured in endless], [measured.rate for measured in fresh]
    walls = [measured.wall for measured in endless]
    yield Row(
        f"builtin, {PHOTOS} photos of {SIDE} px: daemon (read, hash, decode, model, commit) ÷ forward passes alone",
        "",
        f"{several(rates)} ÷ {several(forward)} images/s; whole job {several(walls)} s",
        of_pairs(rates, forward),
    )
    yield Row(
        "the same ÷ for file in folder: model(file)",
        f"≥ {SIMPLE_RATIO}",
        f"{several(rates)} ÷ {several(simple)} images/s",
        of_pairs(rates, simple),
        of_pairs(rates, simple) >= SIMPLE_RATIO,
    )
    ratio = of_pairs(batches, rates)
    walls = [measured.wall for measured in fresh]
    yield Row(
        "builtin, a fresh process per 100 items ÷ one endless process",
        f"≥ {FRESH_RATIO}",
        f"{several(batches)} ÷ {several(rates)} images/s; whole job {several(walls)} s",
        ratio,
        ratio >= FRESH_RATIO,
    )


def distinct_photos(folder: Path, n: int) -> None:
    """``n`` JPEGs of 512 × 512: other crops of scikit-image's photos, so that no two files have the same bytes."""
    folder.mkdir(parents=True)
    rng = random.Random(9)
    data = Path(sysconfig.get_path("purelib")) / "skimage" / "data"
    found = [path for name in SOURCES for path in data.glob(f"{name}.*")]
    images = [Image.open(path).convert("RGB") for path in found]
    for number in range(n):
        image = images[number % len(images)]
        side = int(min(image.size) * rng.uniform(0.6, 1.0))
        left, top = rng.randrange(image.width - side + 1), rng.randrange(image.height - side + 1)
        box = (left, top, left + side, top + side)
        crop = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
        crop.save(folder / f"{number:04}.jpg", quality=90, comment=f"{number}".encode())
