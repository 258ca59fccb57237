"""How torch is made ready in a worker, before weights are loaded: threads and memory."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

from ingestd.worker.usage import cores

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEEP: Final = 1 << 30


def prepare_torch(threads: int) -> None:
    """Set the threads of a forward pass and keep freed memory.

    ``threads`` 0: what ``OMP_NUM_THREADS`` says, else one per core that this process may use.

    A convolution's activations are tens of megabytes each. glibc takes and returns such blocks from the kernel on every
    operation, and the page faults cost more than the arithmetic: EfficientNet-Lite0 at batch 16 on 2 cores takes 8 ms
    an image with the memory kept, 20 ms without. The peak is the same.
    """
    import torch

    told = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(threads or (int(told) if told.isdecimal() and int(told) else cores()))
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_THRESHOLD, _KEEP)
            libc.mallopt(_M_TRIM_THRESHOLD, _KEEP)
        except (OSError, AttributeError):  # another C library (musl) has no such knob
            pass
