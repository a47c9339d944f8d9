"""Entry point of the `leerlab` command."""

from __future__ import annotations

import sys

from base.errors import InputError, LeerlabError
from cli.commands import app
from cli.output import complain


def main() -> None:
    """Run the command; errors of ours end with a sentence and an exit code, not with a traceback."""
    try:
        app(prog_name="./leerlab")
    except InputError as error:
        complain(error)
        sys.exit(2)
    except LeerlabError as error:
        complain(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
