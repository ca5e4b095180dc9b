"""What a file is, and what is said of one that cannot be read: its encoding, its format, its broken rows."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import datetime, time
from encodings.aliases import aliases
from pathlib import Path

import pytest
from openpyxl import Workbook

from ops.catalogue import source as source_module
from ops.catalogue.database import CatalogueDatabase
from ops.catalogue.invalid_rows import invalid_rows_path, write_invalid_rows
from ops.catalogue.mapping import ColumnChoices, Mapping
from ops.catalogue.records import Quoting
from ops.catalogue.row import CatalogueError, Problem, Row, plain_id
from ops.catalogue.source import Format, Reading, open_source
from ops.commands.problems import likely_causes
from shared.messages.update import MetadataLimits

PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"
IDS = tuple(f"0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c{n:02x}" for n in range(60))
IMAGE, OTHER = IDS[:2]
LIMITS = MetadataLimits()

Read = Callable[..., list[Row | Problem]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def rows(
        content: bytes | str, name: str = "file.csv", reading: Reading | None = None, **choices: object
    ) -> list[Row | Problem]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        chosen = ColumnChoices(**({"project_id": PROJECT} | choices))  # type: ignore[arg-type]
        with open_source(str(path), tmp_path, reading or Reading()).open(chosen, LIMITS, "correlation") as opened:
            return list(opened.reader.rows())

    return rows


def workbook(*sheets: tuple[str, list[list[object]]]) -> bytes:
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return saved(book)


def saved(book: Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def with_part(content: bytes, part: str, old: bytes, new: bytes) -> bytes:
    """A workbook with a change in one of its files."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(file, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, data.replace(old, new) if name == part else data)
    return file.getvalue()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("content", "named"),
        [
            (b"", "is empty"),
            (b" \r\n\n", "is empty"),
            (zipped("scans/1.csv"), "a ZIP archive: unpack it first"),
            (zipped("content.xml", "mimetype"), "an OpenDocument file: save it as .xlsx or CSV"),
            (zipped("xl/workbook.bin"), "a binary workbook (.xlsb)"),
            (zipped("word/document.xml"), "a Word document"),
            (b"PK\x03\x04 cut off", "a damaged ZIP archive or workbook"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls) or one with a password"),
            (b"%PDF-1.7", "a PDF"),
            (bz2.compress(b"x"), "bzip2: unpack it first"),
            (lzma.compress(b"x"), "xz: unpack it first"),
            (b"<?xml version='1.0'?>", "XML or HTML: export it as CSV"),
            (b"\xef\xbb\xbf\n<html>", "XML or HTML: export it as CSV"),
            (b"SQLite format 3\0", "an SQLite database"),
            (b"\xff\xd8\xff\xe0", "a picture"),
            (bytes(range(256)) * 4 + bytes(100), "is no text"),
            (gzip.compress(b"id,a\n" * 999)[:-20], "the gzip file is damaged"),
            (gzip.compress(gzip.compress(b"id,a\n")), "gzip inside gzip"),
            (gzip.compress(zipped("a.csv")), "a ZIP archive"),
        ],
    )
    def test_it_is_named_as_what_it_is(self, read: Read, content: bytes, named: str) -> None:
        with pytest.raises(CatalogueError) as caught:
            read(content)
        assert named in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "reading", "named"),
        [
            (b"id,a\n", Reading(encoding="nosuch"), "--encoding nosuch: there is no such encoding; try cp1252"),
            (b"id,a\n", Reading(encoding="a\0b"), "--encoding a\\x00b: there is no such encoding"),
            (b"id,a\n", Reading(encoding="idna"), "--encoding idna: this is no encoding of text files"),
            (b"id,a\n", Reading(encoding="base64"), "--encoding base64: this is no encoding of text files"),
            (b"id,a\n", Reading(encoding="undefined"), "no encoding of text files"),
            ("id,a\n".encode("utf-16"), Reading(encoding="cp1252"), "--encoding cp1252: the file is UTF-16"),
            ("id,a\n".encode("utf-16-be"), Reading(encoding="utf-8"), "--encoding utf-8: the file is UTF-16"),
            (b"\xef\xbb\xbfid,a\n", Reading(encoding="cp1252"), "--encoding cp1252: the file is UTF-8"),
            (b"id,a\n", Reading(delimiter=";;"), "--delimiter ';;': must be one character, or tab"),
            (b"id,a\n", Reading(delimiter='"'), "must be one character"),
            (b"id,a\n", Reading(delimiter=""), "must be one character"),
            (b"id,a\n", Reading(sheet="A"), "--sheet: this has no meaning for csv"),
            (b"{}", Reading(delimiter=";"), "--delimiter: this has no meaning for jsonl"),
            (b"{}", Reading(quoting=Quoting.NONE), "--quoting: this has no meaning for jsonl"),
            (workbook(("A", [["id", "a"]])), Reading(encoding="cp1252"), "--encoding: this has no meaning for xlsx"),
            (workbook(("A", [["id", "a"]])), Reading(format=Format.CSV), "--format csv: the file is a workbook"),
            (b"id,a\n", Reading(format=Format.XLSX), "--format xlsx: the file is no workbook"),
        ],
    )
    def test_a_wrong_option_is_named(self, read: Read, content: bytes, reading: Reading, named: str) -> None:
        with pytest.raises(CatalogueError) as caught:
            read(content, reading=reading)
        assert named in str(caught.value)

    @pytest.mark.parametrize("name", ["image", "project", "correlation", "metadata", "ignore"])
    def test_json_has_no_columns_to_name(self, read: Read, name: str) -> None:
        said = ("a",) if name in ("metadata", "ignore") else "a"
        with pytest.raises(CatalogueError, match=f"--{name}: JSON has no columns"):
            read(b"{}", **{"project_id": None, name: said})

    def test_what_has_to_be_held_in_memory_is_not_of_any_size(
        self, read: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(source_module, "MAX_WHOLE_BYTES", 10)
        with pytest.raises(CatalogueError, match="write each object on its own line"):
            read('[{"imageId": "x"}]')
        monkeypatch.setattr("ops.catalogue.workbook.MAX_WHOLE_BYTES", 10)
        with pytest.raises(CatalogueError, match="save it as CSV"):
            read(workbook(("A", [["id", "a"]])))


class TestWhatAFileIs:
    OBJECT = json.dumps({"imageId": IMAGE, "metadata": {"a": "b"}})

    @pytest.mark.parametrize(
        ("content", "name", "found"),
        [
            ("id,a\n", "a.csv", Format.CSV),
            ("id,a\n", "a.json", Format.JSONL),
            (f"{{{IMAGE}}},x\n", "a.csv", Format.CSV),
            (f"\ufeff \n{OBJECT}\n", "a.csv", Format.JSONL),
            (f"{OBJECT}\n", "a.NDJSON", Format.JSONL),
            (f'{OBJECT}\n  "a"', "a.txt", Format.JSONL),
            ("[{}]", "a.txt", Format.JSON),
            ("[ ]", "a.txt", Format.JSON),
            ("[a],b\n", "a.txt", Format.CSV),
            ("{\n}", "a.txt", Format.JSON),
            ('{"a": 1,\n "b": 2}', "a.txt", Format.JSON),
            ('{"a": 1,\n"b": 2}', "a.txt", Format.JSONL),
        ],
    )
    def test_its_format_is_told_by_its_beginning_and_then_by_its_name(
        self, tmp_path: Path, content: str, name: str, found: Format
    ) -> None:
        (tmp_path / name).write_text(content)
        assert open_source(str(tmp_path / name), tmp_path, Reading()).format is found

    @pytest.mark.parametrize(
        ("said", "content", "found"),
        [
            (Format.CSV, "[{}]", Format.CSV),
            (Format.JSON, "id,a", Format.JSON),
            (Format.JSONL, "{\n}", Format.JSONL),
            (Format.JSONL, "id,a", Format.JSONL),
            (Format.JSONL, "[{}]", Format.JSON),
        ],
    )
    def test_or_by_the_option(self, tmp_path: Path, said: Format, content: str, found: Format) -> None:
        (tmp_path / "a").write_text(content)
        assert open_source(str(tmp_path / "a"), tmp_path, Reading(format=said)).format is found

    @pytest.mark.parametrize(
        ("controls", "others", "is_text"), [(8, 0, True), (9, 0, False), (9, 891, True), (9, 890, False)]
    )
    def test_it_is_text_with_some_control_characters(
        self, read: Read, controls: int, others: int, *, is_text: bool
    ) -> None:
        content = "x" * others + "\x01" * controls
        with pytest.raises(CatalogueError) as caught:
            read(content)
        assert ("is no text" in str(caught.value)) is not is_text

    def test_tabs_and_line_breaks_are_no_control_characters(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match="no column looks like"):
            read("x\t\r\n\f\v" * 20)

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.GZ", "a.csv"])
    def test_what_is_packed_is_unpacked_and_known_by_its_own_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(gzip.compress(b"id,a\n" * 9999))
        source = open_source(str(tmp_path / name), tmp_path, Reading())
        assert source.path.read_bytes() == b"id,a\n" * 9999
        assert (source.beside, source.size) == (tmp_path / "a.csv", 5 * 9999)
        assert source.name == str(tmp_path / name)

    def test_standard_input_is_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"id,a\n1,2\n")))
        source = open_source("-", tmp_path, Reading())
        assert (source.name, source.beside, source.path.read_bytes()) == (
            "standard input",
            Path("standard-input"),
            b"id,a\n1,2\n",
        )

    def test_so_is_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(pipe := tmp_path / "pipe")
        with ThreadPoolExecutor() as pool:
            pool.submit(pipe.write_bytes, b"id,a\n1,2\n")
            source = open_source(str(pipe), tmp_path, Reading())
        assert (source.path.read_bytes(), source.beside) == (b"id,a\n1,2\n", pipe)

    def test_its_digest_is_told_with_how_far_it_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(content := b"id,a\n" * 300_000)
        told: list[int] = []
        digest = open_source(str(tmp_path / "a"), tmp_path, Reading()).digest(told.append)
        assert digest == hashlib.sha256(content).hexdigest()
        assert told == [1024 * 1024, len(content)]

    def test_how_far_rows_are_read_is_told_in_bytes(self, tmp_path: Path) -> None:
        for name, content in (("a.csv", f"id,a\n{IMAGE},x\n"), ("a.jsonl", f"{self.OBJECT}\n")):
            (tmp_path / name).write_text(content)
            source = open_source(str(tmp_path / name), tmp_path, Reading())
            with source.open(ColumnChoices(project_id=PROJECT), LIMITS) as rows:
                assert len(list(rows.reader.rows())) == 1
                assert rows.position() == source.size == len(content)

    def test_a_json_array_has_a_size_and_lines_have_none(self, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source_module, "MAX_WHOLE_BYTES", len(self.OBJECT) + 2)
        assert len(read(f"[{self.OBJECT}]")) == 1
        assert len(read(f"{self.OBJECT}\n{self.OBJECT}\n")) == 2
        with pytest.raises(CatalogueError, match="too large for a JSON array"):
            read(f"[{self.OBJECT} ]")

    def test_the_correlation_id_of_a_send_is_checked_with_every_row(self, tmp_path: Path) -> None:
        for name, content in (("a.csv", f"id,a\n{IMAGE},x\n"), ("a.jsonl", f"{self.OBJECT}\n")):
            (tmp_path / name).write_text(content)
            source = open_source(str(tmp_path / name), tmp_path, Reading())
            with source.open(ColumnChoices(project_id=PROJECT), LIMITS, "x" * 10_000) as rows:
                assert [type(row) for row in rows.reader.rows()] == [Problem]


