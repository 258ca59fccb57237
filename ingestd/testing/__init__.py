"""What others need to test their own part against ingestd, shipped: contracts as test suites, and fakes that are real.

``fake_sink`` is the smallest sink that keeps the contract.
"""
