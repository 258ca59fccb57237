"""The control socket: bytes from clients to requests, replies back to bytes.

``listener`` binds the socket in a safe folder; ``accept`` holds connections that have not asked anything yet, and
``fair_queue`` lets the processes that ask take turns; ``admission`` says who gets one of the slots, and who gives way;
``peer`` says who a client is and what it may do; ``connection`` is one client with a slot; ``server`` uses them all.
"""
