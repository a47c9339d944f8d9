"""What code imports, read and not run."""

from __future__ import annotations

import ast


def imported(text: str) -> list[str]:
    """Names of the modules that a cell or a file imports; none where it is not Python.

    Args:
        text: code, perhaps with lines of IPython's own.
    """
    code = "\n".join("pass" if line.lstrip().startswith(("%", "!", "?")) else line for line in text.splitlines())
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return names
