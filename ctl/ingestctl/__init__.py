"""ingestctl: the client of ingestd, in the standard library alone, so that it starts in milliseconds.

The rooms: ``main`` (argument line, exit codes), ``place`` (where the socket and the log lie), ``rpc`` (JSON-RPC over
the Unix socket), ``daemon`` (starting one in the background, asking without one), ``argument`` (paths, dates and
numbers of the argument line), ``filelist`` (a list of paths from stdin), ``text`` and ``render`` (what a person reads),
``follow`` and ``watch`` (progress until the job rests, live redraw), ``verbs`` (one function per verb).

Nothing here imports ``ingestd``; ``rich`` is imported by ``watch`` alone. Modules load what they need when a verb needs
it: the time to first output is measured by a test.
"""

__version__ = "0.1.0"
