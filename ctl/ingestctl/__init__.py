"""ingestctl: the client of ingestd, in the standard library alone, so that it starts in milliseconds.

``main`` reads the argument line and turns errors into text and exit codes. ``verbs`` has what each verb does; ``rpc``
is JSON-RPC over the Unix socket, ``locations`` where the socket, the state and the log lie. ``daemon_process`` starts
and ends a daemon, ``daemon_oneshot`` gets an answer where none runs, ``daemon_program`` is what both run.
``argument_values`` reads paths, dates and numbers, ``filelist`` a list of paths from stdin, ``kinds`` which steps and
sinks ``start`` offers. ``render`` and ``terminal_text`` make the text that a person reads; ``job_progress`` shows a
job's progress until it rests, ``live_status`` redraws the status. ``completion``, ``manual`` and ``service`` are
packages of their own.

Nothing here imports ``ingestd``; ``rich`` is imported by ``live_status`` alone. Modules load what they need when a verb
needs it: a test measures the time to first output.
"""

__version__ = "0.1.0"
