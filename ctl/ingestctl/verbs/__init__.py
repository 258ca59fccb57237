"""One file per verb, named as the verb: ``arguments(parser)`` describes it, ``run(args)`` does it."""
