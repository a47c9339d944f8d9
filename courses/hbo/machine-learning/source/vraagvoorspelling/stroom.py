"""Data, pictures and the explorable of the assignment: what the learner looks at, never what is graded."""

from __future__ import annotations

import base64
import html
import io
import time
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, display
from leerlab_lab import data
from leerlab_lab.lesson import say
from matplotlib.figure import Figure

DAY = 48  # half-hours
LONGEST_HOURS = 48
_BLUE, _ORANGE, _GREY = "#0072b2", "#b34700", "#666666"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def load():
    """The demand of 2014: a table with a row for each half-hour, and the columns demand (GW), workday and temperature (°C)."""
    table = data.dataset("elecdemand").to_pandas()
    table.columns = ["demand", "workday", "temperature"]
    table.index = pd.date_range("2014-01-01", periods=len(table), freq="30min", name="time")
    return table


def plot_days(table, first, days=7):
    """Draw the demand of some days, with weekends and holidays shaded.

    Args:
        table: as `load` gives it.
        first: the first day, such as "2014-07-07".
        days: how many.
    """
    part = table[first:].iloc[: days * DAY]
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(part.index, part.demand, color=_BLUE)
    for _, free in part[part.workday == 0].groupby(part.index.normalize()[part.workday == 0]):
        axes.axvspan(free.index[0], free.index[-1], color=_GREY, alpha=0.15)
    axes.set_ylabel("GW")
    axes.set_title(say("Vraag per half uur; grijs: geen werkdag", "Demand per half-hour; grey: no working day"))
    peak = part.demand.idxmax()
    words = say(
        f"De vraag van {days} dagen vanaf {first}. Het hoogst: {part.demand.max():.2f} GW op {peak:%d-%m om %H:%M}. "
        f"Het laagst: {part.demand.min():.2f} GW.",
        f"Demand of {days} days from {first}. Highest: {part.demand.max():.2f} GW on {peak:%d-%m at %H:%M}. "
        f"Lowest: {part.demand.min():.2f} GW.",
    )
    _show(figure, words)


def compare(title, lines, actual):
    """Draw what several models forecast for three days beside what happened.

    Args:
        title: above the picture.
        lines: for each model its forecasts, a Series with times.
        actual: what the demand was, a Series with times.
    """
    part = actual.iloc[: 3 * DAY]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(part.index, part, color="black", linewidth=2, label=say("werkelijk", "actual"))
    for (name, series), style in zip(lines.items(), ("--", "-.", ":"), strict=False):
        axes.plot(part.index, series[part.index], style, label=name)
    axes.set(ylabel="GW", title=title)
    axes.legend()
    worst = {name: float((series[part.index] - part).abs().max()) for name, series in lines.items()}
    words = "; ".join(
        f"{name}: {say('grootste fout', 'largest error')} {error:.2f} GW" for name, error in worst.items()
    )
    _show(figure, f"{title}. {words}.")


@dataclass(frozen=True)
class Chance:
    """How sure it is that a model is better than another.

    Args:
        better: mean over the days of how much smaller its error is, in GW.
        low: 2.5th percentile of the same over imitated periods.
        high: 97.5th percentile.
        won: on how many days its error is the smaller one.
        days: how many days there are.
    """

    better: float
    low: float
    high: float
    won: int
    days: int

    def words(self, name, than):
        """The same in one or two sentences."""
        better, low, high = (f"{number:+.2f}" for number in (self.better, self.low, self.high))
        verdict = (
            say("Daar zit 0 in: het kan toeval zijn.", "That contains 0: it may be chance.")
            if self.low <= 0 <= self.high
            else say("Daar zit 0 niet in.", "That does not contain 0.")
        )
        comma = str.maketrans(".", ",")
        return say(
            f"{name}: op {self.won} van de {self.days} dagen beter dan {than}. De winst is gemiddeld "
            f"{better.translate(comma)} GW, en in 95 van de 100 nabootsingen tussen {low.translate(comma)} en "
            f"{high.translate(comma)} GW. {verdict}",
            f"{name}: better than {than} on {self.won} of {self.days} days. The gain is {better} GW on average, and in 95 "
            f"of 100 imitations between {low} and {high} GW. {verdict}",
        )


