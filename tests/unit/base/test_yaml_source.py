"""What a settings file may hold, and on which line it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.yaml_source import DEEPEST, LARGEST_FILE, MOST_FAULTS, parse, read


def faults(text: str | bytes) -> list[tuple[int, str]]:
    """Line and message of each fault."""
    data = text.encode() if isinstance(text, str) else text
    return [(fault.line, fault.message) for fault in parse(data).faults]


def test_plain_values_are_read_as_they_look() -> None:
    document = parse(b"a: text\nb: 8\nc: 0.5\nd: true\ne: null\nf: ~\ng:\nh: '8'\ni: [x, -1]\nj: 8h\nk: 1.2.3.4\n")
    assert document.faults == ()
    assert document.root is not None
    assert document.root.plain() == {
        "a": "text", "b": 8, "c": 0.5, "d": True, "e": None, "f": None, "g": None, "h": "8", "i": ["x", -1],
        "j": "8h", "k": "1.2.3.4",
    }  # fmt: skip


@pytest.mark.parametrize("word", ["no", "No", "off", "yes", "on"])
def test_words_that_are_truth_values_in_yaml_need_quotes(word: str) -> None:
    [(line, message)] = faults(f"a: 1\nlanguage: {word}\n")
    assert line == 2
    assert f"`{word}` without quotes means" in message
    assert faults(f'language: "{word}"\n') == []


@pytest.mark.parametrize("word", ["010", "0x1F", "1_000", "1:30", "2026-11-01", ".inf", ".nan", "=", "9" * 40])
def test_numbers_and_dates_in_another_notation_need_quotes(word: str) -> None:
    assert [line for line, _ in faults(f"value: {word}\n")] == [1]
    assert faults(f"value: '{word}'\n") == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ("# nothing\n", 1, "empty"),
        ("---\n", 1, "empty"),
        ("- a\n", 1, "sections"),
        ("just words\n", 1, "sections"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\nb: 2\na: 3\n", 3, "after line 1"),
        ("a: &x [1]\n", 1, "&x"),
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", 2, "tag"),
        ("a: !!str 1\n", 1, "tag"),
        ("? [a]\n: 1\n", 1, "key"),
        ("a: b: c\n", 1, "not YAML"),
        ("a: [1\n", 2, "not YAML"),
        ('a: "\\0"\n', 1, "control character"),
        ('a: "\\ud800"\n', 1, "control character"),
        ('a: 1\nb: "\\U00110000"\n', 2, "escape"),
        ("%YAML 2.0\n---\na: 1\n", 1, "not YAML"),
        (b"a: 1\nb: \x00\n", 2, "control character"),
        (b"a: 1\nb: \xff\n", 2, "UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, "UTF-8"),
        (b"\xef\xbb\xbfa: 1\n", 1, "byte order mark"),
        ("a: " + "[" * (DEEPEST + 1), 1, "deep"),
        (b"a" * (LARGEST_FILE + 1), 1, "large"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_line(text: str | bytes, line: int, words: str) -> None:
    found = faults(text)
    assert any(at == line and words in message for at, message in found), found


def test_a_bomb_of_aliases_is_refused_without_being_unfolded() -> None:
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    document = parse(f"l0: &l0 x\n{layers}".encode())
    assert any("*l0" in fault.message for fault in document.faults)
    assert len(document.faults) <= MOST_FAULTS + 1


def test_all_faults_are_reported_at_once() -> None:
    assert [line for line, _ in faults("a: no\nb: &x 1\nb: 2\nc: !t 1\nd: *x\n")] == [1, 2, 3, 4, 5]


def test_a_path_leads_to_the_line_of_its_value_even_through_names_the_file_lacks() -> None:
    document = parse(b"cluster:\n  kind: embedded\n  nodes:\n    - name: a\n      cpus: 1\n    - name: b\n")
    assert document.find(("cluster", "embedded", "nodes", 0, "cpus")).line == 5
    assert document.find(("cluster", "nodes", 1)).line == 6
    missing = document.find(("cluster", "embedded", "nodes", 1, "cpus"))
    assert (missing.line, missing.whole) == (6, False)


def test_what_is_no_readable_file_is_a_fault(tmp_path: Path) -> None:
    pipe, secret, large = tmp_path / "pipe", tmp_path / "secret", tmp_path / "large"
    os.mkfifo(pipe)
    secret.write_text("a: 1\n")
    secret.chmod(0)
    with large.open("wb") as file:
        file.truncate(10 * LARGEST_FILE)
    expected = {
        tmp_path / "absent": "No such file",
        tmp_path: "directory",
        pipe: "not an ordinary file",
        secret: "Permission denied",
        large: "too large",
        Path("/dev/zero"): "not an ordinary file",
    }
    for path, words in expected.items():
        [fault] = read(path).faults
        assert words in fault.message


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode(errors="replace"))))
def test_no_content_makes_reading_fail(data: bytes) -> None:
    document = parse(data)
    assert document.root is not None or document.faults


FRAGMENTS = (
    *"a: \n-[]{},|>?\"'\\%#\t1@`\r\x85\u2028",
    *("&x", "*x", "!!t", "no", "---", "...", "<<", "\\U00110000"),
)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))
def test_no_yaml_like_text_makes_reading_fail(text: str) -> None:
    document = parse(text.encode())
    assert document.root is not None or document.faults
