"""The sink children: each follows one job's feed into one place, and answers searches there if it can.

``base`` is the contract, ``follow`` the loop that every sink shares, ``document`` what is
written for a content, ``local_files`` what sinks on a disk share, ``date_range`` the dates of a search. The sinks:
``jsonl`` (a log of lines), ``qdrant_edge`` (Qdrant's engine in this process), ``qdrant_server`` (a server, with
``qdrant_wire`` to reach it, ``qdrant_collection`` and ``qdrant_evidence``; ``points`` is what both share), ``memory``
(the smallest one: the contract's example, and the tests').
"""
