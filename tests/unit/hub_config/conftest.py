"""Hypothesis keeps no files in the tree, and a slow shared machine is no failure."""

from hypothesis import settings

settings.register_profile("leerlab", database=None, deadline=None)
settings.load_profile("leerlab")
