"""Job logs: bounded while they are written, harmless when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from spawners.job import RotatingLog
from spawners.logs import LINE_LENGTH, LINES, last_lines


def test_the_last_lines_come_from_the_first_log_that_has_any(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("")
    (tmp_path / "slurm.log").write_text("one\n\ntwo\n")
    assert last_lines(tmp_path, ("server.log", "slurm.log")) == "one\ntwo"
    assert last_lines(tmp_path, ("none.log",)) == ""


def test_lines_are_few_short_and_without_control_characters(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x1b[31mred\x07\xff\n" + b"x" * 5000 + b"\n" + b"line\n" * 100)
    text = last_lines(tmp_path, ("a",))
    assert len(text.splitlines()) == LINES
    (tmp_path / "a").write_bytes(b"\x1b[31mred\x07\n" + b"x" * 5000 + "\u202eevil".encode())
    first, second = last_lines(tmp_path, ("a",)).splitlines()
    assert first == "[31mred"
    assert len(second) == LINE_LENGTH


@pytest.mark.attack
def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the munge key")
    (tmp_path / "log").symlink_to(tmp_path / "secret")
    assert last_lines(tmp_path, ("log",)) == ""
    # Control: the same file without the link is read.
    assert last_lines(tmp_path, ("secret",)) == "the munge key"


def test_a_log_never_grows_above_its_limit_and_keeps_the_newest(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "log", 1000)
    for number in range(1000):
        log.write(b"%04d\n" % number)
    log.write(b"y" * 5000 + b"end\n")
    log.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sum(sizes) <= 1000
    assert (tmp_path / "log").read_bytes().endswith(b"end\n")
