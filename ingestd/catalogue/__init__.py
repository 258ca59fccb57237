"""The catalogue child: loads the declarations of other packages and writes down what they declare.

``python -m ingestd.catalogue STATE``; see ``catalogue_file``. ``loading`` finds and checks declarations.
"""
