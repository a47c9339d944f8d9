"""The grading service as this server reaches it: over a relay on its own loopback, with its own token."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import requests

from leerlab_lab.tree import MEDIA_TYPE, PlainFile, TreeError, decode, encode

ADDRESS = "http://127.0.0.1:8082"
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 120.0
_TRIES = 3


class ServiceError(Exception):
    """The service refused or does not answer; the text is a sentence for the person.

    Args:
        sentence: what happened, what it means, what to do.
        status: the HTTP status; 0 where no answer came.
        code: the service's stable code for what happened.
    """

    def __init__(self, sentence: str, status: int = 0, code: str = "grading.unreachable") -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


class Service:
    """Sends requests to the grading service.

    Args:
        address: where it is; by default `$LEERLAB_GRADING_URL`, else port 8082 of loopback.
        token: the server's token; by default `$JUPYTERHUB_API_TOKEN`.
    """

    def __init__(self, address: str | None = None, token: str | None = None) -> None:
        self._address = (address or os.environ.get("LEERLAB_GRADING_URL") or ADDRESS).rstrip("/")
        self._session = requests.Session()
        # The way to the service never goes through a proxy that the environment names.
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"token {token or os.environ.get('JUPYTERHUB_API_TOKEN', '')}"

    def ask(self, method: str, path: str, *, wait: float = 0, **query: str) -> Any:
        """A request without files, answered by JSON.

        Args:
            wait: seconds that the service itself may take before it answers.

        Raises:
            ServiceError: refused or not reachable.
        """
        with self._request(method, path, params=query, timeout=(_CONNECT_SECONDS, _READ_SECONDS + wait)) as answer:
            return _json(answer)

    def tell(self, path: str, content: Any, method: str = "POST") -> Any:
        """Send some JSON, answered by JSON.

        Raises:
            ServiceError: refused or not reachable.
        """
        with self._request(method, path, json=content, timeout=(_CONNECT_SECONDS, _READ_SECONDS)) as answer:
            return _json(answer)

    def send(self, method: str, path: str, files: list[PlainFile], *, key: str = "", **query: str) -> Any:
        """Send a tree of files, answered by JSON; sent again after a cut connection, which changes nothing twice.

        Args:
            key: the caller's own name for this sending, where another process may send it again.

        Raises:
            ServiceError: refused, not reachable, or a file cannot be read.
        """
        key = key or uuid.uuid4().hex
        for attempt in range(1, _TRIES + 1):
            try:
                with self._request(
                    method,
                    path,
                    params=query,
                    data=encode(files),
                    headers={"Content-Type": MEDIA_TYPE, "Idempotency-Key": key},
                    timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                ) as answer:
                    return _json(answer)
            except TreeError as error:
                raise ServiceError(str(error), 400, "grading.wrong_tree") from error
            except ServiceError as error:
                if error.status not in {0, 503} or attempt == _TRIES:
                    raise
                time.sleep(attempt)  # the service or the hub is restarting; there is no event to wait for
        raise AssertionError("the last try returns or raises")

    def take(self, path: str, target: Path) -> list[str]:
        """Fetch a tree into a folder that does not exist yet: complete, or not there at all.

        Returns:
            The paths of its files.

        Raises:
            ServiceError: refused, not reachable, or damaged on the way.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            with self._request("GET", path, stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS)) as answer:
                paths = decode(answer.iter_content(2**16), fresh)
            fresh.chmod(0o755)
            fresh.rename(target)
        except (TreeError, requests.RequestException) as error:
            raise ServiceError(f"The files did not arrive: {error} Try again.") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return paths

    def bytes(self, path: str) -> bytes:
        """A file as it is.

        Raises:
            ServiceError: refused or not reachable.
        """
        with self._request("GET", path, timeout=(_CONNECT_SECONDS, _READ_SECONDS)) as answer:
            return answer.content

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(method, self._address + path, allow_redirects=False, **options)
        except requests.RequestException as error:
            raise ServiceError(
                "The service that takes in and hands out work does not answer. "
                "Your files here are safe and nothing was changed. Try again in a minute."
            ) from error
        if answer.status_code >= 300:
            with answer:
                raise _refusal(answer)
        return answer


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise ServiceError("The grading service's answer cannot be read. Try again in a minute.") from error


def _refusal(answer: requests.Response) -> ServiceError:
    try:
        said = answer.json()
        sentence = " ".join(part for part in (said["what"], said["means"], said["do"]) if part)
        return ServiceError(sentence, answer.status_code, said["code"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"The grading service answered HTTP {answer.status_code}.", answer.status_code)
