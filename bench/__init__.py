"""``make bench``: figures with their targets, printed as they come and once more as a table.

``ledger``: a daemon on a generated ledger of a million items; ``client``: what a command of the client costs; ``work``:
what goes through the daemon against a bare loop over the same files; ``bare``: those loops, each run in a process of
its own. A ratio is measured A B A B in one run and is the median of the pairs' ratios, so that what else the machine
does falls on both sides.
"""
