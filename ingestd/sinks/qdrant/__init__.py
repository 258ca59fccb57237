"""Qdrant, as an engine in this process (``edge_sink``, ``edge_doctor``) and as a server (``server_sink``,
``server_doctor``).

``points`` is what both write and ask alike. For the server: ``server_connection`` (the client, the key, what its errors
mean), ``collection`` (what one of ours is like) and ``evidence`` (what proves that it still holds what was delivered).
"""
