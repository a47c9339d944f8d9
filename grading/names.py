"""Which names may come in from outside: of courses, assignments, people and files."""

from __future__ import annotations

import re
import unicodedata

from grading.errors import WrongTree

_IDENTIFIER = re.compile(r"[a-z][a-z0-9-]{1,30}\Z")
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\Z")
COURSE_ACCOUNT = "course-"

DEEPEST = 12
LONGEST_PART = 200  # bytes of UTF-8; ext4 and Btrfs hold 255
LONGEST_PATH = 600


def identifier(kind: str, text: object) -> str:
    """A course's, assignment's or person's name, as decision 0001 allows it.

    Args:
        kind: what the name is of, for the sentence in the error: `course`, `assignment` or `person`.

    Raises:
        WrongTree: it is not such a name.
    """
    if not isinstance(text, str) or not _IDENTIFIER.match(text):
        raise WrongTree(
            f"{text!r:.80} is not a name of a {kind}.",
            "A name has 2 to 31 characters: a small letter, then small letters, digits and hyphens.",
        )
    return text


def person(text: object) -> str:
    """The name of a person: never one of the course accounts.

    Raises:
        WrongTree: it is not a person's name.
    """
    name = identifier("person", text)
    if name.startswith(COURSE_ACCOUNT):
        raise WrongTree(f"{name!r} is a course account, not a person.")
    return name


def stamp(text: object) -> str:
    """The name of a submission: its moment in UTC to the microsecond, such as `20261123T010203.000004Z`.

    Raises:
        WrongTree: it is not such a moment.
    """
    if not isinstance(text, str) or not _STAMP.match(text):
        raise WrongTree(f"{text!r:.80} is not the name of a submission.")
    return text


def file_path(text: object) -> str:
    """The path of one file in a tree: relative, plain, in Unicode's composed form (NFC).

    Two names that differ in capitals only are allowed, since every place they travel to is Linux and refusing them
    would refuse somebody's work. Names that differ in Unicode form only cannot occur: only NFC is accepted.

    Raises:
        WrongTree: the path could lead out of its folder, or cannot be shown or stored everywhere.
    """
    if not isinstance(text, str) or not text:
        raise WrongTree("A file without a name cannot be taken in.")
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        raise WrongTree(f"The file name {text!r:.120} is not Unicode.", "", "Give the file another name.") from None
    parts = text.split("/")
    if (
        any(part in {"", ".", ".."} for part in parts)
        or "\\" in text
        or any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text)
    ):
        raise WrongTree(f"The file name {text!r:.120} cannot be taken in.", "", "Give the file another name.")
    if unicodedata.normalize("NFC", text) != text:
        raise WrongTree(f"The file name {text!r:.120} is not in Unicode's composed form (NFC).")
    longest_part = max(len(part.encode("utf-8")) for part in parts)
    if len(parts) > DEEPEST or len(encoded) > LONGEST_PATH or longest_part > LONGEST_PART:
        raise WrongTree(
            f"The file name {text!r:.120} is too long or too deep.",
            f"At most {DEEPEST} folders deep, {LONGEST_PART} bytes a name and {LONGEST_PATH} bytes in all.",
            "Use shorter names or fewer folders.",
        )
    return text
