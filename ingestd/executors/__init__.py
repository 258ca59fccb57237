"""How children are run: the contract (``base``), what every executor needs for it (``incoming``), and the ways.

``spawn`` starts a process on this machine. Every executor passes ``ingestd.testing.executor``.
"""
