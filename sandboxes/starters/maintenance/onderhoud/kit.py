"""What the notebooks call: one method a step; each shows its outcome or a sentence, never a traceback."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from IPython.display import HTML, Markdown, display

from . import choices, papers, showing
from .choices import Choice, SandboxInfo
from .detecting import Alarm, alarms
from .judging import SIZES, THRESHOLDS, Event, Trial, Verdict
from .papers import Assumptions, Findings
from .picking import Picker
from .reading import Measurements, Options, read
from .said import CannotRead
from .texts import LANGUAGES, in_csv, number, say, text

EXAMPLE, KNOWN = "data/waterstroom.csv", "data/bekende-storingen.csv"
OUTCOME, ALARMS = "uitkomst.json", "alarmen.csv"
CARD, MEMO = "modelkaart.md", "memo.md"


def start(language: str, folder: Path | None = None, home: Path | None = None) -> Kit:
    """The kit in one language.

    Args:
        language: `nl` or `en`.
        folder: the kit's folder; without it the folder that this package lies in.
        home: the person's home, in which the sandbox is; without it their own.
    """
    if language not in LANGUAGES:
        raise ValueError(f"the kit speaks {' and '.join(LANGUAGES)}")
    return Kit(language, folder or Path(__file__).parent.parent, home or Path.home())


class Kit:
    """The steps of the three notebooks, about the own measurement or else the example."""

    def __init__(self, language: str, folder: Path, home: Path) -> None:
        self.language, self.folder = language, folder
        self.sandbox = home / "sandbox"
        self.choice = choices.load(folder)
        self._seconds = 0.0

    # 1. Look

    def example(self) -> None:
        """Show the example, with its known faults shaded."""
        measured = self._example_measured
        self._show(showing.line(measured, self.language, self._known_events))

    def choose(self) -> Picker:
        """Choose an own file; the picker shows it."""
        folders = [self.sandbox / "incoming", self.sandbox / "bestanden", self.folder / "bestanden"]
        picker = Picker(folders, self.choice, self._keep, self.language)
        display(picker.box)
        return picker

    # 2. Warn

    def measurements(self) -> None:
        """Show what the rest is about."""
        source = self.measured.source if self.own else self._say("show.example")
        self._show(showing.words(self._say("show.source", source=source)))
        self._show(showing.line(self.measured, self.language, self._events))

    def explore(self) -> widgets.SelectionSlider:
        """Choose the threshold, and see what it does."""
        trial = self.trial
        suggested = trial.suggestion()
        now = self._threshold
        slider = widgets.SelectionSlider(
            options=[(number(value, 1, self.language), value) for value in THRESHOLDS],
            value=now,
            description=self._say("explore.label"),
            continuous_update=False,
            layout={"width": "auto", "max_width": "36em"},
        )
        shown = widgets.HTML()

        def show(threshold: float) -> None:
            shown.value = self._explored(threshold)

        def moved(change: Mapping[str, float]) -> None:
            self._keep_one(threshold=change["new"])
            show(change["new"])

        slider.observe(moved, names="value")
        show(now)
        suggestion = self._say("explore.suggested", threshold=number(suggested, 1, self.language))
        display(widgets.VBox([slider, shown, widgets.HTML(showing.words(suggestion))]))
        return slider

    def final_test(self) -> None:
        """The final test, as a table; the outcome and the alarms are kept in files."""
        z, forest = self.judged
        rows = [
            [
                self._say("test.found"),
                *(papers.share_in_words(verdict.share(), self.language) for verdict in (z, forest)),
            ],
            *(
                [
                    self._say("test.size", size=self._size(size)),
                    *(papers.share_in_words(verdict.share(size), self.language) for verdict in (z, forest)),
                ]
                for size in SIZES
            ),
            [self._say("test.false"), *(papers.rate_in_words(verdict.false, self.language) for verdict in (z, forest))],
            [self._say("test.delay"), *(self._hours(verdict.delay()) for verdict in (z, forest))],
            [self._say("test.known"), *(papers.known_in_words(verdict, self.language) for verdict in (z, forest))],
        ]
        caption = self._say("test.caption", weeks=number(z.false.weeks, 1, self.language))
        self._show(showing.table(caption, [self._say(f"test.{name}") for name in ("what", "z", "forest")], rows))
        if self.own:
            self._show(showing.words(self._say("test.unlabelled"), alert=True))
        found = alarms(self.trial.pattern.scores(self.trial.series), z.threshold)
        choices.write(self.folder / ALARMS, self._alarms_in_csv(found))
        choices.write(self.folder / OUTCOME, json.dumps(self._outcome(), indent=1))
        self._show(showing.words(self._say("test.saved", alarms=len(found), file=ALARMS)))

    # 3. Model card and memo

    def risk(self) -> widgets.Dropdown | None:
        """Show the risk class of the sandbox's request, or ask."""
        if self._info:
            risk = self._say(f"risk.{self._info.risk}")
            self._show(showing.words(self._say("risk.from", risk=risk, title=self._info.title)))
            return None
        asked = widgets.Dropdown(
            options=[(self._say(f"risk.{risk}"), risk) for risk in choices.RISKS],
            value=self.choice.risk,
            description=self._say("risk.ask"),
            style={"description_width": "7em"},
        )
        asked.observe(lambda change: self._keep_one(risk=change["new"]), names="value")
        display(asked)
        return asked

    def write(self, assumptions: Mapping[str, object]) -> None:
        """Write the model card and the memo, and show the memo.

        Args:
            assumptions: as `papers.ASSUMPTIONS` names them, in Dutch or English.
        """
        try:
            assumed = Assumptions.named(assumptions)
        except CannotRead as refused:
            self._show(showing.words(say(refused.said, self.language), alert=True))
            return
        card, memo = papers.write_papers(self.findings(), assumed, self.language)
        choices.write(self.folder / CARD, card)
        choices.write(self.folder / MEMO, memo)
        self._show(showing.words(self._say("memo.saved", card=CARD, memo=MEMO)))
        display(Markdown(memo))

    # What the steps share

    @cached_property
    def _example_measured(self) -> Measurements:
        return read(self.folder / EXAMPLE)

    @cached_property
    def _known_events(self) -> tuple[Event, ...]:
        with (self.folder / KNOWN).open(encoding="utf-8", newline="") as file:
            return tuple(Event(pd.Timestamp(row["start"]), pd.Timestamp(row["end"])) for row in csv.DictReader(file))

    @property
    def _info(self) -> SandboxInfo | None:
        return choices.sandbox_info(self.sandbox)

    @cached_property
    def measured(self) -> Measurements:
        """The own measurement, if it can be read and is long enough; else the example, and it says so."""
        if not self.choice.file:
            return self._example_measured
        options = Options(self.choice.time, self.choice.value, self.choice.day_first, self.choice.decimal)
        try:
            own = read(Path(self.choice.file), options)
            self._own_trial = self._learn(own)
        except CannotRead as refused:
            missing = self._say("pick.missing", file=Path(self.choice.file).name)
            self._show(showing.words(say(refused.said, self.language), alert=True))
            if not refused.said.code.startswith("judge."):
                self._show(showing.words(missing, alert=True))
            return self._example_measured
        return own

    @property
    def own(self) -> bool:
        """Whether it is the company's own measurement."""
        return self.measured is not self._example_measured

    @property
    def _events(self) -> tuple[Event, ...]:
        return () if self.own else self._known_events

    @cached_property
    def trial(self) -> Trial:
        """What was learned."""
        return self._own_trial if self.own else self._learn(self.measured, self._known_events)

    def _learn(self, measured: Measurements, events: tuple[Event, ...] = ()) -> Trial:
        before = time.process_time()
        trial = Trial(measured.series, events)
        self._seconds = time.process_time() - before
        return trial

    @property
    def judged(self) -> tuple[Verdict, Verdict]:
        """The final test at the chosen threshold, or else the suggestion; done once for a threshold."""
        threshold = self._threshold
        if threshold not in self._judged:
            before = time.process_time()
            verdicts = self.trial.test(threshold)
            self._judged[threshold] = verdicts, time.process_time() - before
        return self._judged[threshold][0]

    @cached_property
    def _judged(self) -> dict[float, tuple[tuple[Verdict, Verdict], float]]:
        return {}

    @property
    def _threshold(self) -> float:
        chosen = self.choice.threshold
        return chosen if chosen is not None and chosen in THRESHOLDS else self.trial.suggestion()

    def findings(self) -> Findings:
        """All that the papers are about."""
        z, forest = self.judged
        return Findings(
            self.measured, self.own, self.trial, z, forest, self._seconds + self._judged[z.threshold][1],
            self._check_seconds, self._info.risk if self._info else self.choice.risk,
            self._info.title if self._info else "",
        )  # fmt: skip

    @cached_property
    def _check_seconds(self) -> float:
        """Processor time of one check: the mean of ten."""
        series = self.trial.series
        recent = series[series.index > series.index[-1] - 2 * self.trial.pattern.past]
        before = time.process_time()
        for _ in range(10):
            alarms(self.trial.pattern.scores(recent), THRESHOLDS[0])
        return (time.process_time() - before) / 10

    def _explored(self, threshold: float) -> str:
        verdict, clean, false = self.trial.choosing(threshold), *self.trial.false_while_choosing(threshold)
        share, rate = verdict.share(), verdict.false
        said = self._say(
            "explore.text", threshold=number(threshold, 1, self.language), found=share.found, leaks=share.of,
            false=rate.count, weeks=number(rate.weeks, 1, self.language), rate=number(rate.a_week, 1, self.language),
        )  # fmt: skip
        shares = [(self._size(size), verdict.share(size)) for size in SIZES]
        return showing.words(said) + showing.threshold(clean, threshold, false, shares, self.language)

    def _alarms_in_csv(self, found: list[Alarm]) -> str:
        target = io.StringIO()
        rows = csv.writer(target, delimiter=";", lineterminator="\r\n")
        rows.writerow(["start", "alarm", "end", "z", "measurement"])
        for alarm in found:
            z = f"{alarm.top:.1f}".replace(".", "," if self.language == "nl" else ".")
            rows.writerow([alarm.start, alarm.warned, alarm.end, z, in_csv(self.measured.name)])
        return target.getvalue()

    def _outcome(self) -> dict[str, object]:
        """The final test for programs: every leak that was put in, and what came of it."""

        def plain(verdict: Verdict) -> dict[str, object]:
            return {
                "threshold": verdict.threshold,
                "false_alarms": verdict.false.count,
                "weeks": verdict.false.weeks,
                "leaks": [
                    {**asdict(leak), "start": str(leak.start), "hours_to_alarm": hours} for leak, hours in verdict.leaks
                ],
                "known": [
                    {"start": str(event.start), "end": str(event.end), "hours_to_alarm": hours}
                    for event, hours in verdict.known
                ],
            }

        z, forest = self.judged
        return {
            "made": datetime.now().astimezone().isoformat(timespec="seconds"),
            "source": self.measured.source,
            "sha256": self.measured.sha256,
            "own": self.own,
            "spread": self.trial.pattern.spread,
            "z": plain(z),
            "forest": plain(forest),
        }

    def _size(self, size: float) -> str:
        return papers.size_in_words(size, self.trial, self.measured.name, self.language)

    def _hours(self, hours: float | None) -> str:
        return self._say("memo.never") if hours is None else number(hours, 1, self.language)

    def _keep(self, choice: Choice) -> None:
        self.choice = choice
        choices.save(self.folder, choice)

    def _keep_one(self, **changed: float | str) -> None:
        """Keep one answer, unless another notebook has gone on to another file."""
        self.choice = replace(self.choice, **changed)  # type: ignore[arg-type]
        kept = choices.load(self.folder)
        if kept.file == self.choice.file:
            choices.save(self.folder, replace(kept, **changed))  # type: ignore[arg-type]

    def _say(self, code: str, **values: str | int | float) -> str:
        return text(self.language, code, **values)

    @staticmethod
    def _show(piece: str) -> None:
        display(HTML(piece))
