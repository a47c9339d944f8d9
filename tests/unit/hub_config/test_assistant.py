"""The section `assistant:` among the others, and what follows from it for labs and pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from base.paths import Installation, State
from hub_config.assistant import gateway_configuration, offer_in_sandbox, offer_to, shown_in, shown_in_sandboxes
from hub_config.check import check
from hub_config.roles import service_roles
from hub_config.site import Site

CODE = Path(__file__).resolve().parents[3]
DEMO = CODE / "hub_config/demo.yaml"
ON = {"models": ["e5-small", "smollm2-135m"], "tokens_per_hour": 5000}


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[dict[str, Any]], list[str]]:
    def found(assistant: dict[str, Any]) -> list[str]:
        description = yaml.safe_load(DEMO.read_text())
        description["assistant"] |= assistant
        file = tmp_path / "site.yaml"
        file.write_text(yaml.safe_dump(description))
        return [problem.message for problem in check(file)]

    return found


def site(**assistant: Any) -> Site:
    description = yaml.safe_load(DEMO.read_text())
    description["assistant"] |= assistant
    return Site.of_plain(description)


def test_the_demo_site_has_nothing_wrong(problems: Callable[[dict[str, Any]], list[str]]) -> None:
    assert problems({}) == []


@pytest.mark.parametrize(
    ("assistant", "said"),
    [
        ({"courses": {"geen": ON}}, "a course that does not exist: geen"),
        ({"courses": {"machine-learning": {"models": ["gpt"], "tokens_per_hour": 500}}}, "gpt"),
        ({"profile": "huge"}, "a profile that does not exist: huge"),
        ({"models": [{"kind": "local", "id": "llama", "title": {"nl": "x", "en": "x"}}], "courses": {}},
         "the catalogue does not have: llama"),
        ({"models": [{"kind": "local", "id": "waterflow", "title": {"nl": "x", "en": "x"}}], "courses": {}},
         "the catalogue does not have: waterflow"),
        ({"models": [{"kind": "remote", "id": "far", "title": {"nl": "x", "en": "x"}, "name": "m", "key_file": "/no",
                      "address": "https://vllm.example.org/v1"}], "courses": {}}, "the key of the model far"),
        ({"models": [{"kind": "remote", "id": "far", "title": {"nl": "x", "en": "x"}, "name": "m",
                      "address": "file:///etc/passwd"}], "courses": {}}, "address"),
        ({"idle": "1s"}, "idle"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(
    problems: Callable[[dict[str, Any]], list[str]], assistant: dict[str, Any], said: str
) -> None:
    found = problems(assistant)
    assert found and said in " ".join(found)


def test_a_lab_is_offered_what_its_courses_allow_with_a_model_that_chats_first() -> None:
    described = site(courses={"machine-learning": ON})
    offer = offer_to(["nbgrader-machine-learning"], described, CODE)
    assert (offer.models, offer.tokens_per_hour) == (("smollm2-135m", "e5-small"), 5000)
    off = offer_to(["nbgrader-machine-learning", "nbgrader-ai-in-je-vak"], described, CODE)
    assert not off.models and off.because["nl"].startswith("de cursus ")
    assert not offer_to([], described, CODE).models


def test_sandboxes_are_off_where_nothing_is_said_of_them() -> None:
    assert not offer_in_sandbox(site()).models
    assert offer_in_sandbox(site(sandboxes=ON)).tokens_per_hour == 5000


def test_pages_say_what_holds_and_nothing_where_there_is_no_assistant() -> None:
    described = site(courses={"machine-learning": ON})
    shown, other = shown_in("machine-learning", described), shown_in("ai-in-je-vak", described)
    assert shown and shown.on and shown.tokens_per_hour == 5000
    assert other and not other.on
    none = described.model_copy(update={"assistant": None})
    assert shown_in("machine-learning", none) is None and shown_in_sandboxes(none) is None


def test_the_gateway_reads_names_groups_and_servers_and_nothing_else() -> None:
    roles = {role["name"]: role["scopes"] for role in service_roles(assistant=True)}
    assert set(roles["assistant-service"]) == {"read:users:name", "read:users:groups", "read:servers"}
    assert "assistant-service" not in {role["name"] for role in service_roles()}


def test_the_gateway_s_configuration_holds_no_secret(tmp_path: Path) -> None:
    described, state = site(), State(tmp_path / "s")
    state.make()
    assert described.assistant
    text = gateway_configuration(described, described.assistant, state, Installation.current()).model_dump_json()
    kept = [file.read_text().strip() for file in state.secrets.iterdir() if file.name != "hub-id"]
    assert kept and not any(secret in text for secret in kept)
