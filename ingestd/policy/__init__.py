"""What is decided, apart from doing it: pure functions and plain data, no clock, process, database or event loop.

``states`` has the legal moves of jobs and items; ``state`` is what the supervisor knows; ``messages`` are the events
that reach it and the commands that follow. ``decide`` applies an event, then ``plan`` looks for what is missing. They
are helped by ``moves`` (a job's status changes), ``copies`` (one content in several windows), ``deliveries`` (the
sinks' processes), ``deadlines`` (processes that take too long) and ``activity`` (must the machine stay awake?).
``notices`` is what listeners are told, and what of it follows from a decision.

``recipe`` turns a request into steps with their passes; ``pace`` estimates what is left in seconds, ``disk_estimate``
in bytes. Times are passed in.
"""
