"""Media: how bytes become what steps work on. ``base`` has the contract; ``picture`` and ``text`` are the media."""
