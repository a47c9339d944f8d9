"""The kit's notebooks as a person runs them: behind the wall, from the first cell to the last, in both languages."""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kit_sandbox import Ran, Sandbox

pytestmark = pytest.mark.integration

NewSandbox = Callable[[str], Sandbox]
SOURCE = Path(__file__).parents[3] / "sandboxes" / "starters" / "maintenance"


def own_csv(language: str, days: int = 70) -> str:
    """Ten weeks of a pump's pressure, as a Dutch or an English logger writes it."""
    lines = ["datum;tijd;=druk <b>pomp</b> $3 [bar]" if language == "nl" else "time,=pressure <b>pump</b> $3 [bar]"]
    for hour in range(24 * days):
        moment = datetime(2026, 6, 13) + timedelta(hours=hour)  # noqa: DTZ001
        value = 6.2 + 0.3 * (8 <= moment.hour < 18) + 0.08 * math.sin(hour * 12.9898) * math.cos(hour * 78.233)
        if hour == 24 * 65:
            value = 2.0
        if 24 * 60 <= hour < 24 * 60 + 12:
            value = 3.1
        if language == "nl":
            lines.append(f"{moment:%d-%m-%Y;%H:%M};{value:.3f}".replace(".", ","))
        else:
            lines.append(f"{moment:%Y-%m-%d %H:%M},{value:.3f}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session", params=["nl", pytest.param("en", marks=pytest.mark.slow)])
def example(request: pytest.FixtureRequest, new_sandbox: NewSandbox) -> tuple[Sandbox, list[Ran]]:
    """A new sandbox in which the three notebooks were run on the example."""
    sandbox = new_sandbox(request.param)
    return sandbox, [sandbox.run(notebook) for notebook in sandbox.notebooks]


@pytest.fixture(scope="session", params=["nl", pytest.param("en", marks=pytest.mark.slow)])
def own(request: pytest.FixtureRequest, new_sandbox: NewSandbox) -> tuple[Sandbox, list[Ran]]:
    """The same with an own CSV that was chosen, in a sandbox that says its risk class."""
    sandbox = new_sandbox(request.param)
    (sandbox.incoming / "pomp.csv").write_text(own_csv(request.param))
    sandbox.choose("pomp.csv")
    about = {"id": "abcd2345", "title": "Gemaal [noord](http://x) <script>", "risk_class": "minimal"}
    (sandbox.home / "sandbox" / ".leerlab-sandbox.json").write_text(json.dumps(about))
    return sandbox, [sandbox.run(notebook) for notebook in sandbox.notebooks]


def test_all_three_run_without_an_error_or_a_warning_in_under_a_minute(example: tuple[Sandbox, list[Ran]]) -> None:
    _, runs = example
    assert len(runs) == 3
    assert [run.errors + run.streams for run in runs] == [[], [], []]
    assert sum(run.seconds for run in runs) < 60


def test_the_first_notebook_shows_a_picture_with_a_text_alternative_and_the_picker(
    example: tuple[Sandbox, list[Ran]],
) -> None:
    sandbox, (first, _, _) = example
    alternatives = re.findall(r'<img alt="([^"]{40,})"', first.pages)
    assert len(alternatives) == 1 and ("1268" in alternatives[0])
    assert first.widgets == 1
    assert not (sandbox.kit / "keuze.json").exists()


@pytest.mark.slow
def test_the_own_csv_is_drawn_warned_of_and_written_about(own: tuple[Sandbox, list[Ran]]) -> None:
    sandbox, runs = own
    assert [run.errors + run.streams for run in runs] == [[], [], []]
    assert "pomp.csv" in runs[1].pages
    everything = "".join(run.pages for run in runs)
    assert "<b>pom" not in everything and "<b>pum" not in everything and "<script" not in everything
    memo = (sandbox.kit / "memo.md").read_text()
    assert "$3" not in memo.replace("\\$3", "") and "](http" not in memo.replace("\\](http", "")
    assert ("minimaal risico" if sandbox.language == "nl" else "minimal risk") in memo


