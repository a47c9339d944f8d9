"""Names of columns and files are somebody else's text: harmless in pages, Markdown, CSV and pictures."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from onderhoud import papers, showing
from onderhoud.judging import Trial
from onderhoud.papers import ASSUMPTIONS, Assumptions, Findings, Sums, advice, write_papers
from onderhoud.reading import read
from onderhoud.said import CannotRead, Said
from onderhoud.texts import LANGUAGES, TEXTS, day_in_words, in_csv, in_markdown, number, say

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[klik](https://boos.example)",
    "![x](https://boos.example/p.png)",
    "https://boos.example www.boos.example",
    "a | b | c",
    "$x^2$ and `code` **bold**",
    "\u202egnp.exe\u200b",
    "# kop",
]
FORMULAS = ["=1+1", "+1", "-1+1", "@SUM(A1)", "|calc", "%0A", "\t=1+1", "\r=cmd", " =1", "\u200b=1"]


@pytest.fixture(scope="module")
def trial() -> Trial:
    kit = Path(__file__).parents[3] / "sandboxes" / "starters" / "maintenance"
    return Trial(read(kit / "data" / "waterstroom.csv").series)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_an_exported_csv_begins_a_formula(formula: str) -> None:
    assert in_csv(formula)[0] == "'" or in_csv(formula)[0] not in "=+-@|%\t\r"
    assert in_csv("debiet") == "debiet"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_name_becomes_markup_in_markdown(hostile: str) -> None:
    shown = in_markdown(hostile)
    assert "\n" not in shown and not re.search(r"[\u200b-\u202e]", shown)
    for sign in "<>[]|$`*":
        assert not re.search(rf"(?<!\\){re.escape(sign)}", shown)
    assert "://" not in shown and "www.b" not in shown and not shown.startswith("#")


@pytest.mark.parametrize("hostile", [*HOSTILE, r"$\frac{", "$", "\\", "_x_", "x" * 500, "漢字", r"debiet [$\frac{]"])
def test_any_name_of_a_column_can_be_drawn_written_and_shown(
    hostile: str, trial: Trial, csv: Callable[..., Path], kit_folder: Path
) -> None:
    text = (kit_folder / "data" / "waterstroom.csv").read_text().split("\n", 1)[1]
    quoted = hostile.replace('"', "'")
    measured = read(csv(f'Time,"{quoted}"\n{text}'))
    z, forest = trial.test(2.0)
    for language in LANGUAGES:
        shares = [(papers.size_in_words(2, trial, quoted, language), z.share())]
        page = showing.line(measured, language) + showing.took(measured, language)
        showing.threshold(measured.series, 2.0, [], shares, language)
        assert "<script" not in page and page.count("<img") == 1
        findings = Findings(measured, True, trial, z, forest, 1.0, 0.01, "minimal", hostile)
        for paper in write_papers(findings, Assumptions(), language):
            assert "<script" not in paper and not re.search(r"(?<!\\)\]\(http", paper)
            assert all(line.count(" | ") <= 3 for line in paper.splitlines() if line.startswith("|"))


def test_the_unit_is_what_stands_in_brackets_at_the_end_of_a_name() -> None:
    names = ["debiet [l/s]", "druk (bar) ", "druk", "[a]b", "x [" + "y" * 50 + "]", "a [$x$]"]
    assert [papers.unit_of(name) for name in names] == ["l/s", "bar", "", "", "", "$x$"]


def test_both_languages_say_the_same_things_with_the_same_values() -> None:
    assert TEXTS["nl"].keys() == TEXTS["en"].keys()

    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for code in TEXTS["nl"]:
        assert names(TEXTS["nl"][code]) == names(TEXTS["en"][code]), code


def test_both_languages_of_the_papers_hold_the_same_figures() -> None:
    for name in ("modelkaart", "memo"):
        found = [
            sorted(re.findall(r"\$(\w+)", (papers.TEMPLATES / f"{name}.{language}.md").read_text()))
            for language in LANGUAGES
        ]
        assert found[0] == found[1] and found[0]


def test_no_sentence_is_unused_and_none_is_missing(kit_folder: Path) -> None:
    code = "".join(file.read_text() for file in (kit_folder / "onderhoud").glob("*.py"))
    composed = ("took.", "risk.", "test.")
    unused = [
        name for name in TEXTS["nl"] if f'"{name}"' not in code.replace("'", '"') and not name.startswith(composed)
    ]
    assert unused == []
    assert {f"took.{name}" for name in ("semicolon", "tab", "comma", "bar")} < TEXTS["nl"].keys()


def test_numbers_and_dates_are_written_as_the_language_does() -> None:
    assert (number(1234.5, 1, "nl"), number(1234.5, 1, "en")) == ("1.234,5", "1,234.5")
    said = Said("took.rows", rows=3, first=date(2026, 3, 31), last="x")
    assert "31-3-2026" in say(said, "nl") and "31 Mar 2026" in say(said, "en")
    assert day_in_words(date(2026, 12, 1), "en") == "1 Dec 2026"


@pytest.mark.parametrize("value", ["veel", None, -1, float("nan"), float("inf"), 2e6, True, [1]])
def test_an_assumption_that_is_no_sensible_number_is_refused(value: object) -> None:
    with pytest.raises(CannotRead) as caught:
        Assumptions.named({"euro per uur werk": value})
    assert caught.value.said.code == "memo.assumption"


def test_assumptions_have_the_names_that_the_notebooks_use(kit_folder: Path) -> None:
    for place, (language, notebook) in enumerate((("nl", "3-modelkaart-en-memo"), ("en", "3-model-card-and-memo"))):
        cells = json.loads((kit_folder / language / f"{notebook}.ipynb").read_text())["cells"]
        source = next("".join(cell["source"]) for cell in cells if cell["id"] == "aannames")
        named = {name: float(value) for name, value in re.findall(r'"(.+?)": ([\d.]+),', source)}
        assert set(named) == {both[place] for both in ASSUMPTIONS.values()}
        assert Assumptions.named(named) == Assumptions()
    with pytest.raises(CannotRead):
        Assumptions.named({"euro per dag": 1})


@pytest.mark.parametrize(
    ("own", "risk", "leaks", "said"),
    [
        (True, "minimal", 4, "memo.go"),
        (False, "minimal", 4, "memo.not_yet"),
        (True, "unknown", 4, "memo.not_yet"),
        (True, "high", 4, "memo.not_yet"),
        (True, "prohibited", 4, "memo.no_go"),
        (True, "minimal", 0.1, "memo.no_go"),
    ],
)
def test_the_advice_follows_from_its_points(
    own: bool, risk: str, leaks: float, said: str, trial: Trial, kit_folder: Path
) -> None:
    measured = read(kit_folder / "data" / "waterstroom.csv")
    z, forest = trial.test(2.0)
    findings = Findings(measured, own, trial, z, forest, 1.0, 0.01, risk, "")
    code, points = advice(findings, Assumptions(leaks=leaks))
    assert code == said
    assert (code == "memo.go") == all(fine for _, fine in points)


def test_a_year_of_computing_is_worked_out_by_hand_the_same(trial: Trial, kit_folder: Path) -> None:
    z, forest = trial.test(2.0)
    measured = read(kit_folder / "data" / "waterstroom.csv")
    findings = Findings(measured, True, trial, z, forest, 36.0, 0.5, "minimal", "")
    sums = Sums.of(0.5, 1.0, findings, Assumptions())
    # 8760 checks of half a second and 12 times 36 seconds: 4812 seconds; at 10 W that is 13.37 Wh.
    assert round(sums.cpu_hours, 4) == 1.3367 and round(sums.kwh, 6) == 0.013367
    assert round(sums.grams, 3) == 3.577
    # 40 hours at 60; 52 + 2 alarms of 20 minutes at 60 an hour; 2 leaks of 2500.
    assert (sums.start, sums.alarms, sums.benefit) == (2400, 1080, 5000)
    assert round(sums.balance, 2) == round(5000 - 2400 - 1080 - 1.33667 * 0.05, 2)
