"""What a worker does to an item: ``base`` has the contract of a step, ``registry`` finds the code of each kind."""
