"""The records of a CSV file: their delimiter, their lines, and what is no record."""

import io

import pytest

from ops.catalogue.encodings import KEEP
from ops.catalogue.records import Quoting, Record, csv_records, lines_of, parse_delimiter
from ops.catalogue.row import CatalogueError


def records(text: str, delimiter: str | None = None, quoting: Quoting = Quoting.DOUBLE) -> list[Record]:
    return list(csv_records(io.StringIO(text, newline=""), delimiter, quoting)[1])


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("comma", ","), ("Semicolon", ";"), ("TAB", "\t"), ("\\t", "\t"), ("pipe", "|"), ("space", " "), ("#", "#")],
)
def test_a_delimiter_is_a_character_or_its_name(name: str, delimiter: str) -> None:
    assert parse_delimiter(name) == delimiter


@pytest.mark.parametrize("name", ["", ";;", '"', "\n", "\r"])
def test_anything_else_is_none(name: str) -> None:
    with pytest.raises(CatalogueError, match="must be one character, or tab"):
        parse_delimiter(name)


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("title;place, country", ";"),
        ("a;b;c, d", ";"),
        ("id;title, place, date", ";"),
        ("title,id,x;y;z;u", ","),
        ('"a, b, c";id', ";"),
        ('"say ""a, b, c"" twice";"x, y";id', ";"),
        ("one", ","),
    ],
)
def test_the_delimiter_makes_an_ids_column_or_else_is_the_most_frequent(header: str, delimiter: str) -> None:
    assert csv_records(io.StringIO(header), None, Quoting.DOUBLE)[0] == delimiter


def test_without_quoting_a_mark_hides_no_delimiter() -> None:
    assert csv_records(io.StringIO('"a, b, c";x'), None, Quoting.NONE)[0] == ","


def test_a_delimiter_that_is_said_goes_before_the_one_of_the_file() -> None:
    assert records("sep=;\na;b,c\n", ",")[0].cells == ["a;b", "c"]


@pytest.mark.parametrize("said", ["sep=|", '"sep=|"', "SEP=|"])
def test_the_delimiter_in_the_first_line_is_no_record_but_a_line(said: str) -> None:
    first, second = records(f"{said}\na|b,c\nd|e\n")
    assert (first.line, first.cells) == (2, ["a", "b,c"])
    assert (second.line, second.cells) == (3, ["d", "e"])


def test_lines_above_the_header_that_are_empty_are_counted() -> None:
    found = [record for record in records("\n \nid;a\nx;y\n") if len(record.cells) > 1]
    assert [(record.line, record.last_line, record.cells) for record in found] == [
        (3, 3, ["id", "a"]),
        (4, 4, ["x", "y"]),
    ]


def test_a_record_has_the_lines_and_the_text_that_it_stands_on() -> None:
    assert records('a,b\n"1\n2",x\ny,z\n') == [
        Record(1, 1, "a,b\n", ["a", "b"]),
        Record(2, 3, '"1\n2",x\n', ["1\n2", "x"]),
        Record(4, 4, "y,z\n", ["y", "z"]),
    ]


def test_what_is_no_csv_says_so_and_whether_it_swallowed_lines() -> None:
    _, one, several = records('a,b\n"1"2,x\ny,"z\nu,v\n')
    assert (one.line, one.last_line, one.cells, one.text) == (2, 2, (), '"1"2,x\n')
    assert one.problem is not None
    assert one.problem.startswith("not CSV: ")
    assert "quotation mark" not in one.problem
    assert (several.line, several.last_line, several.text) == (3, 4, 'y,"z\nu,v\n')
    assert several.problem is not None
    assert several.problem.startswith("not CSV: a quotation mark begins a cell that does not end: ")


@pytest.mark.parametrize("text", ["", "sep=;\n", "\n\n"])
def test_a_file_without_a_record_has_none(text: str) -> None:
    assert [record for record in records(text) if record.cells] == []


def test_a_line_that_memory_should_not_hold_is_refused() -> None:
    most = 16 * 1024 * 1024
    assert sum(map(len, lines_of(io.StringIO("x" * (most - 2) + "\n")))) == most - 1
    with pytest.raises(CatalogueError, match=r"line 2 has more than 16,777,216 characters"):
        list(lines_of(io.StringIO("a\n" + "x" * most)))


def test_a_codec_that_gives_up_ends_in_a_sentence() -> None:
    """UTF-16 without its byte order mark, for one."""
    with pytest.raises(CatalogueError, match=r"the file has another encoding: .*; --encoding names it"):
        list(lines_of(io.TextIOWrapper(io.BytesIO(b"id,a\n"), encoding="utf-16", errors=KEEP)))
