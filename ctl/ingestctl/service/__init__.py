"""The daemon as a service of the system; ``verbs.service`` is what a person types.

``detect`` finds out which service manager this machine has, and whether a service is installed: ``systemd`` or
``launchd``, two classes with the same methods. ``templates`` fills in the files, ``files`` writes them, ``variables``
says which variables of the shell a service keeps, ``run_as_user`` runs programs as the user whose service it is.
"""
