"""A module of another package that cannot be imported."""

raise ValueError("made for another version")
