"""What others need to test their own part against ingestd, shipped: contracts as test suites, and fakes that are real.

For sinks: ``sink`` is the contract, ``sink_places`` what it has to know of a sink, ``feed`` a ledger whose feed grows
and changes as a test says, ``following`` one life of a sink's process without a process, ``fake_sink`` the smallest
sink that keeps the contract, ``bad_sinks`` wrappers that misbehave. Only the suites import pytest."""
