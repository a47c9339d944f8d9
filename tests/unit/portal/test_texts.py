"""Every text on the pages and every message code exists in Dutch and in English, and none is left over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from base.i18n import LANGUAGES, LOCALE

CODE = Path(__file__).resolve().parents[3]
FOLDERS = (
    "base", "cluster", "confinement", "grading", "spawners", "courses", "portal", "hub_config", "cli", "ledger",
    "sandboxes", "assistant",
)  # fmt: skip
# The portal's and the hub's pages, and those of a course's own server.
PAGES = (CODE / "portal", CODE / "images/notebook/leerlab_lab/formgrader")
CODE_PREFIXES = ("start.", "collect.")
IN_TABLES = re.compile(
    r"(start|collect)(\.[a-z_-]+)+|server\.ended\.[a-z-]+"
    r"|assistant\.(off|budget|busy|starting|unreachable|broken|wrong)(\.[a-z-]+)*"
)
PARAMETER = re.compile(r"%\((\w+)\)[sd]")


def read(language: str) -> Catalog:
    with (LOCALE / language / "messages.po").open("rb") as file:
        return read_po(file, locale=language)


def texts_of_templates() -> set[str]:
    options = {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}
    return {
        text if isinstance(text, str) else text[0]
        for folder in PAGES
        for _, _, text, _, _ in extract_from_dir(
            folder,
            method_map=[("**.html", "jinja2"), ("**.j2", "jinja2")],
            options_map={"**.html": options, "**.j2": options},
            keywords={"_": None, "gettext": None, "ngettext": (1, 2)},
        )
    }


def codes_of_python() -> Iterator[str]:
    """First arguments of `Message(...)`, and every string that looks like a code where codes are kept in tables."""
    for folder in FOLDERS:
        for path in (CODE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Message" and node.args:
                    yield from (
                        part.value
                        for part in ast.walk(node.args[0])
                        # The beginning of a code that ends with another's name is no code.
                        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value[-1:] != "."
                    )
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "wrong" and folder == "assistant":
                    yield f"assistant.wrong.{ast.literal_eval(node.args[0])}"
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and IN_TABLES.fullmatch(node.value):
                    yield node.value


def texts_of_course_server() -> Iterator[str]:
    """What its code hands on to be said later: `text_of_page(...)`."""
    for path in (CODE / "images/notebook/leerlab_lab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "text_of_page":
                yield ast.literal_eval(node.args[0])


def used() -> set[str]:
    return texts_of_templates() | set(codes_of_python()) | set(texts_of_course_server())


def parameters(text: str) -> list[str]:
    return sorted(set(PARAMETER.findall(text)))


def entries(language: str) -> list[Message]:
    return [entry for entry in read(language) if entry.id]


def key(entry: Message) -> str:
    return entry.id if isinstance(entry.id, str) else entry.id[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_that_is_used_is_in_the_catalogue_and_not_empty(language: str) -> None:
    translated = {
        key(entry)
        for entry in entries(language)
        if all(entry.string if isinstance(entry.string, tuple) else [entry.string])
    }
    assert used() - translated == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_in_the_catalogue_is_unused(language: str) -> None:
    assert {key(entry) for entry in entries(language)} - used() == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_names_the_same_parameters_as_the_text(language: str) -> None:
    english = {key(entry): entry for entry in entries("en")}
    for entry in entries(language):
        strings = entry.string if isinstance(entry.string, tuple) else (entry.string,)
        other = english[key(entry)].string
        expected = parameters(other if isinstance(other, str) else other[0])
        for string in strings:
            assert parameters(string) == expected, key(entry)
            # Whatever is left after the parameters must be no percent sign that formatting would trip over.
            assert "%" not in PARAMETER.sub("", string).replace("%%", ""), key(entry)


def test_english_page_texts_are_the_texts_in_the_templates_themselves() -> None:
    for entry in entries("en"):
        if isinstance(entry.id, str) and not re.fullmatch(r"[a-z]+(\.[a-z_-]+)+", entry.id):
            assert entry.string == entry.id


def test_the_catalogues_hold_the_same_texts() -> None:
    assert {key(entry) for entry in entries("nl")} == {key(entry) for entry in entries("en")}


def test_no_template_holds_a_script_or_an_event_attribute_that_the_content_security_policy_would_block() -> None:
    for path in (path for folder in PAGES for path in folder.rglob("*.html")):
        text = path.read_text()
        for script in re.findall(r"<script([^>]*)>", text):
            assert "src=" in script or 'type="application/json"' in script, path
        assert not re.search(r"\son[a-z]+=|javascript:|<style|\sstyle=", text), path


def test_only_jupyterhubs_own_form_is_put_into_a_page_without_escaping() -> None:
    unescaped = [
        (path.name, line.strip())
        for path in sorted(path for folder in PAGES for path in folder.rglob("*.html"))
        for line in path.read_text().splitlines()
        # Constants that a template marks itself are not data.
        if re.search(r"\|\s*safe", re.sub(r'"[^"]*"\s*\|\s*safe', "", line))
    ]
    assert unescaped == [("spawn.html", "{{ spawner_options_form | safe }}")]
