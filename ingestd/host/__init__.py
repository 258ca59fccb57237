"""The machine: clocks, readings. Everything here is passed in where it is used, so that tests can pass their own."""
