"""Loops without a daemon, each in a process of its own: ``python -m bench.bare LOOP FOLDER CACHE`` prints seconds.

Imports, the loading of weights and one forward pass to warm up are not counted.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image


def catalogue(files: list[Path], cache: Path) -> float:
    """Read, hash and decode each file."""
    files[0].read_bytes()
    began = time.perf_counter()
    for file in files:
        data = file.read_bytes()
        hashlib.sha256(data).digest()
        with Image.open(file) as image:
            image.load()
    return time.perf_counter() - began


def forward(files: list[Path], cache: Path) -> float:
    """Only the forward passes of ``builtin``, over pictures that are decoded and prepared before the clock starts."""
    runner = builtin(cache)
    ready = [prepared(runner, file) for file in files]
    groups = [ready[at : at + runner.batch] for at in range(0, len(ready), runner.batch)]
    runner.run(groups[0], [runner.mask] * len(groups[0]))
    began = time.perf_counter()
    for group in groups:
        runner.run(group, [runner.mask] * len(group))
    return time.perf_counter() - began


def simple(files: list[Path], cache: Path) -> float:
    """What a script does: read, decode and run ``builtin`` one file after the other."""
    runner = builtin(cache)
    list(runner.run([prepared(runner, files[0])], [runner.mask]))
    began = time.perf_counter()
    for file in files:
        list(runner.run([prepared(runner, file)], [runner.mask]))
    return time.perf_counter() - began


def builtin(cache: Path) -> Any:
    """The model as a worker loads it, for both of its steps."""
    from ingestd.protocol.work import Machine, StepRequest
    from ingestd.worker.steps import registry

    cache.mkdir(parents=True, exist_ok=True)
    machine = Machine(str(cache))
    steps = [registry.resolve(StepRequest(kind, "builtin"), machine, lambda *_: None) for kind in ("embed", "describe")]
    (runner,) = registry.load([msgspec.structs.replace(step, bit=bit) for bit, step in enumerate(steps)], machine)
    return runner


def prepared(runner: Any, file: Path) -> Any:
    with Image.open(file) as image:
        return runner.prepare(image.convert("RGB"), {})


if __name__ == "__main__":
    _, loop, folder, cache_folder = sys.argv
    loops = {"catalogue": catalogue, "forward": forward, "simple": simple}
    print(loops[loop](sorted(Path(folder).iterdir()), Path(cache_folder)))
