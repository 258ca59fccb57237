"""What others need to test a kind or an executor of their own: contract suites, and small real implementations.

``python -m pytest --pyargs ingestd.testing`` runs them on what ships; it needs pytest and nothing of the repository.

``test_executors`` runs the suite of ``executor`` (what every executor must do) by ``executors.spawn`` and by
``fake_executor`` (children in threads), with those of ``sample_children``, most of which misbehave.
An executor of another package is held to the same by a subclass of ``executor.ExecutorContract``.

For sinks: ``sink`` is the contract, which ``test_sinks`` runs by the fake and by the file of JSON lines.
``sink_places`` is what it has to know of a sink, ``feed`` a ledger whose feed grows and changes as a test says,
``following`` one life of a sink's process without a process, ``fake_sink`` the smallest sink that keeps the contract,
``bad_sinks`` wrappers that misbehave.

This file imports nothing, since a child that needs no pytest is started through it.
"""
