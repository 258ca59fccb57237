"""The supervisor: ``decide`` and ``plan`` say what to do, ``run`` alone does it, ``children`` holds the processes."""
