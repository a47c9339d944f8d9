"""Reads one YAML file into plain values that remember their lines; refuses what a settings file must not hold.

Allowed is a small part of YAML 1.1: one document of mappings, lists, texts, decimal numbers, true, false and null.
Anchors, tags and words that YAML 1.1 reads as something else (`no`, `010`, `1:30`, `2026-11-01`) are faults, so that
nothing means what it does not seem to mean.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

LARGEST_FILE = 2**20
DEEPEST = 20
MOST_FAULTS = 100

_UTF8_MARK = b"\xef\xbb\xbf"
# What YAML 1.1 calls printable (section 5.1), the same as PyYAML's.
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_A_VALUE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_TAB_INDENTATION = re.compile(r" *\t[ \t]*[^ \t#]")
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_TEXT_TAG = "tag:yaml.org,2002:str"
_MEANINGS = {
    "tag:yaml.org,2002:int": "a number in another notation",
    "tag:yaml.org,2002:float": "a number in another notation",
    "tag:yaml.org,2002:timestamp": "a date",
}
_NUMBERS = "numbers of at most 18 digits such as 8 or 0.5"


@dataclass(frozen=True)
class Fault:
    """Something in the file that is not allowed.

    Args:
        line: line in the file, from 1.
        message: what is wrong.
        allowed: what would be right; empty where the message says so.
    """

    line: int
    message: str
    allowed: str = ""


@dataclass(frozen=True)
class Node:
    """One value and where it stands.

    Args:
        line: line of its first character, from 1.
        value: a text, number, truth value or None, where it is no mapping and no list.
        items: the nodes below a mapping by key, or None.
        key_lines: line of each key of a mapping.
        members: the nodes of a list, or None.
        refused: whether a fault was reported about the value itself; further complaints about it say nothing new.
    """

    line: int
    value: str | int | float | bool | None = None
    items: Mapping[str, Node] | None = None
    key_lines: Mapping[str, int] = field(default_factory=dict)
    members: Sequence[Node] | None = None
    refused: bool = False

    def plain(self) -> Any:
        """The value with everything below it, as dicts, lists and plain values."""
        if self.items is not None:
            return {key: node.plain() for key, node in self.items.items()}
        if self.members is not None:
            return [node.plain() for node in self.members]
        return self.value


@dataclass(frozen=True)
class Place:
    """Where a path of keys and list indices leads.

    Args:
        line: line to show a person.
        path: the part of the path that the file has.
        node: the value there.
        whole: whether the path's last part was found.
    """

    line: int
    path: tuple[str | int, ...]
    node: Node
    whole: bool


@dataclass(frozen=True)
class Document:
    """What a file holds.

    Args:
        root: its mapping, or None when the file could not be read that far.
        faults: what is not allowed in it, in order of lines.
    """

    root: Node | None
    faults: tuple[Fault, ...]

    def find(self, path: Sequence[str | int]) -> Place:
        """Follow a path as far as the file goes.

        Args:
            path: keys and list indices; parts in between that the file does not have (pydantic's names of the members
                of a union) are passed over.

        Raises:
            ValueError: the document has no root.
        """
        if self.root is None:
            raise ValueError("a document without a root has no places")
        node, line, found = self.root, self.root.line, []
        whole = not path
        for part in path:
            whole = True
            if node.items is not None and isinstance(part, str) and part in node.items:
                line, node = node.key_lines[part], node.items[part]
            elif node.members is not None and isinstance(part, int) and 0 <= part < len(node.members):
                node = node.members[part]
                line = node.line
            else:
                whole = node.items is None and node.members is None
                continue
            found.append(part)
        if node.items is None and node.members is None and whole:
            line = node.line
        return Place(line, tuple(found), node, whole)


def read(path: Path) -> Document:
    """The file's values and faults; never raises because of what the file holds or whether it can be read.

    Args:
        path: the file.
    """
    try:
        return parse(_bytes_of(path))
    except _Refused as refused:
        return Document(None, (refused.fault,))


def parse(data: bytes) -> Document:
    """The values and faults of a file's content.

    Args:
        data: the content, UTF-8.
    """
    try:
        text = _text_of(data)
    except _Refused as refused:
        return Document(None, (refused.fault,))
    if tabs := _tabs(text):
        return Document(None, tabs)
    composer = _Composer(text)
    try:
        root = composer.document()
    except _Refused as refused:
        return Document(None, (*composer.faults, refused.fault)[-MOST_FAULTS:])
    except yaml.MarkedYAMLError as error:
        return Document(None, (*composer.faults[:MOST_FAULTS], _syntax(error)))
    except (ValueError, OverflowError):
        # PyYAML's scanner calls chr() on the number of an escape such as "\UFFFFFFFF" without a look at its range.
        return Document(None, (Fault(composer.line, "an escape that names no character", "characters themselves"),))
    return Document(root, tuple(composer.faults))


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, line: int, message: str, allowed: str = "") -> None:
        self.fault = Fault(line, message, allowed)
        super().__init__(message)


def _bytes_of(path: Path) -> bytes:
    """The content of a regular file of bounded size; a pipe or device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _Refused(1, f"the file cannot be read: {error.strerror}", "a readable file") from error
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise _Refused(1, "this is a directory", "a file")
        if not stat.S_ISREG(found.st_mode):
            raise _Refused(1, "this is not an ordinary file", "a file")
        if found.st_size > LARGEST_FILE:
            raise _too_large()
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise _Refused(1, f"the file cannot be read: {error.strerror}", "a readable file") from error
    finally:
        os.close(descriptor)
    if len(data) > LARGEST_FILE:
        raise _too_large()
    return data


