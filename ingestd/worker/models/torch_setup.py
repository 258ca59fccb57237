"""How torch is made ready in a worker, before weights are loaded: threads and memory."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

from ingestd.worker.usage import cores

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEEP: Final = 1 << 30


def prepare_torch(threads: int) -> None:
    """Set the threads of a forward pass (0: one per core that this process may use) and keep freed memory.

    A convolution's activations are tens of megabytes each. glibc takes and returns such blocks from the kernel on every
    operation, and the page faults cost more than the arithmetic: EfficientNet-Lite0 at batch 16 on 2 cores takes 8 ms
    an image with the memory kept, 20 ms without. The peak is the same.
    """
    import torch

    torch.set_num_threads(threads or cores())
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_THRESHOLD, _KEEP)
            libc.mallopt(_M_TRIM_THRESHOLD, _KEEP)
        except (OSError, AttributeError):  # another C library (musl) has no such knob
            pass
