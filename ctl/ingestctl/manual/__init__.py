"""The manual pages ``ingestctl(1)`` and ``ingestd(1)``: verbs and options from the parsers, the rest in words here.

``roff`` writes the requests, ``client`` and ``daemon`` a page each. The pages are made when a wheel is built; a test
compares them with the parsers and the settings.
"""

DATE = "2026-11-22"
"""The day on which the words were last gone over. No build's date: the same source makes the same page."""
