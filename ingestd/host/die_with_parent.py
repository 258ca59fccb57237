"""Become another program, which the kernel ends with this one's parent.

``python die_with_parent.py PARENT_PID PROGRAM ARGUMENT…``

Run by its path, so it imports nothing of ours. The death signal is kept across ``exec``. It belongs to the parent's
thread that started us: in the daemon that is the first one, which lives as long as the process.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # else it died before the request was in force
        os.execv(program[0], program)


if __name__ == "__main__":
    main()
