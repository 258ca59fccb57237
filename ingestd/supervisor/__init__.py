"""The supervisor: ``loop`` performs what ``policy.decide`` returns; ``children`` holds the processes.

Each kind of work has a desk: ``workers`` (with ``read_scope``, what they may read), ``walks``, ``sources``, ``sinks``,
``search`` and ``power`` (keeping the machine awake).
"""
