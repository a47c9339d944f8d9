"""Stands before the package of the same name, so that no server waits for it.

jsonschema imports rfc3987-syntax where it is installed, to check the formats `iri` and `iri-reference`. That package
builds a parser from a grammar when it is imported: nearly half of a lab's start. No schema of Jupyter or nbgrader uses
these formats, and jsonschema does without the package (`jsonschema/_format.py`). It is installed because
jupyter-events asks for all of jsonschema's formats.
"""

raise ImportError("rfc3987-syntax is left out of Leerlab's servers: importing it takes longer than it saves.")
