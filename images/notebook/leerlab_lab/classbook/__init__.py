"""A class and its marks as one thing: read, counted, written to files. Pages of it are in `leerlab_lab.formgrader`."""