class TestWorkbooks:
    def test_with_several_sheets_one_is_chosen_by_its_name(self, read: Read) -> None:
        content = workbook(("A", [["id", "a"], [IMAGE, "1"]]), ("B", [["id", "b"], [IMAGE, "2"]]))
        with pytest.raises(CatalogueError, match="choose one of 'A', 'B' with --sheet"):
            read(content)
        with pytest.raises(CatalogueError, match="--sheet 'C': there is no such sheet; the workbook has 'A', 'B'"):
            read(content, reading=Reading(sheet="C"))
        assert read(content, reading=Reading(sheet="B")) == [Row(2, PROJECT, (IMAGE,), (("b", "2"),))]

    def test_rows_are_named_as_excel_counts_them(self, read: Read) -> None:
        content = workbook(("A", [["id", "a"], [IMAGE, "two\nlines"], [None], ["broken", "x"]]))
        assert [row.line for row in read(content)] == [2, 4]

    def test_a_formula_without_a_result_is_no_empty_cell(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match="formulas without results: open it in Excel and save it"):
            read(workbook(("A", [["id", "a"], [IMAGE, "=1+1"]])))

    def test_an_empty_workbook_is_empty(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match="the workbook is empty"):
            read(workbook(("A", []), ("B", [])))

    def test_a_hidden_sheet_is_not_read_unless_it_is_named(self, read: Read) -> None:
        book = Workbook()
        book.worksheets[0].append(["id", "a"])
        book.worksheets[0].append([IMAGE, "1"])
        hidden = book.create_sheet("Codes")
        hidden.append(["code"])
        hidden.sheet_state = "hidden"
        assert len(read(saved(book))) == 1
        with pytest.raises(CatalogueError, match="no column looks like the image's id among 'code'"):
            read(saved(book), reading=Reading(sheet="Codes"))

    def test_cells_become_text_as_people_write_it(self, read: Read) -> None:
        values: dict[object, str] = {
            7: "7",
            0.1 + 0.2: "0.3",
            1.5e14: "150000000000000",
            1e15: "1000000000000000",
            1.5e300: "1.5e+300",
            True: "TRUE",
            datetime.fromisoformat("1950-01-31"): "1950-01-31",
            datetime.fromisoformat("1950-01-31 12:30"): "1950-01-31 12:30:00",
            time(12, 30): "12:30:00",
            "a_x000D_b": "a\rb",
            "plain": "plain",
        }
        rows = [[image, value] for image, value in zip(IDS, values, strict=False)]
        found = read(workbook(("A", [["id", "a"], *rows])))
        assert [row.pairs[0][1] for row in found if isinstance(row, Row)] == list(values.values())

    def test_a_number_has_no_digits_that_only_the_computer_has(self, read: Read) -> None:
        content = workbook(("A", [["id", "a"], [IMAGE, 0.5]]))
        content = with_part(content, "xl/worksheets/sheet1.xml", b"<v>0.5</v>", b"<v>0.30000000000000004</v>")
        assert read(content) == [Row(2, PROJECT, (IMAGE,), (("a", "0.3"),))]

    def test_an_empty_cell_is_an_empty_text_also_in_a_wrong_row(self, read: Read) -> None:
        good, bad = read(workbook(("A", [["id", "a", "b"], [IMAGE, None, "x"], ["broken", None, "x"]])))
        assert good == Row(2, PROJECT, (IMAGE,), (("b", "x"),))
        assert isinstance(bad, Problem)

    def test_what_a_program_writes_about_the_size_of_a_sheet_does_not_matter(self, read: Read) -> None:
        content = workbook(("A", [["id", "a"], [IMAGE, "x"], [OTHER, "y"]]))
        assert len(read(with_part(content, "xl/worksheets/sheet1.xml", b'ref="A1:B3"', b'ref="A1:A1"'))) == 2

    @pytest.mark.parametrize("filled", [1, 100])
    def test_a_sheet_has_rows_if_one_of_its_first_hundred_has_a_cell(self, read: Read, filled: int) -> None:
        empty: list[list[object]] = [[None]]
        other: list[list[object]] = [*empty * (filled - 1), ["x"]]
        book = workbook(("A", [["id", "a"], [IMAGE, "x"]]), ("B", other))
        with pytest.raises(CatalogueError, match="several sheets with rows"):
            read(book)
        book = workbook(("A", [["id", "a"], [IMAGE, "x"]]), ("B", [*empty * 100, ["x"]]))
        assert len(read(book)) == 1

    def test_a_formula_is_read_by_its_result(self, read: Read) -> None:
        content = workbook(("A", [["id", "a"], [IMAGE, "=1+1"]]))
        sheet = "xl/worksheets/sheet1.xml"
        assert read(with_part(content, sheet, b"<v />", b"<v>2</v>")) == [Row(2, PROJECT, (IMAGE,), (("a", "2"),))]

    def test_a_formula_without_a_result_is_found_wherever_it_stands(self, read: Read) -> None:
        rows: list[list[object]] = [[f"{PROJECT[:-4]}{number:04x}", "x" * 90] for number in range(6000)]
        with pytest.raises(CatalogueError, match="formulas without results"):
            read(workbook(("A", [["id", "a"], *rows, [IMAGE, "=1+1"]])))

    def test_a_damaged_workbook_ends_in_a_sentence(self, read: Read) -> None:
        content = workbook(("A", [["id", "a"], [IMAGE, "x"]]))
        with pytest.raises(CatalogueError, match=r"the workbook cannot be read \(\w+\): save it anew, or as CSV"):
            read(with_part(content, "xl/worksheets/sheet1.xml", b"</row>", b"<row>"))

    @pytest.mark.parametrize(("over", "is_read"), [(0, True), (1, False)])
    def test_the_texts_of_a_workbook_have_a_size(
        self, read: Read, monkeypatch: pytest.MonkeyPatch, over: int, *, is_read: bool
    ) -> None:
        file = io.BytesIO(workbook(("A", [["id", "a"], [IMAGE, "x"]])))
        with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/sharedStrings.xml", " " * 99_000)
        monkeypatch.setattr("ops.catalogue.workbook.MAX_WHOLE_BYTES", 99_000 - over)
        with nullcontext() if is_read else pytest.raises(CatalogueError, match="too large"):
            read(file.getvalue())


