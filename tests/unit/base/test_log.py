"""What the one redactor hides, and what it leaves readable."""

from __future__ import annotations

import io
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.log import RedactingFormatter, redact

SECRET = "s3cr3tVALUE99xyzQ"


@pytest.mark.parametrize(
    "line",
    [
        f"GET /user/x/?token={SECRET}&a=b 200",
        f"302 /hub/oauth_callback?state={SECRET}&code={SECRET}",
        f"next=%2Fhub%3Ftoken%3D{SECRET}",
        f"/hub/login#key={SECRET}",
        f"http://sanne:{SECRET}@localhost/",
        f"Authorization: start {SECRET}",
        f"authorization: {SECRET}",
        f"headers=[('Authorization', 'Bearer {SECRET}')]",
        f'{{"Authorization": "token {SECRET}", "a": 1}}',
        f"Cookie: jupyterhub-session-id={SECRET}; other={SECRET}",
        f"Set-Cookie: anything={SECRET}; Path=/",
        f"X-XSRFToken: {SECRET}",
        f'{{"api_token": "{SECRET}", "name": "sanne"}}',
        f'{{"inner": "{{\\"token\\": \\"{SECRET}\\"}}"}}',
        f"{{'secret': '{SECRET}'}}",
        f"JUPYTERHUB_API_TOKEN={SECRET}",
        f"password: {SECRET}",
        f'"password": "two words {SECRET}"',
        f"the job was told to start {SECRET}",
        f"b'token={SECRET}'",
        f"Setting new xsrf cookie for b'{SECRET}' {{'path': '/hub/'}}",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    ],
)
def test_a_secret_never_stays_in_a_line(line: str) -> None:
    assert SECRET not in redact(line)
    assert "[redacted]" in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "state: COMPLETED, exit code: 12345678",
        "token authentication failed for sanne",
        "start slurmctld and start starting-the-notebook-server",
        "state=RUNNING code=start.waiting.resources",
        "basic information about tokens, keys and cookies",
        "the key jupyterlab-settings is not known",
        "GET /hub/spawn?profile=cpu-small 200",
        "10:20:30 keyboard: unknown",
    ],
)
def test_ordinary_words_stay_readable(line: str) -> None:
    assert redact(line) == line


def test_what_stands_beside_a_secret_stays_readable() -> None:
    assert redact(f"GET /x?token={SECRET}&a=b 200") == "GET /x?token=[redacted]&a=b 200"
    assert redact(f"Authorization: start {SECRET} from 127.0.0.1") == "Authorization: start [redacted] from 127.0.0.1"


WORDS = (*"=: \"'\\&@,{", "token", "key", "Authorization", "start", SECRET, "://", "cookie", "[redacted]")


@given(st.lists(st.sampled_from(WORDS)).map("".join))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece", ["a", "token", "token ", "=:", '"', 'token="', "start ", "A1b2", "\\", "://a:", "cookie:"]
)
def test_hostile_lines_are_redacted_in_bounded_time(piece: str) -> None:
    begun = time.thread_time()
    redact((piece * 100_000)[:100_000])
    assert time.thread_time() - begun < 2


def test_exceptions_are_redacted_too() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise RuntimeError(f"request with token={SECRET}")
    except RuntimeError:
        logger.exception("it failed with %s", f"Bearer {SECRET}")
    assert "RuntimeError" in stream.getvalue()
    assert SECRET not in stream.getvalue()
