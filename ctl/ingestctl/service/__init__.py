"""The daemon as a service of the system; ``verbs.service`` is what a person types.

``detect`` finds out which kind this machine and this user have: ``systemd`` or ``launchd``, two classes with the same
methods. ``templates`` fills in what is written, ``files`` writes it, ``environment`` tells what a service must know of
the shell that it is installed from.
"""
