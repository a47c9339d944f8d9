"""Pictures, tables and the explorable of the assignment: what the learner looks at, never what is graded.

The names and the texts are Dutch, because learners read and call them. Nothing in a graded cell needs this file.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML, display
from matplotlib.figure import Figure
from scipy import ndimage

PLAATSEN = {"9934": "Delfzijl", "9641": "Veendam", "9979": "de Eemshaven"}
GROOTSTE_K = 199
_BLAUW, _ORANJE = "#0072b2", "#b34700"


def lees_postcode(model, postcode, X, y, schrift=0):
    """Show a postcode in handwriting from X and what the model reads in it.

    Args:
        model: a fitted classifier with `predict`.
        postcode: digits as text, such as "9934".
        X: pictures, shape (n, 784), grey values 0-255.
        y: the true digit of each picture, shape (n,).
        schrift: which handwriting to take, a whole number from 0.
    """
    gebruikt: dict[int, int] = {}
    rijen = []
    for teken in postcode:
        cijfer = int(teken)
        volgnummer = gebruikt.get(cijfer, 3 * schrift)
        gebruikt[cijfer] = volgnummer + 1
        rijen.append(np.flatnonzero(y == cijfer)[volgnummer])
    gelezen = "".join(str(cijfer) for cijfer in model.predict(X[rijen]))
    titels = [f"leest: {cijfer}" for cijfer in gelezen]
    _toon(
        _rij_plaatjes(X[rijen], titels), f"Vier cijfers in handschrift. Er staat {postcode}. Het model leest {gelezen}."
    )
    fout = sum(echt != gezien for echt, gezien in zip(postcode, gelezen, strict=True))
    if fout:
        print(f"Er staat {postcode} ({PLAATSEN.get(postcode, 'onbekend')}). Het model leest {gelezen}.")
        print(f"Aantal fouten: {fout}. Deze lading gaat naar het verkeerde adres.")
    else:
        print(f"Het model leest {gelezen}: dat is {PLAATSEN.get(postcode, 'een bekende postcode')}. Dat klopt.")


def toon_buren(X_nieuw, y_nieuw, X_lesboek, y_lesboek, nummer, k):
    """Show one new digit, its k nearest neighbours in the training set and the outcome of their vote.

    Args:
        X_nieuw, y_nieuw: pictures (n, 784) and their true digits (n,).
        X_lesboek, y_lesboek: pictures (m, 784) and the digits that were typed for them (m,).
        nummer: which new digit, 0 <= nummer < n.
        k: how many neighbours vote, a whole number from 1.
    """
    afstand = ((X_lesboek - X_nieuw[nummer]) ** 2).sum(axis=1)
    buren = np.argsort(afstand, kind="stable")[:k]
    stemmen = y_lesboek[buren]
    titels = ["nieuw: ?"] + [f"buur {n + 1}: {stem}" for n, stem in enumerate(stemmen)]
    lijst = ", ".join(str(stem) for stem in stemmen)
    _toon(
        _rij_plaatjes(np.vstack([X_nieuw[[nummer]], X_lesboek[buren]]), titels),
        f"Links het nieuwe cijfer. Daarnaast {'de buur' if k == 1 else f'de {k} buren'}, met wat erbij getypt is: {lijst}.",
    )
    telling = np.bincount(stemmen, minlength=10)
    for cijfer in np.flatnonzero(telling):
        print(f"Stemmen voor {cijfer}: {telling[cijfer]}")
    print(f"Het model zegt: {telling.argmax()}. Er staat echt: {y_nieuw[nummer]}.")


def toon_matrix(matrix):
    """Show a confusion matrix as a table that a screen reader can read: rows true, columns predicted.

    Args:
        matrix: counts, shape (n, n), as scikit-learn's `confusion_matrix` gives them.
    """
    kop = "".join(f'<th scope="col">{n}</th>' for n in range(len(matrix)))
    regels = []
    for echt, rij in enumerate(matrix):
        cellen = "".join(
            f'<td style="text-align:right;{_kleur(int(aantal), echt == gelezen)}">{aantal}</td>'
            for gelezen, aantal in enumerate(rij)
        )
        regels.append(f'<tr><th scope="row">Er staat een {echt}</th>{cellen}</tr>')
    display(
        HTML(
            '<table style="font-variant-numeric:tabular-nums"><caption style="text-align:left">'
            "Rij: wat er echt staat. Kolom: wat het model leest. Vet: goed gelezen.</caption>"
            f'<thead><tr><th scope="col">Het model leest een:</th>{kop}</tr></thead>'
            f"<tbody>{''.join(regels)}</tbody></table>"
        )
    )


@dataclass(frozen=True)
class Stand:
    """What the explorable says at one k: whole counts out of `lesboek_totaal` and `proef_totaal`."""

    k: int
    lesboek_fout: int
    lesboek_totaal: int
    proef_fout: int
    proef_totaal: int
    eilandjes: int
    eenkleurig: bool

    def tekst(self) -> str:
        """The text alternative of the picture, in Dutch."""
        if self.eenkleurig:
            grens = "Er is geen grens meer: het model zegt overal hetzelfde cijfer."
        elif self.eilandjes == 0:
            grens = "De grens is één rustige lijn, zonder eilandjes."
        elif self.eilandjes == 1:
            grens = "Naast de grens ligt 1 eilandje."
        else:
            grens = f"Naast de grens liggen {self.eilandjes} eilandjes."
        return (
            f"k = {self.k}. "
            f"Fouten in het lesboek: {self.lesboek_fout} van de {self.lesboek_totaal}. "
            f"Fouten in de proeftoets: {self.proef_fout} van de {self.proef_totaal}. {grens}"
        )


class Verkenner:
    """How k moves the border between ones and twos, and the errors: every k worked out once, then looked up.

    Each digit becomes a point: how much ink it has, and which part of that ink is in the middle.

    Args:
        X_lesboek, y_lesboek: pictures (m, 784) and the digits typed for them.
        X_proef, y_proef: pictures (n, 784) and their true digits.
        typefout: True where the typed digit is wrong, shape (m,).
    """

    _PUNTEN = 200
    _RASTER = 90

    def __init__(self, X_lesboek, y_lesboek, X_proef, y_proef, typefout):
        les = np.flatnonzero(np.isin(y_lesboek, (1, 2)))[: self._PUNTEN]
        proef = np.flatnonzero(np.isin(y_proef, (1, 2)))[: self._PUNTEN]
        self.les, self.les_y, self.typefout = _kenmerken(X_lesboek[les]), y_lesboek[les], typefout[les]
        self.proef, self.proef_y = _kenmerken(X_proef[proef]), y_proef[proef]
        self._schaal = self.les.std(axis=0)
        laag, hoog = self.les.min(axis=0) - 1, self.les.max(axis=0) + 1
        self.assen = [np.linspace(laag[n], hoog[n], self._RASTER) for n in (0, 1)]
        raster = np.stack(np.meshgrid(*self.assen), axis=-1).reshape(-1, 2)
        self._raster_tweeen = self._tweeen_per_k(raster)
        self.ks = np.arange(1, GROOTSTE_K + 1, 2)
        self.les_fouten = self._fouten(self.les, self.les_y)
        self.proef_fouten = self._fouten(self.proef, self.proef_y)

    def _tweeen_per_k(self, punten):
        """For each point, how many of its first 1, 2, ... neighbours are twos: shape (points, training points)."""
        verschil = (punten[:, None, :] - self.les[None, :, :]) / self._schaal
        volgorde = np.argsort((verschil**2).sum(axis=2), axis=1, kind="stable")
        return np.cumsum(self.les_y[volgorde] == 2, axis=1, dtype=np.int16)

    def _fouten(self, punten, echt):
        tweeen = self._tweeen_per_k(punten)
        return np.array([int(((2 * tweeen[:, k - 1] > k) != (echt == 2)).sum()) for k in self.ks])

    def vlak(self, k: int):
        """True where the model says two, on the grid, at this odd k; shape (rows, columns)."""
        return (2 * self._raster_tweeen[:, k - 1] > k).reshape(self._RASTER, self._RASTER)

    def stand(self, k: int) -> Stand:
        """The counts at one odd k, 1 <= k <= GROOTSTE_K."""
        vlak = self.vlak(k)
        stukken = ndimage.label(vlak)[1] + ndimage.label(~vlak)[1]
        plaats = (k - 1) // 2
        return Stand(
            k, int(self.les_fouten[plaats]), len(self.les_y), int(self.proef_fouten[plaats]), len(self.proef_y),
            max(stukken - 2, 0), bool(vlak.all() or not vlak.any()),
        )  # fmt: skip

    def figuur(self, k: int) -> Figure:
        """The border (left) and the errors (right) at one odd k."""
        figuur = Figure(figsize=(9.6, 4.2), layout="constrained")
        links, rechts = figuur.subplots(1, 2)
        vlak = self.vlak(k)
        links.contourf(*self.assen, vlak, levels=[-0.5, 0.5, 1.5], colors=["#d6e9f5", "#fde3cf"])
        if vlak.any() and not vlak.all():
            links.contour(*self.assen, vlak, levels=[0.5], colors="black", linewidths=1.2)
        for cijfer, kleur in ((1, _BLAUW), (2, _ORANJE)):
            punten = self.les[self.les_y == cijfer]
            links.scatter(*punten.T, marker=f"${cijfer}$", s=38, color=kleur, linewidths=0.3)
        links.scatter(*self.les[self.typefout].T, s=150, facecolors="none", edgecolors="black", linewidths=1)
        links.set(xlabel="hoeveel inkt (%)", ylabel="deel van de inkt in het midden (%)")
        links.set_title(f"De grens bij k = {k} (rondje = typefout)", fontsize=11)
        for fouten, totaal, naam, kleur, stijl, plek in (
            (self.les_fouten, len(self.les_y), "lesboek", "#555555", "--", 9),
            (self.proef_fouten, len(self.proef_y), "proeftoets", _BLAUW, "-", 0),
        ):
            procent = 100 * fouten / totaal
            rechts.plot(self.ks, procent, stijl, color=kleur, linewidth=2)
            rechts.plot([k], [procent[(k - 1) // 2]], "o", color=kleur, markersize=9)
            rechts.annotate(naam, (self.ks[plek], procent[plek]), (8, 8), textcoords="offset points", color=kleur)
        rechts.axvline(k, color="black", linewidth=0.8, linestyle=":")
        rechts.set_xscale("log")
        rechts.set_xticks([1, 3, 10, 30, 100, 199], ["1", "3", "10", "30", "100", "199"])
        rechts.minorticks_off()
        rechts.set(xlabel="k (aantal buren)", ylabel="fouten (%)", ylim=(-1, None))
        rechts.set_title("De fouten bij elke k", fontsize=11)
        return figuur


def verken_k(X_lesboek, y_lesboek, X_proef, y_proef, typefout):
    """The explorable: a number box and two buttons for k, a picture, and the same in words.

    Works with a keyboard (arrow keys in the box; Tab, then Space, on the buttons); the words are announced by a screen
    reader. Arguments as for `Verkenner`. Returns the widget.
    """
    verkenner = Verkenner(X_lesboek, y_lesboek, X_proef, y_proef, typefout)
    vak = widgets.BoundedIntText(
        value=1, min=1, max=GROOTSTE_K, step=2, description="k (aantal buren):",
        tooltip="Hoeveel buren mogen stemmen", style={"description_width": "initial"}, layout={"width": "220px"},
    )  # fmt: skip
    kleiner = widgets.Button(description="kleinere k", tooltip="Maak k kleiner")
    groter = widgets.Button(description="grotere k", tooltip="Maak k groter")
    woorden, plaatje = widgets.HTML(), widgets.HTML()
    stappen = (1, 3, 5, 7, 9, 15, 25, 51, 101, 151, GROOTSTE_K)

    def teken(k):
        stand = verkenner.stand(k)
        tekst = html.escape(stand.tekst())
        woorden.value = f'<p role="status" style="line-height:1.5">{tekst}</p>'
        plaatje.value = _img(verkenner.figuur(k), f"Links de grens, rechts de fouten. {stand.tekst()}")

    def nieuwe_k(verandering):
        k = verandering["new"]
        if k % 2 == 0:
            vak.value = k + 1  # an even number of votes can end in a draw; the largest k is odd
        else:
            teken(k)

    vak.observe(nieuwe_k, names="value")
    kleiner.on_click(lambda _: setattr(vak, "value", max((s for s in stappen if s < vak.value), default=1)))
    groter.on_click(lambda _: setattr(vak, "value", min((s for s in stappen if s > vak.value), default=GROOTSTE_K)))
    teken(vak.value)
    return widgets.VBox([widgets.HBox([vak, kleiner, groter]), woorden, plaatje])


def _kenmerken(X):
    """Ink in per cent of the picture, and the per cent of that ink in the middle 8 by 8 points; shape (n, 2)."""
    beeld = X.reshape(-1, 28, 28) / 255
    inkt = beeld.sum(axis=(1, 2))
    midden = beeld[:, 10:18, 10:18].sum(axis=(1, 2))
    return np.stack([100 * inkt / 784, 100 * midden / inkt], axis=1)


def _rij_plaatjes(X, titels):
    figuur = Figure(figsize=(1.5 * len(X), 1.9), layout="constrained")
    for vak, beeld, titel in zip(figuur.subplots(1, len(X)), X, titels, strict=True):
        vak.imshow(beeld.reshape(28, 28), cmap="gray_r")
        vak.set_title(titel, fontsize=11)
        vak.set(xticks=[], yticks=[])
    return figuur


def _kleur(aantal, goed):
    if goed:
        return "font-weight:bold;"
    return f"background:rgba(213,94,0,{min(0.15 + aantal / 20, 0.6):.2f});" if aantal else "opacity:0.6;"


def _img(figuur, alt):
    inhoud = io.BytesIO()
    figuur.savefig(inhoud, format="png", dpi=90)
    gegevens = base64.b64encode(inhoud.getvalue()).decode("ascii")
    return f'<img style="display:block;max-width:100%" alt="{html.escape(alt)}" src="data:image/png;base64,{gegevens}">'


def _toon(figuur, alt):
    """Display a picture with its text alternative, which matplotlib's own output does not have."""
    display(HTML(_img(figuur, alt)))
