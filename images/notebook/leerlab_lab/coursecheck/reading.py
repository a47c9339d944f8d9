"""What a reader meets: how hard the text is, links, and pictures with their text alternatives. Nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nbformat import NotebookNode

from leerlab_lab.coursecheck.book import named
from leerlab_lab.coursecheck.plan import Finding

# Vowels that Dutch writes with several letters are one syllable each; a trema begins a new one.
_DUTCH = re.compile(
    r"aai|ooi|oei|eeuw|ieuw|aa|ee|oo|uu|ie|oe|eu|ui|ei|ij|au|ou|[aeiouyáàâéèêëíìïóòôöúùûü]", re.IGNORECASE
)
_ENGLISH = re.compile(r"[aeiouy]+", re.IGNORECASE)
_SILENT = re.compile(r"(?:[^laeiouy]e|[^tdaeiouy]ed|[^sxzcgaeiouy]es)$", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-zÀ-ÿ'’]+")
_NOT_PROSE = re.compile(
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|<[^>]*>|\]\([^)]*\)|^\s*\|.*$", re.DOTALL | re.MULTILINE
)
# The easiest-allowed score and the longest sentence, by track. Douma's scale for Dutch: 80-90 is easy, 65-80 fairly
# easy, 45-65 average; Dutch texts at B1 are seldom below 65, and mbo 2-3 should stay clear of it. Flesch's for English
# has the same steps.
BOUNDS = {"mbo": (70.0, 25), "hbo": (45.0, 40), "llo": (45.0, 40)}
_FEWEST_WORDS = 60
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(\s*<?([^)\s>]*)>?[^)]*\)|<a\s[^>]*href=[\"']([^\"']*)[\"']|<(https?://[^>\s]+)>")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(\s*<?([^)\s>]*)>?[^)]*\)")
_TAG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"(alt|src)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_HEADING = re.compile(r"^#{1,6}\s+(.*)$", re.MULTILINE)
_EMPTY_ALT = 3


@dataclass(frozen=True)
class Ease:
    """`score`: 0 (hard) to 100 (easy), may lie outside; `longest`: the longest sentence, `words` in all."""

    score: float
    longest: str
    words: int


def reading_ease(markdown: str, language: str = "nl") -> Ease:
    """How easy the prose of a text reads.

    Dutch: the Flesch formula as W.H. Douma fitted it (Wageningen, 1960), 206.84 - 0.77 * syllables per hundred words -
    0.93 * words per sentence. English: R. Flesch (1948), 206.835 - 84.6 * syllables per word - 1.015 *
    words per sentence.

    Args:
        markdown: the text; code, formulas, tables and tags are left out. Headings and items of a list are sentences.
        language: `nl` or `en`.
    """
    prose = _NOT_PROSE.sub(" ", markdown)
    pieces = re.split(r"[.!?:;]+(?=\s|$|\*)|\n", prose)
    sentences = [(len(words), piece.strip()) for piece in pieces if (words := _WORD.findall(piece))]
    words = _WORD.findall(prose)
    if not words:
        return Ease(100.0, "", 0)
    syllables = sum(_syllables(word, language) for word in words)
    per_word, per_sentence = syllables / len(words), len(words) / len(sentences)
    if language == "nl":
        score = 206.84 - 77 * per_word - 0.93 * per_sentence
    else:
        score = 206.835 - 84.6 * per_word - 1.015 * per_sentence
    return Ease(score, max(sentences)[1], len(words))


def _syllables(word: str, language: str) -> int:
    if language == "nl":
        return max(1, len(_DUTCH.findall(word)))
    return max(1, len(_ENGLISH.findall(word)) - bool(_SILENT.search(word)))


def problems(notebook: NotebookNode, folder: Path, file: str, track: str, language: str) -> Iterator[Finding]:
    """What a reader of the notebook stumbles over.

    Args:
        folder: what lies there can be linked to.
        track: decides how hard the text may be; empty for any.
    """
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    if track in BOUNDS:
        yield from _hard([cell.source for cell in texts], file, track, language)
    headings = {_anchor(title) for cell in texts for title in _HEADING.findall(cell.source)}
    for cell in texts:
        prose = _CODE.sub(" ", cell.source)
        for groups in _LINK.findall(prose):
            yield from _link(next(filter(None, groups), ""), cell, folder, headings, file)
        attached = cell.get("attachments", {})
        for alternative, target in _pictures(prose):
            if len(alternative.strip()) <= _EMPTY_ALT:
                yield Finding("image.no_alt", named(cell), file=file, params={"image": target[:200]})
            if not _is_there(target, folder, attached):
                yield Finding("image.missing", named(cell), file=file, params={"image": target[:200]})


def links(notebook: NotebookNode) -> list[str]:
    """The outside addresses that the notebook names, each once: nobody fetched them."""
    found = {
        target: None
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for groups in _LINK.findall(_CODE.sub(" ", cell.source))
        if (target := next(filter(None, groups), "")).startswith("https://")
    }
    return list(found)


def _hard(texts: list[str], file: str, track: str, language: str) -> Iterator[Finding]:
    least, longest = BOUNDS[track]
    ease = reading_ease("\n\n".join(texts), language)
    if ease.words < _FEWEST_WORDS:
        return
    if ease.score < least:
        params = {"score": round(ease.score), "least": round(least), "sentence": ease.longest[:300]}
        yield Finding("text.hard", file=file, params=params)
    if (words := len(_WORD.findall(ease.longest))) > longest:
        params = {"words": words, "most": longest, "sentence": ease.longest[:300]}
        yield Finding("text.long_sentence", file=file, params=params)


def _link(target: str, cell: NotebookNode, folder: Path, headings: set[str], file: str) -> Iterator[Finding]:
    name, shown = named(cell), {"link": target[:200]}
    try:
        parts = urlsplit(target)
        parts.port  # noqa: B018 - raises when it is no number
    except ValueError:
        yield Finding("link.malformed", name, file=file, params=shown)
        return
    if parts.scheme == "http":
        yield Finding("link.insecure", name, file=file, params=shown)
    elif parts.scheme == "https":
        if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", parts.hostname or ""):
            yield Finding("link.malformed", name, file=file, params=shown)
    elif parts.scheme not in {"", "mailto", "attachment"}:
        yield Finding("link.malformed", name, file=file, params=shown)
    elif not parts.scheme and (
        (not parts.path and _anchor(unquote(parts.fragment)) not in headings)
        or (parts.path and not _beneath(unquote(parts.path), folder))
    ):
        yield Finding("link.dead", name, file=file, params=shown)


def _pictures(prose: str) -> list[tuple[str, str]]:
    found = list(_IMAGE.findall(prose))
    for tag in _TAG.findall(prose):
        said = {name.lower(): double or single for name, double, single in _ATTRIBUTE.findall(tag)}
        found.append((said.get("alt", ""), said.get("src", "")))
    return found


def _is_there(target: str, folder: Path, attached: dict[str, object]) -> bool:
    if target.startswith("attachment:"):
        return unquote(target.removeprefix("attachment:")) in attached
    return target.startswith("data:image/") or _beneath(unquote(target), folder)


def _beneath(path: str, folder: Path) -> bool:
    """Whether a file of that name is there, in the folder itself."""
    try:
        return bool(path) and (folder / path).resolve().is_relative_to(folder.resolve()) and (folder / path).exists()
    except (OSError, ValueError):
        return False


def _anchor(title: str) -> str:
    """A heading as Jupyter links to it; punctuation aside, since renderers differ in it."""
    return re.sub(r"[^\w]+", "-", re.sub(r"[`*_]", "", title).strip().lower()).strip("-")
