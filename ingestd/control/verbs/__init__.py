"""One file for each verb of the control socket, with its handler. ``control.verb_table`` lists them all.

A handler is ``async def handle(context, params) -> reply``. It returns when what was asked has taken effect, and its
reply says what is true then. What cannot be done is raised as ``IngestError``. ``subscribe`` has ``stream`` instead.
"""
