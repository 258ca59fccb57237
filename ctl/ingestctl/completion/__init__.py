"""Completion for bash, zsh and fish, made from the verbs' own parsers, so that it cannot say anything else than they.

``line`` reads the parsers and says what stands behind each option; ``words`` has the names that the daemon's side
knows; ``bash``, ``zsh`` and ``fish`` write the scripts, each around a frame that is a file beside it; ``jobs`` says at
TAB time what no script can know.
"""
