"""How easy a Dutch text reads: the Flesch formula as W.H. Douma fitted it to Dutch (Wageningen, 1960)."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Vowels that Dutch writes with several letters are one syllable each; a trema begins a new one.
_SYLLABLE = re.compile(
    r"aai|ooi|oei|eeuw|ieuw|aa|ee|oo|uu|ie|oe|eu|ui|ei|ij|au|ou|[aeiouyáàâéèêëíìïóòôöúùûü]", re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-zÀ-ÿ'’]+")
_NOT_PROSE = re.compile(r"```.*?```|`[^`]*`|<[^>]*>|^\s*\|.*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Ease:
    """`score`: 0 (hard) to 100 (easy), may lie outside; `longest_sentence` in words."""

    score: float
    longest_sentence: int


def reading_ease(markdown: str) -> Ease:
    """Douma's score, 206.84 - 0.77 * syllables per hundred words - 0.93 * words per sentence, of a text's prose.

    Args:
        markdown: the text; code, tables and tags are left out. Headings and items of a list are sentences.
    """
    prose = _NOT_PROSE.sub(" ", markdown)
    pieces = re.split(r"[.!?:;]+(?=\s|$|\*)|\n", prose)
    sentences = [words for piece in pieces if (words := _WORD.findall(piece))]
    words = [word for sentence in sentences for word in sentence]
    syllables = sum(max(1, len(_SYLLABLE.findall(word))) for word in words)
    score = 206.84 - 0.77 * (100 * syllables / len(words)) - 0.93 * (len(words) / len(sentences))
    return Ease(score, max(map(len, sentences)))
