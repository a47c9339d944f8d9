"""`%%ai` in a kernel of a lab: jupyter-ai's command line, answered through the relay by a real small model."""

from __future__ import annotations

import textwrap

import pytest
from walled_lab import OFF, Lab

pytestmark = [pytest.mark.integration]

KERNEL = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3", startup_timeout=90)
try:
    for cell in {cells!r}:
        said = []
        def show(message):
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                said.append(content["name"] + ": " + content["text"])
            elif kind in ("display_data", "execute_result"):
                data = content["data"]
                said.append(data.get("text/markdown") or data["text/plain"])
            elif kind == "error":
                said.append(content["ename"] + ": " + content["evalue"])
        client.execute_interactive(cell, timeout=60, output_hook=show)
        print("<" + "|".join(said).strip() + ">")
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def cells(lab: Lab, *asked: str, **options: object) -> str:
    """What a notebook's kernel answers to these cells, one after another."""
    return lab.python(KERNEL.format(cells=[textwrap.dedent(one).strip() for one in asked]), **options)


@pytest.mark.slow
def test_a_cell_asks_the_model_and_says_below_what_it_took_and_what_the_policy_is(lab: Lab) -> None:
    said = cells(lab, "%%ai\nWhat is a median? Answer in one sentence.")
    assert "median" in said.lower(), said
    assert "smollm2-135m · " in said and "20.000 tokens per uur. Klein model: controleer het antwoord." in said, said


def test_an_earlier_answer_goes_along_a_variable_goes_in_and_an_unknown_model_is_named(lab: Lab) -> None:
    said = cells(
        lab,
        "number = 7",
        "%%ai leerlab -f text\nRepeat this: {number} {not_there}",
        "%%ai gpt-9\nWhat?",
        "%ai list",
        "import sys\nprint([name for name in sys.modules if name.startswith('litellm')])",
        language="en",
    )
    assert "There is no model gpt-9 here. You can choose from: leerlab, smollm2-135m." in said, said
    assert "- `smollm2-135m`" in said and "at most 20,000 tokens an hour" in said, said
    assert "stdout: []" in said, said


def test_where_it_is_off_one_sentence_says_so_and_why(lab: Lab) -> None:
    said = cells(lab, "%%ai\nWhat is a median?", "%ai list", offer=OFF)
    assert said.count("stderr: De assistent staat uit, vanwege de cursus Rekenen.") == 2, said
    said = cells(lab, "%%ai\nWhat is a median?", offer=OFF, language="en")
    assert "The assistant is off, because of the course Sums." in said, said


@pytest.mark.fault
def test_a_gateway_that_is_not_there_is_one_sentence_and_no_traceback(lab: Lab) -> None:
    said = cells(lab, "%%ai\nWhat is a median?", relay=False)
    assert "De assistent is nu niet bereikbaar." in said and "Traceback" not in said, said


BY_HAND = """
import httpx
asked = {"model": "smollm2-135m", "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}]}
try:
    answer = httpx.post("http://127.0.0.1:8083/v1/chat/completions", trust_env=False, timeout=30,
                        headers={"Authorization": "Bearer " + __import__("os").environ["JUPYTERHUB_API_TOKEN"]},
                        json=asked)
    print("answered", answer.status_code)
except httpx.ConnectError:
    print("nobody there")
"""
PRETEND = """
import json, os
os.environ["LEERLAB_ASSISTANT"] = json.dumps({"on": True, "models": ["smollm2-135m"]})
"""


@pytest.mark.attack
@pytest.mark.parametrize(
    ("asked", "inside"),
    [
        pytest.param(
            (PRETEND, "%%ai\nWhat is a median?"), "smollm2-135m · ",
            id="a-kernel-that-pretends-it-is-on", marks=pytest.mark.slow,
        ),
        pytest.param((BY_HAND,), "answered 200", id="another-client-by-hand"),
    ],
)  # fmt: skip
def test_where_it_is_off_no_cell_gets_an_answer(lab: Lab, asked: tuple[str, ...], inside: str) -> None:
    """The control is the same cells in the same lab with the relay that the policy withholds."""
    assert inside not in cells(lab, *asked, offer=OFF)
    assert inside in cells(lab, *asked, offer=OFF, relay=True)
