"""What holds for every test."""

from __future__ import annotations

import signal

# A suite begun in the background inherits an ignored SIGINT, and so would every client that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
