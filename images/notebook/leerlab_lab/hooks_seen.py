"""Runs in a graded notebook's own Python, after its cells: shows the hooks that code of the notebook has registered.

It is sent as the text of a cell. What it shows is what that Python says of itself: a hint, and no more. Hooks of
packages (matplotlib draws after each cell, for example) are none of the notebook's.
"""


def _hooks():
    import builtins  # noqa: PLC0415
    import json  # noqa: PLC0415
    import os  # noqa: PLC0415
    import sys  # noqa: PLC0415
    import threading  # noqa: PLC0415

    here = os.getcwd()  # noqa: PTH109

    def own(thing):
        """Whether code of the notebook, or of a file beside it, made it."""
        kind = thing if hasattr(thing, "__module__") and hasattr(thing, "__qualname__") else type(thing)
        name = getattr(kind, "__module__", "") or ""
        file = getattr(sys.modules.get(name), "__file__", "") or ""
        return name == "__main__" or file.startswith(here) or (bool(file) and not os.path.isabs(file))  # noqa: PTH117

    shell = get_ipython()  # noqa: F821
    found = {
        "sys.settrace": [sys.gettrace(), threading.gettrace()],
        "sys.setprofile": [sys.getprofile(), threading.getprofile()],
        "sys.excepthook": [sys.excepthook],
        "sys.displayhook": [sys.displayhook],
        "sys.meta_path": sys.meta_path,
        "input_transformers": [
            *shell.input_transformers_post,
            *shell.input_transformer_manager.cleanup_transforms,
            *shell.input_transformer_manager.line_transforms,
            *shell.input_transformer_manager.token_transformers,
        ],
        "ast_transformers": shell.ast_transformers,
        "set_custom_exc": [shell.CustomTB] if shell.custom_exceptions else [],
        "display_formatter": [
            printer
            for formatter in shell.display_formatter.formatters.values()
            for printer in formatter.type_printers.values()
        ],
        **{f"events.{name}": hooks for name, hooks in shell.events.callbacks.items()},
        **{f"get_ipython().{name}": [value] for name, value in vars(shell).items() if callable(value)},
        **{f"{type(shell).__name__}.{name}": [value] for name, value in vars(type(shell)).items()},
        **{f"InteractiveShell.{name}": [value] for name, value in vars(type(shell).__mro__[1]).items()},
        **{f"builtins.{name}": [value] for name, value in vars(builtins).items()},
    }
    ours = {name for name, things in found.items() if any(thing is not None and own(thing) for thing in things)}
    print(json.dumps(sorted(ours)))  # noqa: T201


_hooks()
del _hooks
