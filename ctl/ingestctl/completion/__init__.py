"""Completion for bash, zsh and fish, made from the verbs' own parsers, so that it offers what they take.

``command_line`` reads the parsers and says what may follow each option. ``known_values`` has the names that the daemon
defines (models, kinds of failures, statuses). ``bash``, ``zsh`` and ``fish`` write the scripts; the fixed part of each
is a file beside it, ``script_template.SHELL``. What no script can know is asked of the client when TAB is pressed: the
daemon's jobs (``job_names``), and what other packages add (``catalogue``).
"""
