"""`leerlab grade`: asks the running site's grading service to grade a class, and tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx

from base.errors import InputError, LeerlabError
from base.paths import State
from hub_config.run.keys import secret

LOOK_SECONDS = 0.5
AWAY_SECONDS = 90.0
"""How long the service may not answer while a run goes on, as when it is started again."""
ANSWER_SECONDS = 30.0


class Silent(LeerlabError):
    """The service does not run, or does not answer."""


class ClassGrading:
    """The site's grading service, as an operator uses it.

    Args:
        state: the site's state folder.
        course: id of the course.

    The service runs as the site's account and knows the caller by its own token, which that account alone can read.
    """

    def __init__(self, state: State, course: str) -> None:
        self._course = course
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(state.run / "grading.sock")),
            base_url="http://grading/class-runs/",
            headers={"Authorization": f"token {secret(state, 'grading-token')}"},
            timeout=ANSWER_SECONDS,
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def standings(self, assignment: str | None = None) -> list[dict[str, Any]]:
        """How each assignment stands for which something was handed in, or one.

        Raises:
            InputError: there is no such course, or nothing was handed in for that assignment.
            Silent: the service does not answer.
        """
        return [self._ask("GET", assignment)] if assignment else list(self._ask("GET"))

    def begin(self, assignment: str) -> dict[str, Any]:
        """Ask for a run; it goes on without the caller.

        Raises:
            InputError, Silent: as `standings`.
        """
        return dict(self._ask("POST", assignment))

    def stop(self, assignment: str) -> None:
        """Stop an assignment's run; marks so far stay.

        Raises:
            InputError, Silent: as `standings`.
        """
        self._ask("DELETE", assignment)

    def followed(self, assignment: str, number: int) -> Iterator[dict[str, Any]]:
        """How a run stands, again and again; the last is its end.

        Args:
            assignment: over what.
            number: what `begin` gave it.

        Raises:
            InputError, Silent: as `standings`.
        """
        heard = time.monotonic()
        while True:
            try:
                told = dict(self._ask("GET", assignment))
            except Silent:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise
            else:
                heard = time.monotonic()
                yield told
                if told["answered"] >= number:
                    return
            time.sleep(LOOK_SECONDS)

    def _ask(self, method: str, assignment: str | None = None) -> Any:
        path = f"{self._course}/{assignment}" if assignment else self._course
        try:
            answer = self._client.request(method, path)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Silent(
                "The grading service does not answer.",
                "What it was asked for before is kept, and goes on when it runs.",
                "See leerlab status; leerlab up starts the site.",
            ) from error
        if answer.is_success:
            return said
        what = said if isinstance(said, dict) else {}
        if answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
            do = "leerlab course list names the courses, leerlab grade COURSE --status what was handed in."
            raise InputError(str(what.get("what", "There is no such course or assignment.")), do=do)
        raise LeerlabError(str(what.get("what") or f"The grading service refused (HTTP {answer.status_code})."))
