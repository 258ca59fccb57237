"""Turns bytes of clients into requests, and replies into bytes.

``listener`` binds the socket in a safe folder. ``accept`` holds new connections until their first request is there.
A connection with a request needs one of ``protocol.rpc.MAX_CLIENTS`` slots: ``fair_queue`` lets the processes that
wait for one take turns, and ``admission`` chooses the connection that is closed when all slots are taken. ``peer``
says who a client is and what it may ask; ``connection`` is a client with a slot; ``server`` uses them all.
"""
