"""Why a start was refused or failed: a message code for our own pages, a sentence for JupyterHub's."""

from __future__ import annotations

from jupyterhub.spawner import SpawnException

from base.errors import LeerlabError
from base.messages import Message

LAST_LINES = "log"
"""The parameter of a failure's message that holds the job's last lines: written by a person's own code, so text only."""


class StartRefused(LeerlabError):
    """The request for a server is not one that this person may make; becomes HTTP status 400.

    Args:
        message: what to tell the person.
        what: the same in one English sentence, for logs and for other programs.
    """

    def __init__(self, message: Message, what: str) -> None:
        self.message = message
        super().__init__(what)


class SpawnRefused(SpawnException):  # type: ignore[misc]  # jupyterhub has no types
    """`StartRefused` as JupyterHub reports it: status 400 with the sentence."""

    def __init__(self, refusal: StartRefused, sentence: str) -> None:
        self.code = refusal.message
        self.jupyterhub_message = sentence
        super().__init__(sentence, reason="refused", log_message=refusal.what, status_code=400)


class StartFailed(SpawnException):  # type: ignore[misc]  # jupyterhub has no types
    """A start that cannot succeed any more: the job ended, Slurm refused it, or it took too long.

    Args:
        message: code and parameters for the page.
        sentence: the same as a sentence in the site's language.
    """

    def __init__(self, message: Message, sentence: str) -> None:
        self.code = message
        # JupyterHub shows this attribute, escaped; it is never set as HTML, because log lines are a person's own text.
        self.jupyterhub_message = sentence
        super().__init__(sentence, reason="start-failed", status_code=500)
