"""The sink children: each follows one job's feed into one place, and answers searches there if it can.

``base`` is the contract and loads a sink by its kind's declaration, ``sandbox`` says what its process may touch,
``follow`` is the loop that every sink shares, ``document`` what is written for a content, ``local_files`` what sinks on
a disk share, ``date_range`` the dates of a search, ``doctor_main`` the child that looks at sinks for ``doctor``. Each
kind that ships has a folder: ``jsonl``, ``qdrant``.
"""
