"""JSON lines: whole, structured, and without secrets and people."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import log as logs
from base.log import JsonFormatter, impersonal, known_names

SECRET = "s3cr3tVALUE99xyzQ"
PSEUDONYM = "p-abcdefghij234567"


@pytest.fixture(autouse=True)
def only_names_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_NAMES", {})


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    yield logger, stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object_with_what_the_call_gave(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = written
    logger.info("A start ended: %s", "ready", extra={"event": "start", "start": "a" * 16, "job": 7, "seconds": 2.5})
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO", "logger": "test", "message": "A start ended: ready", "event": "start", "start": "a" * 16,
        "job": 7, "seconds": 2.5,
    }  # fmt: skip


@pytest.mark.attack
def test_no_secret_comes_through_message_extra_exception_or_stack(
    written: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = written
    plain = io.StringIO()
    control = logging.StreamHandler(plain)
    control.setFormatter(logging.Formatter("%(message)s %(api_token)s"))
    logger.addHandler(control)
    extra = {"api_token": SECRET, "headers": {"Authorization": f"token {SECRET}"}, "url": f"/x?token={SECRET}"}
    logger.info("Authorization: Bearer %s\nsecond line with password=%s", SECRET, SECRET, extra=extra)
    try:
        raise RuntimeError(f"JUPYTERHUB_API_TOKEN={SECRET}")
    except RuntimeError:
        logger.exception("it failed, token=%s", SECRET, extra={"api_token": SECRET}, stack_info=True)
    assert SECRET not in stream.getvalue()
    told = lines(stream)
    assert len(told) == 2
    assert told[0]["api_token"] == "[redacted]"
    assert "RuntimeError" in told[1]["exception"]
    # The control: the same records through an ordinary formatter show it.
    assert SECRET in plain.getvalue()


@pytest.mark.attack
@pytest.mark.parametrize(
    "line",
    [
        "200 GET /user/hendrikje/lab (hendrikje@203.0.113.9) 12.34ms",
        "User hendrikje logged in",
        "hendrikje's server is ready, see http://hendrikje.leer.example.nl/",
        "Creating oauth client jupyterhub-user-hendrikje",
        "GET /hub/api/users/hendrikje/server",
        "{'name': 'hendrikje', 'kind': 'user'}",
        "hendrikje@school.example.nl has no account",
    ],
)
def test_no_person_is_named(line: str) -> None:
    known_names(["hendrikje"])
    told = impersonal(line)
    assert "hendrikje" not in told
    assert "203.0.113.9" not in told and "school.example.nl" not in told
    # The control: without the formatter it is there.
    assert "hendrikje" in line


def test_somebody_nobody_was_told_of_is_hidden_in_addresses_and_behind_pseudonyms() -> None:
    told = impersonal(f"GET /user/klaske/tree for {PSEUDONYM} in box-abcdefgh-{PSEUDONYM}")
    assert "klaske" not in told and PSEUDONYM not in told


def test_the_same_person_is_the_same_word_and_another_is_another() -> None:
    known_names(["hendrikje", "klaske"])
    first, second = impersonal("User hendrikje").split()[1], impersonal("GET /user/hendrikje/x").split("/")[2]
    assert first == second != impersonal("User klaske").split()[1]
    assert first.startswith("person-")


def test_what_an_operator_needs_stays() -> None:
    known_names(["hendrikje"])
    for line in (
        "Cancelling jobs [12, 13]: their starts have ended",
        "No route yet: http://10.20.0.7:40001",
        "course-ai-in-je-vak: ready",
        "GET /user/course-ai-in-je-vak/formgrader",
        "jobs' states are unknown: Slurm does not answer squeue: Unable to contact slurm controller",
    ):
        assert impersonal(line) == line


@given(st.text(max_size=200), st.text(max_size=50))
def test_every_line_is_json_whatever_is_logged(message: str, value: str) -> None:
    record = logging.LogRecord("test", logging.INFO, "", 0, message.replace("%", "%%"), (), None)
    record.value = value
    told = JsonFormatter().format(record)
    assert "\n" not in told
    assert isinstance(json.loads(told), dict)


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_the_environment_chooses_the_form(
    wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(logs.VARIABLE, wanted)
    before = logging.root.handlers[:]
    try:
        monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
        logs.configure("grading").warning("token=%s", SECRET)
    finally:
        logging.root.handlers[:] = before
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().startswith("{") is (wanted == "json")
