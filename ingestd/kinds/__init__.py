"""Kinds: what a step, a sink or a medium is, declared once. Data that the daemon can hold, and no code that it runs.

``steps`` declares what can be done to a content, ``media`` what contents can be, ``sinks`` where results can go.
"""
