"""The worker child: reads, hashes, decodes and runs models over the window of items that the daemon gives it.

The rooms: ``main`` (which mode the first message asks for), ``pipeline`` (threads and model batches), ``window`` (the
items under way: pure bookkeeping), ``read``, ``decode``, ``metadata`` (one file each step of an item's way),
``models`` (what runs on pixels, behind one interface, by name), ``usage`` (memory and CPU so far).

A worker with the ``meta`` step alone never imports torch, numpy or transformers: it is ready in a fraction of a second.
"""
