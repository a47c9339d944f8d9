"""Every pair of colours that the stylesheet puts together is readable: WCAG 2.2, success criteria 1.4.3 and 1.4.11."""

from __future__ import annotations

import re

import pytest

from portal.assets import STATIC

TEXT = [
    ("ink", "ground"), ("ink", "surface"), ("ink-soft", "ground"), ("ink-soft", "surface"), ("accent", "surface"),
    ("accent", "ground"), ("accent", "accent-soft"), ("accent-strong", "accent-soft"), ("on-accent", "accent"),
    ("on-accent", "accent-strong"), ("ink", "accent-soft"), ("ink-soft", "accent-soft"), ("warn", "warn-soft"),
    ("bad", "bad-soft"), ("ok", "surface"), ("accent-strong", "surface"), ("accent-strong", "ground"),
]  # fmt: skip
CONTROLS = [("line-strong", "ground"), ("line-strong", "surface"), ("accent", "ground"), ("accent", "surface")]


def themes() -> dict[str, dict[str, str]]:
    css = (STATIC / "leerlab.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    read = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in (light, dark)]
    return {"light": read[0], "dark": {**read[0], **read[1]}}


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_a_contrast_of_at_least_four_and_a_half(theme: str) -> None:
    colours = themes()[theme]
    poor = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in TEXT}
    assert {pair: value for pair, value in poor.items() if value < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_edges_of_controls_and_the_focus_ring_have_a_contrast_of_at_least_three(theme: str) -> None:
    colours = themes()[theme]
    poor = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in CONTROLS}
    assert {pair: value for pair, value in poor.items() if value < 3} == {}


def test_the_stylesheet_and_the_pictures_ask_nothing_of_another_site() -> None:
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(", text), path
