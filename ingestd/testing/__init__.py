"""What others need to test their own parts of the house: contract suites and small real implementations.

``test_executors`` runs the suite of ``executor`` (what every executor must do) by ``executors.spawn`` and by
``fake_executor`` (children in threads), with those of ``sample_children``, most of which misbehave.
It needs pytest and nothing of the repository::

    python -m pytest --pyargs ingestd.testing.test_executors

An executor of another package is held to the same by a subclass of ``executor.ExecutorContract``. ``fake_sink`` is the
smallest sink that keeps the contract of sinks. This file imports nothing, since a child that needs no pytest is started
through it.
"""
