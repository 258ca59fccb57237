"""The manual pages ``ingestctl(1)`` and ``ingestd(1)``: verbs and options from the parsers, the rest written here.

``markup`` writes the requests of man(7), ``ingestctl_page`` and ``ingestd_page`` a page each. The pages are made when a
wheel is built; a test compares them with the parsers and the settings.
"""

DATE = "2026-11-22"
"""The day on which the text was last revised. It is not the build's date: the same source makes the same page."""
