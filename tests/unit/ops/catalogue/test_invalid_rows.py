"""The rows that cannot be sent, in a file beside the catalogue: they can be mended there and sent."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from ops.catalogue.invalid_rows import invalid_rows_path, write_invalid_rows
from ops.catalogue.mapping import PROBLEM_COLUMN, ColumnChoices
from ops.catalogue.records import Quoting
from ops.catalogue.row import Problem
from ops.catalogue.source import Reading, open_source
from shared.messages.update import MetadataLimits
from tests.unit.ops.catalogue.test_source import workbook

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"
IMAGE = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"
LIMITS = MetadataLimits()


def written(folder: Path, name: str, content: str | bytes, reading: Reading | None = None) -> tuple[Path, str]:
    """The file that is written for a catalogue, and its text."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = open_source(str(path), folder, reading or Reading())
    is_json = name.startswith("json") or ".json" in name
    choices = ColumnChoices(project_id=None if is_json else PROJECT)
    with source.open(choices, LIMITS) as rows:
        bad = [row for row in rows.reader.rows() if isinstance(row, Problem) and not row.is_warning]
    beside = invalid_rows_path(source)
    write_invalid_rows(source, choices, LIMITS, iter(bad), beside)
    return beside, beside.read_bytes().decode("utf-8-sig")


def table(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("scans.csv", "scans.invalid.csv"),
        ("scans.txt", "scans.invalid.txt"),
        ("scans", "scans.invalid.csv"),
        ("scans.jsonl", "scans.invalid.jsonl"),
        ("json", "json.invalid.jsonl"),
        ("scans.json", "scans.invalid.jsonl"),
    ],
)
def test_the_file_has_the_name_and_the_kind_of_the_catalogue(tmp_path: Path, name: str, beside: str) -> None:
    content = '[\n{"a": 1}]' if name == "scans.json" else '{"a": 1}\n' if "json" in name else "id,a\nbroken,x\n"
    assert written(tmp_path, name, content)[0].name == beside


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    names = [written(tmp_path, "scans.csv", "id,a\nbroken,x\n")[0].name for _ in range(3)]
    assert names == ["scans.invalid.csv", "scans.invalid-2.csv", "scans.invalid-3.csv"]


def test_a_last_column_says_what_is_wrong(tmp_path: Path) -> None:
    _, text = written(tmp_path, "a.csv", f'id,a,b\nbroken,"x, y",z\n{IMAGE},x,y\nshort\n{IMAGE},x,y,z\n')
    header, *rows = table(text)
    assert header == ["id", "a", "b", PROBLEM_COLUMN]
    assert [row[:-1] for row in rows] == [["broken", "x, y", "z"], ["short", "", ""], [IMAGE, "x", "y", "z"]]
    assert "id: must be a UUID" in rows[0][-1]
    assert "4 columns, where the header has 3" in rows[2][-1]


def test_what_was_wrong_before_gives_way_to_what_is_wrong_now(tmp_path: Path) -> None:
    content = f"id,{PROBLEM_COLUMN},a\nbroken,old,x\nbroken\n{IMAGE},old,x,y,z\n"
    header, first, short, long = table(written(tmp_path, "a.csv", content)[1])
    assert header == ["id", PROBLEM_COLUMN, "a"]
    assert (first[0], first[2]) == ("broken", "x")
    assert first[1].startswith("id: must be a UUID")
    assert short[0] == "broken"
    assert len(short) == len(header) + 1
    assert long[:5] == [IMAGE, "old", "x", "y", "z"]


def test_without_quoting_what_is_wrong_has_no_delimiter(tmp_path: Path) -> None:
    _, text = written(tmp_path, "a.csv", f'id,a\n{IMAGE},"x,y\n', Reading(quoting=Quoting.NONE))
    header, row = (line.split(",") for line in text.splitlines())
    assert header == ["id", "a", PROBLEM_COLUMN]
    assert row[:3] == [IMAGE, '"x', "y"]
    assert row[3:] == ["3 columns  where the header has 2"]


def test_the_delimiter_stays(tmp_path: Path) -> None:
    header, row = table(written(tmp_path, "a.csv", "id;a, b\nbroken;x, y\n")[1], ";")
    assert header == ["id", "a, b", PROBLEM_COLUMN]
    assert row[:2] == ["broken", "x, y"]


def test_a_row_without_cells_keeps_its_text_and_ends_its_line(tmp_path: Path) -> None:
    _, text = written(tmp_path, "a.csv", f'id,a\n{IMAGE},"x" y\n{IMAGE[:-1]},z\n')
    assert text.splitlines()[1] == f'{IMAGE},"x" y'
    assert text.splitlines()[2].startswith(f"{IMAGE[:-1]},z,")


def test_a_workbook_becomes_csv_that_excel_opens(tmp_path: Path) -> None:
    content = workbook(("A", [["id", "a"], [IMAGE, "x"], ["broken", "K\u00f6ln, x"]]))
    path, text = written(tmp_path, "a.xlsx", content)
    assert path.name == "a.invalid.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert table(text)[1][:2] == ["broken", "K\u00f6ln, x"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_objects_become_lines(tmp_path: Path, name: str) -> None:
    objects = [{"a": 1}, {"projectId": PROJECT, "imageId": IMAGE, "metadata": {"a": "b"}}, {"b": 2}]
    text = json.dumps(objects, indent=1).replace("\n", "\r\n")
    if name == "a.jsonl":
        text = "\r\n".join(map(json.dumps, objects))
    _, kept = written(tmp_path, name, text)
    assert list(map(json.loads, kept.splitlines())) == [{"a": 1}, {"b": 2}]
    assert kept.endswith("\n")
