"""The control socket: ``server`` speaks JSON-RPC lines, ``verbs`` holds one handler a verb, ``status`` words jobs."""
