"""The control socket, over which clients talk to the daemon.

``transport`` turns bytes into requests and replies into bytes. ``verb_table`` names the handler of each verb; the
handlers lie in ``verbs``, one file each, and share a ``verb_context``. ``jobbook`` finds jobs by name, ``job_status``
and ``status_line`` say what they do now.
"""