@pytest.mark.slow
def test_no_cell_of_the_exported_alarms_is_a_formula_and_the_stop_is_among_them(own: tuple[Sandbox, list[Ran]]) -> None:
    sandbox, _ = own
    with (sandbox.kit / "alarmen.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert rows and all(row["measurement"].startswith("'=") for row in rows)
    stop = datetime(2026, 6, 13) + timedelta(days=60)  # noqa: DTZ001
    assert any(datetime.fromisoformat(row["start"]) <= stop <= datetime.fromisoformat(row["end"]) for row in rows)


# The method once more, from the datasheet's description alone, without pandas and without the kit's code.


def measured(file: Path) -> tuple[list[datetime], list[float]]:
    """The example on the Dutch clock: +1 hour, and +2 from 27 March, which the file writes itself."""
    with file.open() as rows:
        pairs = [
            (datetime.fromisoformat(row[0]).replace(tzinfo=None), float(row[1])) for row in list(csv.reader(rows))[1:]
        ]
    return [time for time, _ in pairs], [value for _, value in pairs]


def z_scores(
    times: list[datetime], values: list[float], slots: dict[int, float], spread: float, first: int
) -> list[float]:
    return [abs(value) for value in rest(times, values, slots, spread, first)]


def rest(times: list[datetime], values: list[float], slots: dict[int, float], spread: float, first: int) -> list[float]:
    found = []
    for place in range(first, len(times)):
        past = [v for t, v in zip(times[:place], values[:place], strict=True) if t >= times[place] - timedelta(days=7)]
        usual = statistics.median(past) + slots[times[place].hour] if len(past) >= 12 else None
        found.append(0.0 if usual is None else (values[place] - usual) / spread)
    return found


def learned(times: list[datetime], values: list[float]) -> tuple[dict[int, float], float]:
    away = rest(times, values, dict.fromkeys(range(24), 0.0), 1.0, 12)
    hours = [time.hour for time in times[12:]]
    slots = {h: statistics.median(a for a, hour in zip(away, hours, strict=True) if hour == h) for h in range(24)}
    left = [a - slots[hour] for a, hour in zip(away, hours, strict=True)]
    middle = statistics.median(left)
    return slots, 1.4826 * statistics.median(abs(value - middle) for value in left)


def test_the_figures_of_the_final_test_come_out_the_same_when_worked_out_again_by_hand(
    example: tuple[Sandbox, list[Ran]],
) -> None:
    sandbox, _ = example
    outcome: dict[str, Any] = json.loads((sandbox.kit / "uitkomst.json").read_text())
    times, values = measured(sandbox.kit / "data" / "waterstroom.csv")
    slots, spread = learned(times[: len(times) // 2], values[: len(times) // 2])
    assert outcome["spread"] == pytest.approx(spread)
    assert outcome["z"]["weeks"] == pytest.approx((len(times) - int(0.65 * len(times))) / 168)
    threshold = outcome["z"]["threshold"]
    for leak in outcome["z"]["leaks"]:
        begin = times.index(datetime.fromisoformat(leak["start"]))
        assert begin >= int(0.65 * len(times))
        changed = values[: begin + leak["steps"]]
        shift = leak["size"] * spread * (1 if leak["up"] else -1)
        changed[begin:] = [value + shift for value in changed[begin:]]
        above = [score > threshold for score in z_scores(times[: len(changed)], changed, slots, spread, begin)]
        second = next((place for place in range(1, len(above)) if above[place - 1] and above[place]), None)
        hours = None if second is None else (times[begin + second] - times[begin]) / timedelta(hours=1)
        assert leak["hours_to_alarm"] == hours, leak


def test_the_memo_says_what_the_outcome_says(example: tuple[Sandbox, list[Ran]]) -> None:
    sandbox, (_, _, third) = example
    memo, card = ((sandbox.kit / name).read_text() for name in ("memo.md", "modelkaart.md"))
    outcome: dict[str, Any] = json.loads((sandbox.kit / "uitkomst.json").read_text())["z"]
    found, of = sum(leak["hours_to_alarm"] is not None for leak in outcome["leaks"]), len(outcome["leaks"])
    # Wilson's interval, written out.
    z = statistics.NormalDist().inv_cdf(0.975)
    middle = (found + z * z / 2) / (of + z * z)
    half = z / (of + z * z) * math.sqrt(found * (of - found) / of + z * z / 4)
    low, high = round(100 * (middle - half)), round(100 * (middle + half))
    dutch = sandbox.language == "nl"
    share = f"{found} van {of} ({low}–{high} %)" if dutch else f"{found} of {of} ({low}–{high}%)"
    assert share in memo and share in card
    # No false alarm in the test: the upper bound is -ln(0.025) in that many weeks.
    assert outcome["false_alarms"] == 0
    bound = f"{-math.log(0.025) / outcome['weeks']:.1f}"
    assert (f"0,0 (0,0–{bound.replace('.', ',')})" if dutch else f"0.0 (0.0–{bound})") in memo

    def amount(label: str) -> float:
        text = re.search(rf"\| \**{label}.*? \| \**(?:< )?([\d.,-]+)", memo)
        assert text, label
        return float(text[1].replace(".", "").replace(",", ".") if dutch else text[1].replace(",", ""))

    labels = ("beginnen", "alarmen", "bespaard", "over") if dutch else ("beginning", "checking", "saved", "left")
    begin, alarms, saved, left = map(amount, labels)
    assert (begin, saved) == (40 * 60, round(4 * found / of * 2500))
    assert alarms == round(4 * found / of * 20 / 60 * 60)
    assert left == pytest.approx(saved - begin - alarms, abs=2)
    # Energy: seconds of one check to watt-hours to grams.
    numbers = [float(n.replace(",", ".") if dutch else n) for n in re.findall(r"\d+[.,]\d+", memo.split("## Energ")[1])]
    check, hours, watt_hours, grams = numbers[:4]
    learning = re.search(r"(?:kostte|took) ([\d.,]+) se", card)
    assert learning
    seconds = 8760 * check + 12 * float(learning[1].replace(",", "."))
    assert hours == pytest.approx(seconds / 3600, rel=0.05)
    assert watt_hours == pytest.approx(10 * hours, rel=0.02)
    assert grams == pytest.approx(watt_hours / 1000 * 267.6, rel=0.02)
    assert "267,6" in memo if dutch else "267.6" in memo
    assert "codecarbon" in memo and "2024/1689" in memo
    assert ("NOG NIET" if dutch else "NOT YET") in memo
    assert memo in third.pages


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"PK\x03\x04 a workbook", id="workbook"),
        *(
            pytest.param(content, id=name, marks=pytest.mark.slow)
            for name, content in (
                ("empty", b""),
                ("text", b"alleen tekst\nzonder kolommen\n"),
                ("binary", b"\x00\x01\x02\x03" * 100),
                ("gone", None),
            )
        ),
    ],
)
def test_a_chosen_file_that_cannot_be_read_gives_a_sentence_and_no_traceback(
    content: bytes | None, new_sandbox: NewSandbox
) -> None:
    sandbox = new_sandbox("nl")
    if content is not None:
        (sandbox.incoming / "stuk.csv").write_bytes(content)
    sandbox.choose("stuk.csv", threshold=4.0, risk=7)
    second = sandbox.run(sandbox.notebooks[1])
    assert second.errors == [] and second.streams == []
    assert 'role="alert"' in second.pages and "het voorbeeld" in second.pages


