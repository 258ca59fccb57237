"""The steps of the verb ``start``: resolve the sources, find the job that they are, make it or let it go on."""
