"""A run: the folder of one experiment, carried out, tested, and set on a page."""
