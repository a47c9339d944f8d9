"""What a check says: of its own accord, or in the teacher's words; in Dutch and English.

Two manners. In a lab a student sees everything: the check stands in the notebook, and the answer is the student's own.
Where work is marked, code has seen hidden inputs, and whatever it gave back could tell of them. Then a sentence names
what is expected by a check that students can read, and nothing of the answer; of a hidden check not even that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leerlab_lab.valuechecks.expectation import UNSET, Expectation, Kind
from leerlab_lab.valuechecks.plain import NoPlainValue, Raised

_SHOWN = 200
_KINDS = {
    Kind.NOTHING: ("niets (None)", "nothing (None)"),
    Kind.YES_NO: ("True of False", "True or False"),
    Kind.WHOLE: ("een heel getal", "a whole number"),
    Kind.NUMBER: ("een getal", "a number"),
    Kind.TEXT: ("tekst", "text"),
    Kind.LIST: ("een rij waarden", "a row of values"),
    Kind.DICT: ("een dictionary", "a dictionary"),
    Kind.OTHER: ("iets anders", "something else"),
}
_NOT_FILLED_IN = ("Deze opdracht is nog niet ingevuld.", "This task has not been filled in yet.")
_NO_NAME = (
    "Een naam die deze controle nodig heeft, bestaat niet. Vul de cellen hierboven in.",
    "A name that this check needs does not exist. Fill in the cells above.",
)
_ERROR = ("Je code stopt hier met een fout.", "Your code stops with an error here.")
_HIDDEN_ERROR = (
    "Bij een verborgen controle stopt je code met een fout.", "In a hidden check your code stops with an error.",
)  # fmt: skip
_HIDDEN = (
    "Een verborgen controle klopt nog niet. Werkt je antwoord ook in andere gevallen?",
    "A hidden check is not right yet. Does your answer work in other cases too?",
)
_NOTHING = (
    "Er komt niets uit. Vul je antwoord in, en zet in een functie return voor je antwoord.",
    "Nothing comes out. Fill in your answer, and in a function put return before it.",
)
_OTHER_KIND = ("Hier hoort {asked}.", "Here {asked} belongs.")
_THIS_KIND = (" Er komt {kind} uit.", " What comes out is {kind}.")
_TOO_MUCH = ("Er komt te veel uit om te vergelijken.", "Too much comes out to compare.")
_NO_ANSWER = (
    "Je code gaf hier geen antwoord: zij duurde te lang, of Python stopte.",
    "Your code gave no answer here: it took too long, or Python ended.",
)
_GIVES = ("Hier moet {expected} uitkomen.", "Here {expected} must come out.")
_NOW = (" Nu komt er {answer} uit.", " Now {answer} comes out.")
_ONE_OF = ("Hier moet een van deze uitkomen: {expected}.", "Here one of these must come out: {expected}.")
_PART = ("Minstens {expected:.0%} moet kloppen.", "At least {expected:.0%} must be right.")
_AT_LEAST = ("Hier hoort minstens {expected}.", "Here at least {expected} belongs.")
_AT_MOST = ("Hier hoort hoogstens {expected}.", "Here at most {expected} belongs.")
_NOT_RIGHT = ("Dit klopt nog niet.", "This is not right yet.")
_PASSED = ("Alle {count} controles kloppen.", "All {count} checks are right.")
_PASSED_ONE = ("De controle klopt.", "The check is right.")


@dataclass(frozen=True)
class Manner:
    """How a check may speak.

    Args:
        language: `nl` or `en`.
        hidden: whether students cannot read the check.
        marking: whether code has seen hidden inputs, so that no sentence may show what it gave back.
    """

    language: str
    hidden: bool = False
    marking: bool = False

    def say(self, both: tuple[str, str], **params: Any) -> str:
        return both[1 if self.language == "en" else 0].format(**params)


def passed(count: int, manner: Manner) -> str:
    """What stands where every check of a cell is right."""
    return manner.say(_PASSED if count != 1 else _PASSED_ONE, count=count)


def unanswered(manner: Manner) -> str:
    """What is said where no answer came."""
    return manner.say(_NO_ANSWER)


def complaint(answer: Any, expected: Expectation, manner: Manner) -> str:
    """What is wrong with an answer; nothing when it is right.

    Args:
        answer: a plain value, or `Raised`.
        expected: what it is compared with.
        manner: how to speak.
    """
    if isinstance(answer, Raised):
        return _of_error(answer, manner)
    if told := expected.told_wrong(answer):
        return told
    if expected.met_by(answer):
        return ""
    if manner.hidden:
        return expected.otherwise or manner.say(_HIDDEN)
    return _of_kind(answer, expected, manner) or expected.otherwise or _of_value(answer, expected, manner)


def _of_error(answer: Raised, manner: Manner) -> str:
    if answer.name == "NotImplementedError":
        return manner.say(_NOT_FILLED_IN)
    if manner.hidden:
        return manner.say(_HIDDEN_ERROR)
    return manner.say(_NO_NAME if answer.name == "NameError" else _ERROR)


def _of_kind(answer: Any, expected: Expectation, manner: Manner) -> str:
    """What is said where an answer is of another kind than was asked."""
    if isinstance(answer, NoPlainValue) and answer.too_much:
        return manner.say(_TOO_MUCH)
    asked, kind = expected.expected_kind, Kind.of(answer)
    if answer is None:
        return manner.say(_NOTHING)
    if asked is None or asked.takes(kind):
        return ""
    said = manner.say(_OTHER_KIND, asked=manner.say(_KINDS[asked]))
    return said if manner.marking else said + manner.say(_THIS_KIND, kind=manner.say(_KINDS[kind]))


def _of_value(answer: Any, expected: Expectation, manner: Manner) -> str:
    now = "" if manner.marking else manner.say(_NOW, answer=_short(answer))
    if expected.right is not None:
        return manner.say(_PART, expected=expected.right)
    if expected.gives is not UNSET:
        return manner.say(_GIVES, expected=_short(expected.gives)) + now
    if expected.one_of is not UNSET:
        return manner.say(_ONE_OF, expected=", ".join(map(_short, expected.one_of))) + now
    if expected.at_least is not None and not _reaches(answer, expected.at_least):
        return manner.say(_AT_LEAST, expected=_short(expected.at_least)) + now
    if expected.at_most is not None:
        return manner.say(_AT_MOST, expected=_short(expected.at_most)) + now
    return manner.say(_NOT_RIGHT)


def _reaches(answer: Any, least: float) -> bool:
    size = len(answer) if isinstance(answer, (str, list, dict)) else answer
    return isinstance(size, (int, float)) and size >= least


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
