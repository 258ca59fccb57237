"""The catalogue child: loads the declarations of other packages and writes down what they declare.

``python -m ingestd.catalogue --fd N --parent PID``. ``loading`` finds and checks declarations.
"""
