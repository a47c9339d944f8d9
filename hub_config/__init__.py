"""Tells JupyterHub and the daemons what to do: the typed site model and everything derived from it."""
