"""One function per verb, named as the verb; beside it ``<verb>_arguments`` describes its argument line."""