class TestEncodings:
    def test_the_hint_comes_once_where_the_header_has_the_bytes(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match=r"column 'K\\udcfcnstler'.*\(not UTF-8\?.*--encoding cp1252"):
            read(f"id,Künstler\n{IMAGE},x\n".encode("cp1252"))

    def test_bytes_in_a_column_that_is_left_out_do_not_matter(self, read: Read) -> None:
        rows = read(f"id,a,Künstler\n{IMAGE},x,Ä\n".encode("cp1252"), ignore=("K\udcfcnstler",))
        assert rows == [Row(2, PROJECT, (IMAGE,), (("a", "x"),))]

    @pytest.mark.parametrize(
        "content",
        [
            "id,a\n".encode("utf-16") + f"{IMAGE},".encode("utf-16-le") + b"\x00\xd8" + "\n".encode("utf-16-le"),
            f"id,a\n{IMAGE},x".encode("utf-16") + b"x",
            f"id,a\n{IMAGE},".encode() + b"\xff\n",
            f"id,a\n{IMAGE},".encode() + b"\xe2\x82",
        ],
    )
    def test_what_is_not_of_its_encoding_makes_its_row_bad_and_no_other(self, read: Read, content: bytes) -> None:
        [row] = read(content)
        assert isinstance(row, Problem)
        assert row.line == 2
        assert "name the encoding" in row.text

    @pytest.mark.parametrize("encoding", sorted({*aliases.values(), "utf-8-sig", "utf-16", "idna", "undefined"}))
    @pytest.mark.parametrize("content", [f"id,a\n{IMAGE},x\n".encode(), bytes(range(128, 256)) * 9 + b"\n+2"])
    def test_whatever_the_encoding_a_wrong_one_ends_in_a_sentence(
        self, read: Read, encoding: str, content: bytes
    ) -> None:
        with suppress(CatalogueError):
            read(content, reading=Reading(encoding=encoding))

    @pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "utf-7", "cp1252", "iso2022_jp", "utf-32"])
    def test_bytes_of_no_character_never_end_the_command(self, read: Read, encoding: str) -> None:
        content = f"id,a\n{IMAGE},x\n".encode(encoding) + bytes(range(0x80, 0x100)) * 3 + b"+\x1b$\n"
        rows = read(content, reading=Reading(encoding=encoding))
        assert isinstance(rows[0], Row)
        assert all(isinstance(row, Problem) for row in rows[1:])