def _too_large() -> _Refused:
    return _Refused(1, "the file is too large", f"at most {LARGEST_FILE // 2**20} MiB")


def _text_of(data: bytes) -> str:
    if len(data) > LARGEST_FILE:
        raise _too_large()
    if data.startswith(_UTF8_MARK):
        raise _Refused(1, "the file begins with a byte order mark", "UTF-8 without one")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _Refused(data.count(b"\n", 0, error.start) + 1, "the file is not UTF-8", "text in UTF-8") from error
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise _Refused(line, f"a control character: {found[0]!r}", "printable text")
    return text


def _tabs(text: str) -> tuple[Fault, ...]:
    found = (number for number, line in enumerate(text.split("\n"), 1) if _TAB_INDENTATION.match(line))
    return tuple(
        Fault(line, "a tab in the indentation", "spaces") for line, _ in zip(found, range(MOST_FAULTS), strict=False)
    )


def _syntax(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    problem = error.problem or "it cannot be read"
    if "'\\t'" in problem:
        return Fault(line, "a tab between words", "spaces")
    context = f" {error.context}" if error.context else ""
    return Fault(line, f"this is not YAML: {problem}{context}")


class _Composer:
    """Builds nodes from PyYAML's events; recursion is bounded by `DEEPEST`."""

    def __init__(self, text: str) -> None:
        self._loader = yaml.SafeLoader(text)
        self.faults: list[Fault] = []
        self.line = 1

    def document(self) -> Node:
        """The one document of the file."""
        self._next()
        if isinstance(self._peek(), yaml.StreamEndEvent):
            raise _Refused(1, "the file is empty", "the sections of a site")
        self._next()
        root = self._node(0)
        self._next()
        if not isinstance(following := self._peek(), yaml.StreamEndEvent):
            raise _Refused(following.start_mark.line + 1, "a second document begins here", "one document")
        if root.items is None and not root.refused:
            if root.members is None and root.value is None:
                raise _Refused(1, "the file is empty", "the sections of a site")
            raise _Refused(root.line, "the file does not hold sections", "keys such as `site:` at the start of a line")
        return root

    def _peek(self) -> Any:
        return self._loader.peek_event()  # type: ignore[no-untyped-call]

    def _next(self) -> Any:
        event = self._loader.get_event()  # type: ignore[no-untyped-call]
        self.line = event.start_mark.line + 1
        return event

    def _fault(self, line: int, message: str, allowed: str = "") -> None:
        self.faults.append(Fault(line, message, allowed))
        if len(self.faults) >= MOST_FAULTS:
            raise _Refused(line, f"there are more than {MOST_FAULTS} faults; the rest was not read")

    def _node(self, depth: int) -> Node:
        event = self._next()
        line = self.line
        if depth > DEEPEST:
            raise _Refused(line, "the nesting is too deep", f"at most {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent):
            self._fault(line, f"`*{event.anchor}` refers to another place in the file", "the value itself")
            return Node(line, refused=True)
        refused = self._decorated(event, line)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(line, depth, refused)
        if isinstance(event, yaml.SequenceStartEvent):
            members = []
            while not isinstance(self._peek(), yaml.SequenceEndEvent):
                members.append(self._node(depth + 1))
            self._next()
            return Node(line, members=tuple(members), refused=refused)
        return self._scalar(event, line, refused)

    def _decorated(self, event: Any, line: int) -> bool:
        """Report an anchor or a tag on a value."""
        if event.anchor is not None:
            self._fault(line, f"`&{event.anchor}` marks a value for use elsewhere", "the value itself, in each place")
        if event.tag is not None:
            self._fault(line, f"a tag of YAML: {event.tag[:60]}", "plain values")
        return event.tag is not None

    def _mapping(self, line: int, depth: int, refused: bool) -> Node:
        items: dict[str, Node] = {}
        key_lines: dict[str, int] = {}
        while not isinstance(self._peek(), yaml.MappingEndEvent):
            is_name = isinstance(self._peek(), yaml.ScalarEvent)
            key_line = self._peek().start_mark.line + 1
            name = self._name() if is_name else ""
            if not is_name:
                self._node(depth + 1)
                self._fault(key_line, "a key that is not a word", "a word and a colon")
            node = self._node(depth + 1)
            if is_name and name in items:
                first = key_lines[name]
                self._fault(key_line, f"the key `{name[:60]}` stands here again, after line {first}", "each key once")
            elif is_name:
                items[name], key_lines[name] = node, key_line
        self._next()
        return Node(line, items=items, key_lines=key_lines, refused=refused)

    def _name(self) -> str:
        event = self._next()
        self._decorated(event, self.line)
        name = str(event.value)
        if _NOT_A_VALUE.search(name) or "\n" in name:
            self._fault(self.line, "a key with a control character", "printable text")
            return repr(name)
        return name

    def _scalar(self, event: Any, line: int, refused: bool) -> Node:
        text = str(event.value)
        if found := _NOT_A_VALUE.search(text):
            self._fault(line, f"a control character in a value: {found[0]!r}", "printable text")
            refused = True
        if refused:
            return Node(line, refused=True)
        return Node(line, text) if event.style is not None else self._word(text, line)

    def _word(self, text: str, line: int) -> Node:
        """A scalar without quotes."""
        if text in _WORDS:
            return Node(line, _WORDS[text])
        if _WHOLE.fullmatch(text):
            return Node(line, int(text))
        if _FRACTION.fullmatch(text):
            return Node(line, float(text))
        tag = self._loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if tag == _TEXT_TAG:
            return Node(line, text)
        short = text[:60]
        meaning, instead = _MEANINGS.get(tag, "something else"), f'"{short}" for text, {_NUMBERS}'
        if tag == "tag:yaml.org,2002:bool":
            meaning = "true" if text.lower() in ("yes", "on") else "false"
            instead = f'"{short}" for the word, {meaning} for the value'
        self._fault(line, f"`{short}` without quotes means {meaning} in YAML", instead)
        return Node(line, refused=True)
