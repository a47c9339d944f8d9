"""A CSV is read as it was meant, or refused with a sentence; what was taken is always said."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from onderhoud import reading, table
from onderhoud.reading import Measurements, Options, read
from onderhoud.said import CannotRead, Said
from onderhoud.texts import LANGUAGES, say

Write = Callable[..., Path]
START = datetime(2026, 3, 14)  # noqa: DTZ001 - clock time of an installation


def rows(
    time: str = "%Y-%m-%d %H:%M", value: str = "{:.1f}", separator: str = ",", header: str = "tijd,debiet [l/s]",
    count: int = 48,
) -> str:  # fmt: skip
    lines = [header.replace(",", separator)] if header else []
    for hour in range(count):
        moment = START + timedelta(hours=hour)
        lines.append(f"{moment.strftime(time)}{separator}{value.format(100.5 + hour)}")
    return "\n".join(lines) + "\n"


def codes(measured: Measurements) -> list[str]:
    return [said.code for said in measured.took]


def refused(file: Path, options: Options | None = None) -> Said:
    with pytest.raises(CannotRead) as caught:
        read(file, options)
    return caught.value.said


def comma(text: str) -> str:
    """The same rows with a decimal comma."""
    return "\n".join(line if line[0] == "t" else line.replace(".", ",") for line in text.splitlines())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (rows(), "took.comma"),
        (rows(separator=";"), "took.semicolon"),
        (comma(rows(separator=";")), "took.decimal_comma"),
        (rows(separator="\t"), "took.tab"),
        (rows(separator="|"), "took.bar"),
        (rows().encode("utf-8-sig"), "took.encoding"),
        (rows().encode("utf-16"), "took.encoding"),
        (rows(header="tijd,temperatuur °C").encode("cp1252"), "took.encoding"),
        (rows(time="%d-%m-%Y %H:%M:%S"), "took.date"),
        (rows(time="%m/%d/%Y %H:%M"), "took.date"),
        (rows(time="%d.%m.%Y %H:%M"), "took.date"),
        (rows(time="%d-%m-%y %H:%M"), "took.date"),
        (rows(time="%Y/%m/%dT%H:%M:%S"), "took.date"),
        (rows(time="%Y%m%d %H:%M"), "took.date"),
        (rows(time="%d-%m-%Y,%H:%M", header="datum,uur,debiet"), "took.clock"),
        (rows(time="%m/%d/%Y %I:%M %p"), "took.date"),
        ("uitvoer van meter 7\n\n" + rows(), "took.before"),
        (rows(header=""), "took.no_headers"),
        (rows().replace("\n", "\r\n"), "took.rows"),
    ],
)
def test_a_table_in_any_usual_form_gives_the_same_measurements_and_says_what_was_taken(
    content: str | bytes, said: str, csv: Write
) -> None:
    measured = read(csv(content))
    assert said in codes(measured)
    assert list(measured.series) == [100.5 + hour for hour in range(48)]
    assert measured.series.index[0] == START
    assert measured.series.index[-1] == START + timedelta(hours=47)


def test_seconds_since_1970_and_distances_from_utc_become_the_dutch_clock(csv: Write) -> None:
    epoch = "t;x\n" + "".join(f"{1774746000 + 3600 * hour};{hour}\n" for hour in range(30))
    offset = "t;x\n" + "".join(f"2026-03-29T{hour:02}:00:00+00:00;{hour}\n" for hour in range(24))
    for content, first in ((epoch, "2026-03-29 03:00"), (offset, "2026-03-29 01:00")):
        measured = read(csv(content))
        assert str(measured.series.index[0])[:16] == first
        assert "took.zone" in codes(measured)
    # The clock goes from 2 to 3 that night: nothing is read for an hour that did not exist.
    assert 2 not in measured.series.index.hour[:3]


def test_a_date_that_could_be_two_days_is_read_day_first_says_so_and_can_be_turned(csv: Write) -> None:
    file = csv("tijd;x\n" + "".join(f"03-04-2026 {hour:02}:00;{hour}\n" for hour in range(24)))
    measured = read(file)
    assert measured.order_unsure
    assert measured.series.index[0].date() == date(2026, 4, 3)
    assert "LET OP" in say(next(said for said in measured.took if said.code == "took.unsure"), "nl")
    assert read(file, Options(day_first=False)).series.index[0].date() == date(2026, 3, 4)


def test_one_day_above_twelve_settles_the_order_whatever_was_asked(csv: Write) -> None:
    measured = read(csv(rows(time="%d-%m-%Y %H:%M")), Options(day_first=False))
    assert not measured.order_unsure
    assert measured.series.index[0].date() == date(2026, 3, 14)


def test_a_separator_that_could_stand_for_thousands_is_said_and_can_be_turned(csv: Write) -> None:
    file = csv("tijd;x\n" + "".join(f"2026-03-14 {hour:02}:00;1.{hour:03}\n" for hour in range(24)))
    measured = read(file)
    assert measured.decimal_unsure and measured.series.iloc[3] == 1.003
    assert "took.unsure_decimal_point" in codes(measured)
    assert read(file, Options(decimal=",")).series.iloc[3] == 1003


def test_thousands_and_decimals_together_leave_no_doubt(csv: Write) -> None:
    measured = read(csv(rows(separator=";", value="1.234,5")))
    assert set(measured.series) == {1234.5} and not measured.decimal_unsure


def test_missing_unreadable_repeated_and_unordered_rows_are_counted_and_none_is_made_up(csv: Write) -> None:
    lines = rows().splitlines()
    lines[5] = lines[5].split(",")[0] + ","
    lines[6] = lines[6].split(",")[0] + ",NaN"
    lines[7] = lines[7].split(",")[0] + ",storing!"
    lines[8] = "gisteren,3.0"
    lines[9] = lines[9].split(",")[0] + ",inf"
    lines[10] = lines[11].split(",")[0] + ",50.5"
    lines[20], lines[21] = lines[21], lines[20]
    measured = read(csv("\n".join(lines)))
    took = {said.code: said.values for said in measured.took}
    assert took["took.missing"]["rows"] == 2
    assert (took["took.no_number"]["rows"], took["took.no_number"]["line"], took["took.no_number"]["text"]) == (
        2, 8, "storing!",
    )  # fmt: skip
    assert (took["took.no_time"]["rows"], took["took.no_time"]["line"]) == (1, 9)
    assert took["took.repeated"]["rows"] == 1 and "took.sorted" in took
    assert len(measured.series) == 48 - 2 - 2 - 1 - 1
    assert measured.series.loc[START + timedelta(hours=10)] == (50.5 + 110.5) / 2
    assert measured.series.index.is_monotonic_increasing and measured.series.index.is_unique


def test_of_several_columns_the_first_number_is_taken_and_another_can_be_chosen(csv: Write) -> None:
    text = "tijd;naam;druk;debiet;druk\n" + "".join(
        f"2026-03-14 {h:02}:00;pomp;{h};{h + 50};{h + 90}\n" for h in range(24)
    )
    measured = read(csv(text))
    assert (measured.name, measured.values) == ("druk", ("druk", "debiet", "druk #5"))
    assert "took.others" in codes(measured)
    assert read(csv(text), Options(value="debiet")).series.iloc[0] == 50
    assert read(csv(text), Options(value="druk #5")).series.iloc[0] == 90
    assert read(csv(text), Options(value="weg", time="naam")).name == "druk"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "read.empty"),
        (b"  \n \n", "read.empty"),
        (b"PK\x03\x04rest of a workbook", "read.workbook"),
        (b"\x89PNG\r\n\x00\x00\x00", "read.binary"),
        ("debiet\n" + "1.5\n" * 40, "read.one_column"),
        ("a;b\n1;2;3\n4\n5;6;7;8\n" * 20, "read.uneven"),
        (rows().replace(".", ","), "read.comma_twice"),
        (rows(header="").replace(".", ","), "read.comma_twice"),
        (rows(time="week %W %H"), "read.no_time"),
        (rows(value="{:.1f} liter"), "read.no_value"),
        (rows(count=10), "read.few"),
        (rows() + "13-14-2026 00:00,1.0\n" * 30, "read.no_time"),
        (rows(count=1000) + "13-14-2026 00:00,1.0\n" * 400, "read.times"),
        (rows(count=1000) + "2026-04-14 10:00,stuk\n" * 400, "read.values"),
        ("t;x\n" + "13-01-2026;1\n01-13-2026;2\n" * 30, "read.mixed"),
        (";".join(f"k{n}" for n in range(5000)) + "\n" + (";".join(["1"] * 5000) + "\n") * 30, "read.columns"),
        (rows() + "2026-05-01 10:00," + "9" * 20_000 + "\n", "read.cell"),
        (rows().encode("utf-16") + b"\x00", "read.binary"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_sentence_in_both_languages(
    content: str | bytes, code: str, csv: Write
) -> None:
    said = refused(csv(content))
    assert said.code == code
    for language in LANGUAGES:
        assert len(say(said, language)) > 20


def test_two_hundred_megabytes_are_refused_without_being_read(csv: Write) -> None:
    file = csv(rows())
    os.truncate(file, 200 * 2**20)
    said = refused(file)
    assert (said.code, said.values) == ("read.large", {"megabytes": 200, "most": 50})


def test_too_many_rows_are_refused(csv: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_ROWS", 47)
    assert refused(csv(rows())).code == "read.rows"


def test_a_pipe_a_folder_and_an_absent_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pijp.csv")
    (tmp_path / "map.csv").mkdir()
    assert refused(tmp_path / "pijp.csv").code == "read.no_file"
    assert refused(tmp_path / "map.csv").code == "read.no_file"
    assert refused(tmp_path / "weg.csv").code == "read.absent"
    assert refused(Path("a\0b")).code == "read.closed"


def test_names_of_columns_are_short_on_one_line_and_each_once(csv: Write) -> None:
    text = rows(header='tijd,"x\nsubs"')
    assert read(csv(text)).name == "x subs"
    assert table.split("a;a;" + "lang" * 100 + "\n" + "2;3;4\n" * 30).headers == ("a", "a #2", ("lang" * 100)[:80])
