"""The walker: a child process that touches source paths, so that a dead mount can stall it and never the daemon.

``roots`` makes source paths real and says what is wrong with one. ``formats`` knows kinds by file name, ``ignore`` the
rules that leave files out. ``walk`` goes through folders, ``lists`` through a file list; both hand each folder's names
to ``compare``, which tells the differences from the ledger to ``outbox``, which obeys the daemon's credit.
"""
