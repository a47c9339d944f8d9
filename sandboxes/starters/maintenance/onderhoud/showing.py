"""Pictures and tables as pieces of a page: each picture has a text that says the same."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, num2date
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .detecting import Alarm
from .judging import Event, Share
from .reading import Measurements
from .said import Said
from .texts import day_in_words, in_html, in_picture, number, say, text

BLUE, ORANGE, GREY = "#0072b2", "#b34700", "#767676"
MOST_POINTS = 5000
# Few inches and many dots: the letters stay legible when the picture shrinks to a phone's width.
_WIDTH, _DOTS = 5.4, 150


def words(sentence: str, *, alert: bool = False) -> str:
    """One sentence as a paragraph that a screen reader announces."""
    style = f"border-left:4px solid {ORANGE};padding-left:.6em" if alert else ""
    return f'<p role="{"alert" if alert else "status"}" style="max-width:48em;{style}">{in_html(sentence)}</p>'


def took(measured: Measurements, language: str) -> str:
    """What the reader took, as a list; what was unsure comes first and stands out."""
    unsure = [said for said in measured.took if said.code.startswith("took.unsure")]
    rest = [said for said in measured.took if said not in unsure]
    items = "".join(f"<li>{in_html(say(said, language))}</li>" for said in rest)
    return "".join(words(say(said, language), alert=True) for said in unsure) + f"<ul>{items}</ul>"


def line(measured: Measurements, language: str, events: Sequence[Event] = ()) -> str:
    """The measurements over time; known faults are shaded."""
    series = measured.series
    figure, axes = _figure()
    _curve(axes, series, language)
    for event in events:
        axes.axvspan(event.start, event.end, color=ORANGE, alpha=0.25)
    axes.set_ylabel(in_picture(measured.name)[:40])

    def figure_of(value: float) -> str:
        return number(value, 1, language)

    alt = Said(
        "show.alt", name=measured.name, rows=len(series), first=series.index[0].date(), last=series.index[-1].date(),
        low=figure_of(series.quantile(0.05)), high=figure_of(series.quantile(0.95)), least=figure_of(series.min()),
        most=figure_of(series.max()),
    )  # fmt: skip
    return picture(figure, say(alt, language))


def threshold(
    scores: pd.Series, chosen: float, false: Sequence[Alarm], shares: Sequence[tuple[str, Share]], language: str
) -> str:
    """The scores with the threshold and the false alarms, and how many leaks of each size are found."""
    figure = Figure(figsize=(_WIDTH, 3.9), dpi=_DOTS, layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 2))
    _curve(above, scores.clip(upper=20), language)
    above.axhline(chosen, color=ORANGE, linestyle="--")
    for alarm in false:
        above.axvspan(alarm.start, alarm.end, color=ORANGE, alpha=0.4)
    above.set_ylabel(text(language, "explore.axis"))
    above.set_ylim(0, max(13.0, min(20.0, float(scores.max()) + 1)))
    labels = [in_picture(label) for label, _ in shares]
    below.barh(labels, [100 * share.found / share.of for _, share in shares], color=BLUE)
    below.invert_yaxis()
    below.set_xlim(0, 100)
    below.set_xlabel(f"% {text(language, 'explore.found')}")
    below.set_ylabel(text(language, "explore.size"))
    sizes = ", ".join(
        f"{label}: {text(language, 'test.of', found=share.found, of=share.of)}" for label, share in shares
    )
    said = Said("explore.alt", threshold=number(chosen, 1, language), sizes=sizes)
    return picture(figure, say(said, language))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that a screen reader can read; the first cell of a row is its heading."""
    top = "".join(f'<th scope="col" style="text-align:left">{in_html(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row" style="text-align:left">{in_html(row[0])}</th>'
        + "".join(f'<td style="text-align:left">{in_html(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="font-variant-numeric:tabular-nums">'
        f'<caption style="text-align:left">{in_html(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    )


def picture(figure: Figure, alt: str) -> str:
    """A figure as part of a page."""
    target = io.BytesIO()
    figure.savefig(target, format="png", facecolor="white")
    data = base64.b64encode(target.getvalue()).decode()
    return (
        f'<img alt="{in_html(alt)}" src="data:image/png;base64,{data}" style="width:100%;max-width:44em;height:auto">'
    )


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, 2.5), dpi=_DOTS, layout="constrained")
    return figure, figure.subplots()


def _curve(axes: Axes, series: pd.Series, language: str) -> None:
    """A line that is broken at gaps; of very many points the lowest and highest of each piece are drawn."""
    if len(series) > MOST_POINTS:
        pieces = series.groupby(pd.RangeIndex(len(series)) * (MOST_POINTS // 2) // len(series))
        series = series.loc[sorted({*pieces.idxmin(), *pieces.idxmax()})]
    steps = series.index.to_series().diff()
    gaps = steps > 3 * steps.median()
    holes = pd.Series(float("nan"), index=series.index[gaps] - pd.Timedelta(seconds=1))
    axes.plot(pd.concat([series, holes]).sort_index() if gaps.any() else series, color=BLUE, linewidth=0.8)
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=5))
    hours = series.index[-1] - series.index[0] < pd.Timedelta(days=4)

    def moment(place: float, _: int) -> str:
        when = num2date(place)
        day = day_in_words(when.date(), language)
        return f"{day}\n{when:%H:%M}" if hours else day

    axes.xaxis.set_major_formatter(FuncFormatter(moment))
    axes.tick_params(labelsize=8)
    axes.grid(color=GREY, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
