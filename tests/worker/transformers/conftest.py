"""Tiny checkpoints, each built once, and photos of many shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache as once
from pathlib import Path

import pytest

from tests import pictures, tinymodels

SIZES = [(64, 48), (300, 200), (200, 300), (31, 90), (640, 480), (33, 33), (500, 120), (48, 64)]

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "clip": tinymodels.clip,
    "siglip": tinymodels.siglip,
    "siglip2": tinymodels.siglip2,
    "smolvlm": lambda folder: tinymodels.smolvlm(folder, ends=True),
    "smolvlm2": lambda folder: tinymodels.smolvlm2(folder, ends=True),
    "endless": tinymodels.smolvlm,
    "looping": lambda folder: tinymodels.smolvlm(folder, repeats=1),
    "curable": lambda folder: tinymodels.smolvlm(folder, 2, ends=True, repeats=0.3),
    "llava": tinymodels.llava,
    "qwen": tinymodels.qwen,
    "captioner": tinymodels.captioner,
    "bert": tinymodels.bert,
    "llama": tinymodels.llama,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by its name in ``BUILDERS``."""
    root = tmp_path_factory.mktemp("tiny")
    return once(lambda name: BUILDERS[name](root / name))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """JPEGs of every size in ``SIZES``."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for seed, size in enumerate(SIZES):
        paths.append(folder / f"{seed}.jpg")
        paths[-1].write_bytes(pictures.photo(seed, size, quality=90))
    return paths


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")
