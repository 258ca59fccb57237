"""What the daemon does: an event comes in, ``policy.decide`` says what follows, a part of this package performs it.

``loop`` is the only interpreter of commands; it makes the parts and hands each command to one of them. ``shared`` is
what every part is given: ledger, clocks, view, the jobs' rows, and the mailbox. A part knows the parts that stand in
its constructor and no others; no part knows the loop.

The parts: ``job_records`` (jobs as the ledger and their files have them), ``removal``, ``disk_check``, ``probes``
(which models are these?), ``sources`` (are they there?), ``walks``, ``workers`` (their processes) with ``read_scope``
(what they may read), ``commits`` (what the ledger is told of their items), ``sinks``, ``search`` and ``power`` (keeping
the machine awake). Below them are ``children`` (starts, hears and ends processes) and ``notices`` (who listens to what
happens).
"""
