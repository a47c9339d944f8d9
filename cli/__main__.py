"""Entry point of the `leerlab` command."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from base.errors import InputError, LeerlabError
from cli.commands import app
from cli.output import complain


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command; errors of ours end with a sentence and an exit code, not with a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # asyncio.run puts a handler of its own in the default one's place, and forgets an interruption that comes while
        # its last coroutine ends.
        signal.signal(signal.SIGINT, _interrupted)
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
