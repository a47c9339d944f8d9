"""The web pages people see, in Dutch and English: the shell, JupyterHub's own pages, and what they are filled with."""
