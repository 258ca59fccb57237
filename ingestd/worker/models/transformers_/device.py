"""Where a model runs and in which numbers: chosen by what the machine has and what it is fast at."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ingestd.errors import Misconfigured
from ingestd.lockdown.system import devices

BYTES: Final = {"float32": 4, "float16": 2, "bfloat16": 2}

LIBRARIES: Final = 400_000_000
"""Bytes that torch and transformers take in a worker beside any weights (measured: 330 MB resident)."""

_SLACK: Final = 1.2
"""Activations and a batch of prepared pictures, as a multiple of the weights: a guess on the low side, since a batch
that does not fit is halved, while weights that do not fit end the worker."""


@dataclass(frozen=True)
class Place:
    """``device`` as torch names it, ``dtype`` by its name in torch."""

    device: str
    dtype: str

    @property
    def accelerated(self) -> bool:
        return self.device != "cpu"


def choose(device: str, *, exact: bool) -> Place:
    """``auto``: CUDA, else MPS, else the CPU. ``exact`` means float32. Raises ``Misconfigured``."""
    import torch

    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if cuda else "mps" if mps else "cpu"
    if re.fullmatch(r"cuda(:\d+)?", device):
        count = torch.cuda.device_count() if cuda else 0
        index = int(device.partition(":")[2] or 0)
        if index >= count:
            raise _no_device(device, f"there are {count} CUDA devices" if count else "torch finds no CUDA device")
    elif device == "mps":
        if not mps:
            raise _no_device(device, "torch finds no Metal device")
    elif device != "cpu":
        raise _no_device(device, "there is no such kind of device")
    return Place(device, "float32" if exact else _fast_dtype(device))


def guess(device: str, *, exact: bool) -> Place | None:
    """Where ``choose`` would put a model, told without torch, which takes seconds; None where only torch can tell."""
    if device == "auto" and sys.platform == "linux" and not any(b"nvidia" in one for one in devices()):
        device = "cpu"
    if device == "auto" and sys.platform == "darwin":
        device = "mps"
    if device not in ("cpu", "mps"):
        return None
    return Place(device, "float32" if exact else _fast_dtype(device))


class Shortage(NamedTuple):
    """``words``: what is short. ``lasting``: not even all memory of the machine would do."""

    words: str
    lasting: bool


def check_memory(parameters: int, place: Place, memory: tuple[int, int] | None = None) -> Shortage | None:
    """None when weights of so many parameters fit there now.

    ``memory`` (bytes that are free, bytes in all) is asked of the system when it is not given.
    """
    need = weights_memory(parameters, place.dtype) + (0 if place.device.startswith("cuda") else LIBRARIES)
    free, whole = memory or _memory(place)
    if need <= free:
        return None
    where = "GPU memory" if place.device.startswith("cuda") else "memory"
    lasting = need > whole
    there = f"this machine has {_gb(whole)}" if lasting else f"{_gb(free)} are free"
    return Shortage(f"it needs about {_gb(need)} of {where} as {place.dtype}, and {there}", lasting)


def weights_memory(parameters: int, dtype: str) -> float:
    """Bytes that weights of so many parameters take with what is computed beside them."""
    return parameters * BYTES[dtype] * _SLACK


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


def _memory(place: Place) -> tuple[int, int]:
    if place.device.startswith("cuda"):
        import torch

        free, whole = torch.cuda.mem_get_info(place.device)
        return int(free), int(whole)
    import psutil

    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)


def _fast_dtype(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"
    if device == "mps":
        return "float16"
    return "bfloat16" if _bf16_in_hardware() else "float32"


def _bf16_in_hardware() -> bool:
    """Whether the CPU multiplies bfloat16 itself: three times as fast as float32 there, far slower elsewhere."""
    if sys.platform != "linux":
        return False
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
            flags: set[str] = next((set(line.split()) for line in info if line.startswith("flags")), set())
    except OSError:
        return False
    return bool(flags & {"amx_bf16", "avx512_bf16"})


def _no_device(device: str, why: str) -> Misconfigured:
    return Misconfigured(
        why, operation="use", object=f"the device {device!r}", remedy="--device auto takes the best that is there"
    )


def torch_dtype(place: Place) -> Any:
    """The dtype as torch's object."""
    import torch

    return getattr(torch, place.dtype)