class TestRowsThatDisappear:
    def test_rows_that_a_quotation_mark_swallows_are_named_by_their_lines(self, read: Read) -> None:
        rows = read(f'id,title\n{IDS[0]},"Harbour\n{IDS[1]},Market\n{IDS[2]},"Street"\n{IDS[3]},x\n')
        assert isinstance(rows[0], Problem)
        assert (rows[0].where, "--quoting none" in rows[0].text) == ("2-4", True)
        assert [row.line for row in rows[1:]] == [5]

    def test_a_header_that_swallows_rows_is_told(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match=r"the header goes over lines that look like rows.*--quoting none"):
            read(f'id\t"title\n{IDS[0]}\tx"\n{IDS[1]}\ty\n')

    def test_a_value_that_holds_other_rows_is_warned_about(self, read: Read) -> None:
        rows = read(f'id\ttitle\n{IDS[0]}\t"Harbour\n{IDS[1]}\tMarket"\n{IDS[2]}\tx\n')
        assert isinstance(rows[0], Problem)
        assert (rows[0].is_warning, rows[0].where) == (True, "2-3")
        assert [type(row) for row in rows] == [Problem, Row, Row]

    def test_without_quoting_every_line_is_a_row(self, read: Read) -> None:
        values = ("plain", '"Harbour', "Market", 'last" one', "x")
        content = "".join(f"{image}\t{value}\n" for image, value in zip(IDS, values, strict=False))
        rows = read(f"id\ttitle\n{content}", reading=Reading(quoting=Quoting.NONE))
        assert [row.line for row in rows] == [2, 3, 4, 5, 6]
        assert rows[1] == Row(3, PROJECT, (IDS[1],), (("title", '"Harbour'),))

    def test_lines_are_counted_and_not_records(self, tmp_path: Path) -> None:
        (tmp_path / "file.csv").write_text(f'id,title\n{IDS[0]},x\n{IDS[1]},"Harbour\n' + f"{IDS[2]},x\n" * 7)
        source = open_source(str(tmp_path / "file.csv"), tmp_path, Reading())
        with (
            source.open(ColumnChoices(project_id=PROJECT), LIMITS) as rows,
            closing(CatalogueDatabase(tmp_path / "rows")) as database,
        ):
            database.add(rows.reader.rows(), lambda: None)
            assert (database.rows_read, database.count_bad_rows()) == (9, 8)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
    @pytest.mark.parametrize("quoting", [None, Quoting.NONE])
    def test_what_is_left_out_is_kept_so_that_the_same_options_read_it(
        self, read: Read, tmp_path: Path, encoding: str, quoting: Quoting | None
    ) -> None:
        lines = ["id;title;note", f"{IDS[0]};x;y", 'broken;"Köln";a, b', f'{IDS[1]};"Köln" x;y', "n;a;b;c"]
        (tmp_path / "file.csv").write_bytes("\r\n".join(lines).encode(encoding))
        source = open_source(str(tmp_path / "file.csv"), tmp_path, reading := Reading(None, encoding, None, quoting))
        choices = ColumnChoices(project_id=PROJECT)
        with source.open(choices, LIMITS) as rows:
            bad = [row for row in rows.reader.rows() if isinstance(row, Problem)]
        path = invalid_rows_path(source)
        write_invalid_rows(source, choices, LIMITS, iter(bad), path)
        again = read(path.read_bytes(), "again.csv", reading)
        assert len([row for row in again if isinstance(row, Problem)]) == len(bad)
        mended = path.read_bytes().decode(encoding).replace("broken", IDS[2]).replace(" x;", ";").encode(encoding)
        row = read(mended, "mended.csv", reading)[0]
        expected = '"Köln"' if quoting else "Köln"
        assert row == Row(2, PROJECT, (IDS[2],), (("title", expected), ("note", "a, b")))

    def test_a_row_that_is_no_csv_keeps_its_text(self, tmp_path: Path) -> None:
        lines = ["id,title", f"{IDS[0]},x", f'{IDS[1]},"Harbour" view', "short", f'{IDS[2]},"open', f"{IDS[3]},z", ""]
        (tmp_path / "file.csv").write_text("\n".join(lines))
        source = open_source(str(tmp_path / "file.csv"), tmp_path, Reading())
        choices = ColumnChoices(project_id=PROJECT)
        with source.open(choices, LIMITS) as rows:
            bad = [row for row in rows.reader.rows() if isinstance(row, Problem)]
        write_invalid_rows(source, choices, LIMITS, iter(bad), path := invalid_rows_path(source))
        kept = path.read_text()
        assert all(line in kept for line in lines[2:])
        assert lines[1] not in kept


