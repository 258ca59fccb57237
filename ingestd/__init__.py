"""ingestd: point it at a folder; every image in it ends up described, embedded and searchable.

The rooms, from the bottom up. A layer may import the ones above it in this list, never the ones below:

====================  ==========================================================================================
0 words               ``errors`` (kinds that decide), ``paths`` (where things lie), ``protocol`` (``control`` and
                      ``status`` in the envelope ``rpc``: client⇄daemon; ``work``, ``walk`` and ``sink`` in the frames
                      of ``wire``: daemon⇄children; ``models``: what the models child is asked; ``doctor``: what it
                      finds and asks; ``pathtext``: paths as text; ``addresses``: URLs as a person types them),
                      ``lockdown`` (what a child gives up, by the kernel's means: below everybody, since every child
                      begins with it), ``kinds`` (what a step, a sink or a medium is, declared as data)
1 policy, pure        ``config``, ``records`` (the ledger's rows as plain data), ``policy`` (``states`` and their moves,
                      ``state`` that is known, ``messages`` in and out, ``decide`` and ``plan``, ``activity``,
                      ``recipe``, ``pace``, ``disk_estimate``): no clock, no OS, no I/O
2 mechanism           ``ledger`` (the SQLite database: the only room with SQL), ``host`` (clocks, disk, power,
                      the service manager), ``logs``, ``executors`` (start, hear and end children, by a contract),
                      ``supervisor.children`` (the daemon's: which live, which hang), ``catalogue_file``
3 conduct             ``supervisor`` (``loop`` performs what ``decide`` returns, by parts that know only ``shared``);
                      ``control`` (``transport`` is the socket, its clients and their rights; the verbs)
4 root                ``daemon``, ``oneshot``, ``oneshot_models``, ``doctor`` (what will not go well on this machine),
                      ``settings_file``, ``__main__``: configuration, signals, one task group, exit codes
5 shipped for tests   ``testing``: contract suites and small real implementations; nobody imports it but tests
children              ``walker``, ``worker``, ``sinks``, ``catalogue`` (which reads what other packages declare):
                      separate processes, begun by ``child``, heard through ``child_channel``; nobody imports them
====================  ==========================================================================================

The client ``ingestctl`` lives in ``ctl/`` and uses the standard library alone.
``tests/test_layers.py`` keeps this true. This file imports nothing, so that a child starts in milliseconds.
"""

__version__ = "0.1.0"