def how_sure(forecast, baseline, actual, draws=2000):
    """Compare two forecasts by the bootstrap over whole days (Efron, Annals of Statistics 7(1), 1979).

    Args:
        forecast: of the model, a Series with times.
        baseline: what it is compared with, a Series with times.
        actual: what the demand was, a Series with times.
        draws: how many periods are imitated.
    """
    gain = ((baseline - actual).abs() - (forecast - actual).abs()).groupby(actual.index.normalize()).mean().to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(gain), (draws, len(gain)))
    low, high = np.percentile(gain[drawn].mean(axis=1), [2.5, 97.5])
    return Chance(float(gain.mean()), float(low), float(high), int((gain > 0).sum()), len(gain))


def chance(forecasts, actual):
    """Draw how much better each model is than the first, with what chance may do to that, and say it in words.

    Args:
        forecasts: for each model its forecasts, a Series with times; the first is what the others are compared with.
        actual: what the demand was, a Series with times.
    """
    (than, baseline), *others = forecasts.items()
    found = {name: how_sure(series, baseline, actual) for name, series in others}
    figure = Figure(figsize=(9, 1 + 0.6 * len(found)), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(found.values()):
        axes.plot([one.low, one.high], [place, place], color=_BLUE, linewidth=4, solid_capstyle="butt")
        axes.plot([one.better], [place], "o", color="black", markersize=8)
    axes.axvline(0, color=_GREY, linestyle="--")
    axes.set_yticks(range(len(found)), list(found))
    axes.set(xlabel=say(f"winst op {than} (GW)", f"gain over {than} (GW)"), ylim=(len(found) - 0.5, -0.5))
    words = [one.words(name, than) for name, one in found.items()]
    _show(figure, " ".join(words))
    display(HTML("".join(f"<p>{html.escape(sentence)}</p>" for sentence in words)))


@dataclass(frozen=True)
class Look:
    """What the explorable shows for one number of hours.

    Args:
        hours: how far back one looks.
        error: mean absolute error of the year in GW when the demand of then is the forecast.
    """

    hours: int
    error: float

    @property
    def known(self) -> bool:
        """Whether that demand is known when one forecasts a day ahead."""
        return self.hours >= 24

    def words(self) -> str:
        """The same as the picture, in words."""
        verdict = (
            say("Die vraag ken je dan al: dit mag.", "That demand is known by then: this is allowed.")
            if self.known
            else say(
                "Die vraag ken je een dag vooruit nog niet. Gebruik je haar toch, dan lekt de toekomst naar je model.",
                "A day ahead that demand is not known yet. If you use it all the same, the future leaks into your model.",
            )
        )
        number = f"{self.error:.2f}"
        return say(
            f"Je voorspelt: zoals {self.hours} uur eerder. Gemiddelde fout: {number.replace('.', ',')} GW. {verdict}",
            f"You forecast: as {self.hours} hours before. Mean error: {number} GW. {verdict}",
        )


class Explorer:
    """Errors of "as it was some hours before", for every number of hours.

    Args:
        table: as `load` gives it.
    """

    def __init__(self, table):
        self._table = table
        demand = table.demand
        self.looks = [
            Look(hours, float((demand - demand.shift(2 * hours)).abs().mean())) for hours in range(1, LONGEST_HOURS + 1)
        ]

    def figure(self, hours):
        """On the left three days and their forecast, on the right the error for every number of hours."""
        figure = Figure(figsize=(9.5, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        part = self._table["2014-07-07":"2014-07-09"].demand
        shifted = self._table.demand.shift(2 * hours)[part.index]
        left.plot(part.index, part, color="black", label=say("werkelijk", "actual"))
        colour = _BLUE if hours >= 24 else _ORANGE
        left.plot(part.index, shifted, "--", color=colour, label=say("voorspeld", "forecast"))
        left.set(ylabel="GW")
        left.tick_params(axis="x", rotation=30)
        left.legend(loc="lower right")
        right.plot([look.hours for look in self.looks], [look.error for look in self.looks], color="black")
        right.axvspan(0, 24, color=_ORANGE, alpha=0.15)
        right.text(1, 0.03, say("nog niet bekend", "not known yet"), color=_ORANGE)
        right.plot([hours], [self.looks[hours - 1].error], "o", color=colour, markersize=9)
        right.set(
            xlabel=say("uren terug", "hours back"),
            ylabel=say("fout (GW)", "error (GW)"),
            xlim=(0, LONGEST_HOURS),
            ylim=0,
        )
        return figure


def explore_lag(table):
    """The explorable: a number box and buttons for how many hours back, a picture, and the same in words.

    Works with a keyboard (arrow keys in the box; Tab, then Space, on the buttons); the words are announced by a screen
    reader. Returns the widget.

    Args:
        table: as `load` gives it.
    """
    explorer = Explorer(table)
    box = widgets.BoundedIntText(
        value=1, min=1, max=LONGEST_HOURS, description=say("uren terug:", "hours back:"),
        tooltip=say("Zoals hoeveel uur eerder?", "As how many hours before?"),
        style={"description_width": "initial"}, layout={"width": "180px"},
    )  # fmt: skip
    stops = (1, 6, 12, 18, 24, 36, 48)
    earlier = widgets.Button(description=say("verder terug", "further back"))
    later = widgets.Button(description=say("minder ver terug", "less far back"), layout={"width": "160px"})
    words, picture = widgets.HTML(), widgets.HTML()

    def draw(hours):
        text = html.escape(explorer.looks[hours - 1].words())
        words.value = f'<p role="status" style="line-height:1.5">{text}</p>'
        picture.value = _img(explorer.figure(hours), text)

    box.observe(lambda change: draw(change["new"]), names="value")
    earlier.on_click(lambda _: setattr(box, "value", min((s for s in stops if s > box.value), default=LONGEST_HOURS)))
    later.on_click(lambda _: setattr(box, "value", max((s for s in stops if s < box.value), default=1)))
    draw(box.value)
    return widgets.VBox([widgets.HBox([box, later, earlier]), words, picture])


def make_network(inputs):
    """A small network: from the features to one number, the demand in GW.

    Args:
        inputs: how many features there are.
    """
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)
    ).to(DEVICE)


def tensors(features, demand):
    """Features and demand as tensors on the GPU where there is one, else on the CPU; shapes (n, inputs) and (n, 1)."""
    X = torch.tensor(np.asarray(features), dtype=torch.float32, device=DEVICE)
    return X, torch.tensor(np.asarray(demand), dtype=torch.float32, device=DEVICE)[:, None]


def train(network, step, X, y, passes=20):
    """Train a network in small pieces of the data.

    Args:
        network: as `make_network` gives it.
        step: the learner's `train_step(network, optimizer, X, y)`.
        X: features, shape (n, inputs).
        y: demand, shape (n, 1).
        passes: how often the network sees all data.

    Returns:
        Seconds that it took.
    """
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    began = time.perf_counter()
    for _ in range(passes):
        order = torch.randperm(len(X), device=X.device)
        for start in range(0, len(X), 256):
            piece = order[start : start + 256]
            step(network, optimizer, X[piece], y[piece])
    return time.perf_counter() - began


def predict(network, X, times):
    """A network's forecasts as a Series.

    Args:
        network: trained.
        X: features, shape (n, inputs).
        times: the n times that they are for.
    """
    with torch.no_grad():
        return pd.Series(network(X)[:, 0].cpu().numpy(), index=times)


def side_by_side(rows):
    """Show errors and seconds of several models in one table.

    Args:
        rows: for each model its mean absolute error in GW, its seconds, and what it ran on.
    """
    table = pd.DataFrame(
        [(name, f"{error:.3f}", f"{seconds:.1f}", on) for name, (error, seconds, on) in rows.items()],
        columns=[say("model", "model"), say("fout (GW)", "error (GW)"), say("seconden", "seconds"), say("op", "on")],
    )
    display(HTML(table.to_html(index=False)))


def _img(figure, alt):
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img style="display:block;max-width:100%" alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">'


def _show(figure, alt):
    """Display a picture with its text alternative, which matplotlib's own output does not have."""
    display(HTML(_img(figure, alt)))