class TestIds:
    @pytest.mark.parametrize(
        "written",
        [
            IMAGE.upper(),
            f"{{{IMAGE}}}",
            f"({IMAGE})",
            IMAGE.replace("-", ""),
            f"urn:uuid:{IMAGE}",
            f"URN:UUID:{IMAGE.upper()}",
            f"\u200b{IMAGE}\ufeff",
            f"\u00a0{IMAGE}\t",
            IMAGE.replace("-", "\u2010"),
            IMAGE.replace("-", "\u2013"),
            f"'{IMAGE}",
            f'"{IMAGE}"',
        ],
    )
    def test_an_id_is_taken_however_it_is_written(self, read: Read, written: str) -> None:
        assert plain_id(written) == IMAGE
        line = json.dumps({"imageId": written, "projectId": written, "metadata": {"a": "b"}})
        assert read(line, "file.jsonl", project_id=None) == [Row(1, IMAGE, (IMAGE,), (("a", "b"),))]

    @pytest.mark.parametrize("written", ["scan-5", IMAGE[:-1], IMAGE + "0", f"{IMAGE} {IMAGE}", "", "id:" + IMAGE])
    def test_what_is_no_id_stays_as_it_is(self, written: str) -> None:
        assert plain_id(written) == written

    @pytest.mark.parametrize(
        ("header", "chosen"), [("image,image2,id", 2), ("id,image,image2", 0), ("image,Image 2,title", 1)]
    )
    def test_the_column_that_holds_uuids_is_the_id(self, read: Read, header: str, chosen: int) -> None:
        cells = ["scan.tif", "scan.jpg", "T"]
        cells[chosen] = IMAGE
        [row] = read(f"{header}\n{','.join(cells)}\n")
        assert isinstance(row, Row)
        assert row.image_ids == (IMAGE,)
        assert len(row.pairs) == 2

    def test_a_column_of_uuids_with_another_name_is_named(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match="'Objekt' holds UUIDs: --image 'Objekt'"):
            read(f"Titel,Objekt\nx,{IMAGE}\n")

    def test_a_project_for_all_rows_goes_before_a_column_of_projects(self, read: Read) -> None:
        [row] = read(f"id,project,a\n{IMAGE},{IDS[1]},x\n")
        assert row == Row(2, PROJECT, (IMAGE,), (("a", "x"),))
        [row] = read(f"id,project,a\n{IMAGE},Digitisation 2019,x\n")
        assert isinstance(row, Row)
        assert dict(row.pairs) == {"project": "Digitisation 2019", "a": "x"}


