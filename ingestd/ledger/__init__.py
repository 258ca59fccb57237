"""The ledger: one SQLite database that is the truth. All SQL of the product lies in this room."""