@pytest.mark.slow
def test_the_picker_lists_reads_refuses_and_keeps_and_a_damaged_choice_is_no_choice(new_sandbox: NewSandbox) -> None:
    sandbox = new_sandbox("nl")
    (sandbox.kit / "keuze.json").write_text("[[[")
    (sandbox.incoming / "goed.csv").write_text(own_csv("nl", 20).replace("13-06", "03-06"))
    (sandbox.incoming / "fout.csv").write_text("geen tabel\n")
    said = json.loads(
        sandbox.python(
            """
import io, json, contextlib
import onderhoud
with contextlib.redirect_stdout(io.StringIO()):
    kit = onderhoud.start("nl")
    picker = kit.choose()
    seen = {"files": [label for label, _ in picker.file.options], "before": picker.shown.value}
    good, bad = (next(v for _, v in picker.file.options if v.endswith(n)) for n in ("goed.csv", "fout.csv"))
    picker.file.value = good
    seen["good"], seen["kept"] = picker.shown.value[-900:], json.load(open("keuze.json"))["file"]
    picker.file.value = bad
    seen["bad"], seen["still"] = picker.shown.value, json.load(open("keuze.json"))["file"]
    picker.example.click()
    seen["forgotten"] = json.load(open("keuze.json"))["file"]
    slider = onderhoud.start("nl").explore()
    slider.value = 6.0
    seen["threshold"] = json.load(open("keuze.json"))["threshold"]
print(json.dumps(seen))
"""
        )
    )
    assert sorted(said["files"][1:]) == ["fout.csv (incoming)", "goed.csv (incoming)"]
    assert "Gevonden bestanden: 2" in said["before"]
    assert "Gelezen: 480 metingen" in said["good"] and said["kept"].endswith("incoming/goed.csv")
    assert 'role="alert"' in said["bad"] and said["still"] == said["kept"]
    assert said["forgotten"] == "" and said["threshold"] == 6.0


def test_a_wrong_assumption_is_told_and_nothing_is_written(new_sandbox: NewSandbox) -> None:
    sandbox = new_sandbox("en")
    notebook = nbformat.read(sandbox.notebooks[2], as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.id == "aannames")
    cell.source = cell.source.replace('"euros per hour of work": 60', '"euros per hour of work": "sixty"')
    nbformat.write(notebook, sandbox.notebooks[2])
    third = sandbox.run(sandbox.notebooks[2])
    assert third.errors == [] and "is not a number that can be used here" in third.pages
    assert not (sandbox.kit / "memo.md").exists()


def test_no_notebook_holds_an_output_a_count_or_code_beyond_a_few_lines() -> None:
    notebooks = sorted(SOURCE.glob("*/*.ipynb"))
    assert len(notebooks) == 6
    for file in notebooks:
        for cell in nbformat.read(file, as_version=4).cells:
            if cell.cell_type == "code":
                assert cell.outputs == [] and cell.execution_count is None
                assert len(cell.source.splitlines()) <= 10