class TestHeaders:
    @pytest.mark.parametrize("header", ["id;title, place, date", "id\ttitle, place", "title|image id|a, b, c, d"])
    def test_the_delimiter_is_the_one_that_makes_an_ids_column(self, read: Read, header: str) -> None:
        delimiter = next(char for char in ";\t|" if char in header)
        cells = [IMAGE if name in ("id", "image id") else "x" for name in header.split(delimiter)]
        assert isinstance(read(f"{header}\n{delimiter.join(cells)}\n")[0], Row)

    @pytest.mark.parametrize("written", [IMAGE, f"{{{IMAGE}}}"])
    def test_a_file_without_a_header_is_told_to_need_one(self, read: Read, written: str) -> None:
        with pytest.raises(CatalogueError, match="line 1 holds an id: put a line with the names of the columns above"):
            read(f"{written},x\n{OTHER},y\n")

    def test_a_title_above_the_header_is_told(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match="line 3 looks like the header: delete the lines above it"):
            read(f"Collection of glass plates\n\nImage ID,title\n{IMAGE},x\n")

    @pytest.mark.parametrize("above", ["", "Collection of glass plates\n\nImage ID,title\n"])
    def test_no_column_is_proposed_by_a_header_that_is_none(self, read: Read, above: str) -> None:
        with pytest.raises(CatalogueError) as refusal:
            read(f"{above}{IMAGE},x\n{OTHER},y\n")
        assert "--image" not in str(refusal.value)


