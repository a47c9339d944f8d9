"""The part of `leerlab doctor` that looks at the way in of sandboxes: file(1), clamd, and what it knows."""

from __future__ import annotations

import asyncio
import os

from base.errors import LeerlabError
from base.paths import State
from sandboxes.airlock.clamav import Scanner
from sandboxes.settings import SandboxSettings

ANSWER_SECONDS = 10.0
FILE_PROGRAM = "/usr/bin/file"


def see_scanner(settings: SandboxSettings, state: State, *, real_people: bool) -> str:
    """Files that are sent in can be looked at, and real viruses would be found.

    Args:
        settings: the section `sandboxes:`.
        state: the site's state folder.
        real_people: whether people log in at an identity provider: a demonstration may know the test virus alone.

    Returns:
        What was seen.

    Raises:
        LeerlabError: something is missing, does not answer, or knows too little.
    """
    if not os.access(FILE_PROGRAM, os.X_OK):
        raise LeerlabError(
            f"Missing on this machine: {FILE_PROGRAM}.",
            "Every file that is sent into a sandbox is refused.",
            "Install the Debian package `file`; ./leerlab up does so too when it may.",
        )
    scanner = Scanner.of(state, settings)
    try:
        asyncio.run(_answer(scanner))
    except TimeoutError as error:
        raise LeerlabError(
            f"The virus scanner gives no answer within {ANSWER_SECONDS:.0f} s.",
            "Files that come in wait.",
            f"Look in {state.logs / 'clamd.log'}. Is the machine short of memory? Then run ./leerlab down and up.",
        ) from error
    if not scanner.only_the_test_virus:
        return "clamd answers, its signatures are fresh"
    if real_people:
        raise LeerlabError(
            "The virus scanner knows only the test virus.",
            "A real virus goes into a sandbox unseen.",
            "Install clamav-freshclam, and name its folder in sandboxes.signatures, such as /var/lib/clamav.",
        )
    return "clamd answers; it knows only the test virus, which is enough for a demonstration"


async def _answer(scanner: Scanner) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        await scanner.answers()
