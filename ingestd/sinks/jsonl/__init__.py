"""A file of JSON lines: ``sink`` writes it, ``doctor`` looks at it."""