class TestRowsOfExcel:
    def test_empty_cells_at_the_end_may_be_missing_or_too_many(self, read: Read) -> None:
        rows = read(f"id,a,b\n{IDS[0]},x\n{IDS[1]},x,y,,\n,,\n , ,\n\n{IDS[2]},x,y,z\n")
        assert [type(row) for row in rows] == [Row, Row, Problem]
        assert rows[2].line == 7

    def test_a_file_of_empty_rows_is_empty(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match="the file is empty"):
            read(",,\n ,\n")

    def test_empty_rows_above_the_header_are_no_header(self, read: Read) -> None:
        assert len(read(f",,\n\nid,a\n{IMAGE},x\n")) == 1

    @pytest.mark.parametrize("choices", [{"ignore": ("n",)}, {"metadata": ("a",)}])
    def test_two_columns_of_one_name_matter_only_if_they_are_used(self, read: Read, choices: dict[str, object]) -> None:
        content = f"id,n,a,n\n{IMAGE},1,x,2\n"
        assert read(content, **choices) == [Row(2, PROJECT, (IMAGE,), (("a", "x"),))]
        with pytest.raises(CatalogueError, match="two columns have the same name: 'n'; leave them out with --ignore"):
            read(content)

    def test_two_columns_that_become_one_key_are_refused(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match="two columns have the same name: 'place'"):
            read(f"id,place,metadata.place\n{IMAGE},a,b\n")


class TestOptions:
    @pytest.mark.parametrize(
        ("choices", "told"),
        [
            ({"project": "p"}, "only one can be meant"),
            ({"project_id": "nope"}, "--project-id 'nope': must be a UUID; --project names a column"),
            ({"ignore": ("nope",)}, "--ignore 'nope': there is no such column"),
            ({"ignore": ("id",)}, "--ignore 'id': this column holds the ids"),
            ({"metadata": ("a",), "ignore": ("p",)}, "--ignore would do nothing"),
        ],
    )
    def test_what_would_be_ignored_is_refused(self, read: Read, choices: dict[str, object], told: str) -> None:
        with pytest.raises(CatalogueError) as caught:
            read(f"id,a,p\n{IMAGE},x,{PROJECT}\n", **choices)
        assert told in str(caught.value)

    @pytest.mark.parametrize(("said", "shown"), [("x" * 40, "x" * 40), ("x" * 41, "x" * 40 + "…")])
    def test_what_was_typed_is_shown_up_to_a_length(self, read: Read, said: str, shown: str) -> None:
        with pytest.raises(CatalogueError, match=f"--project-id '{shown}': must be a UUID"):
            read(f"id,a\n{IMAGE},x\n", project_id=said)
        with pytest.raises(CatalogueError, match=f"--delimiter '{shown}': must be one character"):
            read(f"id,a\n{IMAGE},x\n", reading=Reading(delimiter=said))

    def test_a_delimiter_that_is_said_is_used(self, read: Read) -> None:
        rows = read(f"id#a,b\n{IMAGE}#x,y\n", reading=Reading(delimiter="#"))
        assert rows == [Row(2, PROJECT, (IMAGE,), (("a,b", "x,y"),))]

    def test_a_key_that_the_queue_refuses_is_told_once(self, read: Read) -> None:
        with pytest.raises(CatalogueError, match=r"must have at most 128 characters.*--metadata COLUMN=KEY"):
            read(f"id,{'x' * 129}\n{IMAGE},y\n")


class TestCauses:
    def causes(self, tmp_path: Path, content: str, **choices: object) -> list[str]:
        (tmp_path / "file.csv").write_text(content)
        source = open_source(str(tmp_path / "file.csv"), tmp_path, Reading())
        chosen = ColumnChoices(**({"project_id": PROJECT} | choices))  # type: ignore[arg-type]
        with source.open(chosen, LIMITS) as rows, closing(CatalogueDatabase(tmp_path / "rows")) as database:
            database.add(rows.reader.rows(), lambda: None)
            kinds = database.kinds(20)
            return list(likely_causes(kinds, database.rows_read, rows.reader.mapping, LIMITS))

    def test_the_column_with_the_ids_is_named(self, tmp_path: Path) -> None:
        rows = "".join(f"scan-{n},{image}\n" for n, image in enumerate(IDS))
        [cause] = self.causes(tmp_path, f"Scan no.,id\n{rows}", image="Scan no.")
        assert cause == "is 'Scan no.' the column with the image's id? 'id' holds UUIDs: --image 'id'"

    def test_too_many_columns_are_counted(self, tmp_path: Path) -> None:
        header = ",".join(["id", *(f"c{n}" for n in range(26))])
        rows = "".join(f"{image}{',x' * 26}\n" for image in IDS)
        [cause] = self.causes(tmp_path, f"{header}\n{rows}")
        assert cause.startswith("26 columns of metadata, the service takes 10: choose with --metadata or --ignore")

    def test_a_likelier_column_is_named_only_if_there_is_one(self, tmp_path: Path) -> None:
        (alone := tmp_path / "alone").mkdir()
        assert self.causes(alone, "id,a\nx,y\nx,z\n") == ["is 'id' the column with the image's id?"]
        rows = "".join(f"scan,{PROJECT},{image}\n" for image in IDS[:4])
        [cause] = self.causes(tmp_path, f"id,project,a\n{rows}", project_id=None, metadata=("a",))
        assert cause == "is 'id' the column with the image's id? 'a' holds UUIDs: --image 'a'"

    def test_the_column_with_the_project_is_named(self, tmp_path: Path) -> None:
        rows = "".join(f"{image},Glass,x\n" for image in IDS[:3])
        [cause] = self.causes(tmp_path, f"id,project,a\n{rows}", project_id=None)
        assert cause.startswith("is 'project' the column with the project's id? --project COLUMN names another")

    def test_so_is_the_delimiter(self, tmp_path: Path) -> None:
        rows = "".join(f"{image},x,y\n" for image in IDS[:3])
        assert self.causes(tmp_path, f"id,a\n{rows}") == ["is the delimiter right? --delimiter names another"]

    @pytest.mark.parametrize(("bad", "good", "causes"), [(2, 2, 1), (2, 3, 0), (1, 0, 0), (1, 1, 0)])
    def test_a_cause_is_named_for_at_least_two_rows_and_half_of_all(
        self, tmp_path: Path, bad: int, good: int, causes: int
    ) -> None:
        rows = "".join(f"{image},x\n" for image in IDS[:good]) + "broken,x\n" * bad
        assert len(self.causes(tmp_path, f"id,a\n{rows}")) == causes

    def test_too_many_pairs_in_json_have_no_column(self) -> None:
        assert list(likely_causes([("metadata: must have at most … pairs", 5)], 5, None, LIMITS)) == []

    def test_too_many_pairs_are_no_cause_where_the_columns_are_not_too_many(self, tmp_path: Path) -> None:
        with self.mapping(tmp_path) as mapping:
            kinds = [("metadata: must have at most … pairs", 5), ("something else", 5)]
            assert list(likely_causes(kinds, 5, mapping, LIMITS)) == []

    @contextmanager
    def mapping(self, tmp_path: Path) -> Iterator[Mapping]:
        (tmp_path / "file.csv").write_text(f"id,a\n{IMAGE},x\n")
        source = open_source(str(tmp_path / "file.csv"), tmp_path, Reading())
        with source.open(ColumnChoices(project_id=PROJECT), LIMITS) as rows:
            assert rows.reader.mapping is not None
            yield rows.reader.mapping

    def test_one_bad_row_of_many_has_no_cause(self, tmp_path: Path) -> None:
        rows = "".join(f"{image},x\n" for image in IDS)
        assert self.causes(tmp_path, f"id,a\n{rows}broken,x\nbroken,x\n") == []


class TestJsonArrays:
    def test_an_object_of_another_project_than_the_option_says_is_refused(self, read: Read) -> None:
        line = json.dumps({"imageId": IMAGE, "projectId": IDS[1], "metadata": {"a": "b"}})
        [row] = read(line, project_id=PROJECT)
        assert isinstance(row, Problem)
        assert "not the project that --project-id says" in row.text
        assert isinstance(read(line, project_id=f"{{{IDS[1]}}}")[0], Row)

    @pytest.mark.parametrize(
        ("content", "lines"),
        [
            ('[\n{"imageId": "%s", "metadata": {"a": "b"}},\n{"imageId": "%s",\n "metadata": {"a": "c"}}\n]', [2, 3]),
            ('{\n"imageId": "%s", "metadata": {"a": "b"}}\n{\n"imageId": "%s", "metadata": {"a": "c"}}', [1, 3]),
        ],
    )
    def test_objects_are_named_by_their_first_lines(self, read: Read, content: str, lines: list[int]) -> None:
        rows = read(content % IDS[:2], "file.json")
        assert [(type(row), row.line) for row in rows] == [(Row, line) for line in lines]

    def test_an_object_around_the_objects_is_named(self, read: Read) -> None:
        [row] = read(json.dumps({"items": [{"imageId": IMAGE, "metadata": {"a": "b"}}]}, indent=1), "a.json")
        assert isinstance(row, Problem)
        assert (row.where, row.rows, row.text[:6]) == ("1-10", 1, "items:")

    def test_what_comes_after_a_broken_object_is_named(self, read: Read) -> None:
        rows = read(
            '[%s,\n{"imageId": x},\n{}\n]'.replace("%s", json.dumps({"imageId": IMAGE, "metadata": {"a": "b"}}))
        )
        assert isinstance(rows[1], Problem)
        assert (len(rows), rows[1].where) == (2, "2-3")
