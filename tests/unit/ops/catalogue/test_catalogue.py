"""Reading a catalogue: which column is what, which rows are wrong, and what they have in common."""

import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO
from uuid import UUID

import pytest

from ops.catalogue.costs import Estimate, costliest_columns, estimate
from ops.catalogue.database import CatalogueDatabase
from ops.catalogue.json_objects import JsonObjects, json_lines
from ops.catalogue.mapping import PROBLEM_COLUMN, ColumnChoices, map_columns
from ops.catalogue.records import Quoting, Record, csv_records
from ops.catalogue.row import CatalogueError, Problem, Row
from ops.catalogue.table import Table
from shared.messages.update import MetadataLimits

PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"
IMAGE = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"
OTHER = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5e"


class TestMapping:
    @pytest.mark.parametrize("name", ["image_id", "ImageId", "Image ID", "image", "id", "GUID", "uuid"])
    def test_the_images_column_is_known_by_its_name(self, name: str) -> None:
        assert map_columns(["decade", name, "project"], ColumnChoices()).image == 1

    def test_every_other_column_is_metadata_under_its_name(self) -> None:
        mapping = map_columns(["id", "project id", "decade", "Metadata.place", ""], ColumnChoices())
        assert mapping.metadata == ((2, "decade"), (3, "place"))
        assert mapping.ignored == (4,)

    def test_what_is_said_goes_before_what_is_guessed(self) -> None:
        choices = ColumnChoices(image="scan", project_id=PROJECT, metadata=("decade=year", "a=b"), correlation="id")
        mapping = map_columns(["id", "scan", "decade", "a=b", "notes"], choices)
        assert (mapping.image, mapping.project, mapping.correlation) == (1, None, 0)
        assert mapping.metadata == ((2, "year"), (3, "a=b"))

    def test_what_send_wrote_beside_wrong_rows_is_no_metadata(self) -> None:
        mapping = map_columns(["id", "project", "decade", PROBLEM_COLUMN], ColumnChoices())
        assert mapping.metadata == ((2, "decade"),)

    @pytest.mark.parametrize(
        ("header", "choices", "told"),
        [
            (["a"], ColumnChoices(), "--image COLUMN"),
            (["id", "a"], ColumnChoices(), "--project COLUMN, or give all rows one: --project-id UUID"),
            (["id", "project"], ColumnChoices(), "no column is left for metadata"),
            (["id", "a", "a"], ColumnChoices(project_id=PROJECT), "two columns have the same name: 'a'"),
            (
                ["id", "a"],
                ColumnChoices(project_id=PROJECT, image="b"),
                "there is no column 'b'; the file has 'id', 'a'",
            ),
            (["id", "a"], ColumnChoices(project_id=PROJECT, ignore=("b",)), "--ignore 'b': there is no such column"),
            (["id", "a"], ColumnChoices(project_id=PROJECT, metadata=("b=c",)), "there is no column 'b'"),
        ],
    )
    def test_what_cannot_be_mapped_says_what_to_do(self, header: list[str], choices: ColumnChoices, told: str) -> None:
        with pytest.raises(CatalogueError) as caught:
            map_columns(header, choices)
        assert told in str(caught.value)


def rows_of(text: str, quoting: Quoting = Quoting.DOUBLE, **choices: str) -> list[Row | Problem]:
    return list(table_of(text, quoting, **choices).rows())


def table_of(text: str, quoting: Quoting = Quoting.DOUBLE, **choices: str) -> Table:
    _, records = csv_records(io.StringIO(text, newline=""), None, quoting)
    chosen = ColumnChoices(**({"project_id": PROJECT} | choices))  # type: ignore[arg-type]
    return Table(records, chosen, MetadataLimits(), "correlation", "utf-8-sig")


def json_rows(text: str, records: Callable[[TextIO], Iterator[Record]] = json_lines) -> list[Row | Problem]:
    return list(JsonObjects(records(io.StringIO(text)), PROJECT, MetadataLimits(), None, "utf-8-sig").rows())


class TestCsv:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_the_delimiter_is_told_by_the_header(self, delimiter: str) -> None:
        [row] = rows_of(f"id{delimiter}decade\n{IMAGE}{delimiter}1950s\n")
        assert row == Row(2, PROJECT, (IMAGE,), (("decade", "1950s"),))

    def test_an_empty_cell_is_no_pair(self) -> None:
        [row] = rows_of(f"id,decade,place\n{IMAGE},,Oslo\n")
        assert isinstance(row, Row)
        assert row.pairs == (("place", "Oslo"),)

    def test_a_record_of_several_lines_is_known_by_its_first(self) -> None:
        found = rows_of(f'id,text\n{IMAGE},"two\nlines"\nbroken,x\n\n{IMAGE},y\n')
        assert [row.line for row in found] == [2, 4, 6]
        assert isinstance(found[1], Problem)

    def test_ids_are_written_in_one_notation(self) -> None:
        [row] = rows_of(f"id,decade\n {IMAGE.upper()} ,1950s\n")
        assert isinstance(row, Row)
        assert row.image_ids == (IMAGE,)

    @pytest.mark.parametrize(
        ("record", "told"),
        [
            ("x,1950s", "id: must be a UUID of 36 characters"),
            (f"{IMAGE},1950s,x", "3 columns, where the header has 2"),
            (f"{IMAGE},", "no metadata"),
            (f"{IMAGE},{'x' * 257}", "'decade'"),
            (f'{IMAGE},"1950s', "not CSV: unexpected end of data"),
            (f'{IMAGE},"1950s"x', "not CSV:"),
            (f"{IMAGE},K\udcf6ln", "--encoding cp1252"),
        ],
    )
    def test_a_wrong_row_says_what_is_wrong_and_the_next_is_read(self, record: str, told: str) -> None:
        [row] = rows_of(f"id,decade\n{record}\n")
        assert isinstance(row, Problem)
        assert row.line == 2
        assert told in row.text

    def test_a_wrong_image_is_found_among_rows_of_known_metadata(self) -> None:
        found = rows_of(f"id,decade\n{IMAGE},1950s\nnot-one,1950s\n{OTHER},1950s\n")
        assert [type(row) for row in found] == [Row, Problem, Row]


class TestJson:
    def test_an_objects_project_may_be_said_once(self) -> None:
        line = f'{{"imageIds": ["{IMAGE}"], "metadata": {{"a": "b"}}}}\n'
        [row] = json_rows(f"\n{line}")
        assert row == Row(2, PROJECT, (IMAGE,), (("a", "b"),))

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("[]", "not a JSON object"),
            ("{", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ('{"imageId": "x", "metadata": {"a": "b"}}', "imageIds[0]: must be a UUID"),
            (f'{{"imageId": "{IMAGE}", "metadata": {{}}}}', "no metadata"),
            (f'{{"imageId": "{IMAGE}", "metadata": {{"a": "b", "a": "c"}}}}', "given twice"),
            (f'{{"imageId": "{IMAGE}", "metadata": {{"a": 1}}}}', "metadata.a: must be text"),
        ],
    )
    def test_a_wrong_line_says_what_is_wrong(self, line: str, told: str) -> None:
        [row] = json_rows(line)
        assert isinstance(row, Problem)
        assert told in row.text


@contextmanager
def database_of(folder: Path, *rows: Row | Problem) -> Iterator[CatalogueDatabase]:
    with closing(CatalogueDatabase(folder / "rows")) as database:
        database.add(rows, lambda: None)
        yield database


def row(line: int, image: str = IMAGE, project: str = PROJECT, **pairs: str) -> Row:
    return Row(line, project, (image,), tuple(pairs.items()))


class TestDatabase:
    def test_images_of_equal_metadata_are_together_whatever_the_order_of_the_pairs(self, tmp_path: Path) -> None:
        with database_of(tmp_path, row(2, a="1", b="2"), row(3, OTHER, b="2", a="1")) as database:
            groups = [(group.metadata, list(group.image_ids)) for group in database.groups()]
        assert groups == [({"a": "1", "b": "2"}, [IMAGE, OTHER])]

    def test_an_image_that_is_there_twice_with_the_same_metadata_is_sent_once(self, tmp_path: Path) -> None:
        with database_of(tmp_path, row(2, a="1"), row(3, a="1")) as database:
            assert [list(group.image_ids) for group in database.groups()] == [[IMAGE]]
            assert [image.line for image in database.images()] == [2]
            assert list(database.problems()) == []

    def test_rows_that_contradict_one_another_are_all_wrong(self, tmp_path: Path) -> None:
        rows = (row(2, a="1"), row(3, OTHER, a="1"), row(5, a="2"), row(7, a="1"))
        with database_of(tmp_path, *rows) as database:
            problems = {bad.line: bad.text for bad in database.problems()}
            assert [list(group.image_ids) for group in database.groups()] == [[OTHER]]
        assert set(problems) == {2, 5, 7}
        assert "other metadata on line 2:" in problems[5]

    def test_the_same_id_in_two_projects_is_two_images(self, tmp_path: Path) -> None:
        with database_of(tmp_path, row(2, a="1"), row(3, project=OTHER, a="2")) as database:
            assert database.count_images() == 2
            assert list(database.problems()) == []

    def test_wrong_rows_come_in_the_order_of_the_file(self, tmp_path: Path) -> None:
        with database_of(tmp_path, Problem(9, 9, "x"), row(2, a="1"), row(5, a="2"), Problem(3, 3, "y")) as database:
            assert [bad.line for bad in database.problems()] == [2, 3, 5, 9]

    def test_groups_can_be_skipped_unread(self, tmp_path: Path) -> None:
        rows = [row(n, str(UUID(int=n)), a=str(n % 2)) for n in range(10)]
        with database_of(tmp_path, *rows) as database:
            assert len(list(database.groups())) == 2


class TestCosts:
    def test_only_equal_metadata_shares_calls(self, tmp_path: Path) -> None:
        rows = [row(n, str(UUID(int=n)), a="1") for n in range(65)]
        rows += [row(65, OTHER, a="2"), row(66, OTHER, project=OTHER, a="1")]
        with database_of(tmp_path, *rows) as database:
            costs = estimate(database)
        assert costs == Estimate(images=67, metadata_sets=3, calls=4, least_calls=3)
        assert costs.extra_calls == 1

    @pytest.mark.parametrize(
        ("unique", "named"),
        [
            (("scan",), ("scan",)),
            (("scan", "title"), ("scan", "title")),
            (("a", "b", "c"), ("a", "b", "c")),
        ],
    )
    def test_the_columns_that_cost_most_are_found_together(
        self, tmp_path: Path, unique: tuple[str, ...], named: tuple[str, ...]
    ) -> None:
        rows = [
            row(n, str(UUID(int=n)), kept=str(n % 2), **{name: f"{name} {n}" for name in unique}) for n in range(100)
        ]
        with database_of(tmp_path, *rows) as database:
            columns = costliest_columns(database, estimate(database))
        assert columns is not None
        assert (set(columns[0]), columns[1]) == (set(named), 2)

    def test_of_a_large_catalogue_the_calls_are_those_of_all_its_sets(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ops.catalogue.costs.MAX_SETS_COMPARED", 100)
        rows = [row(n, str(UUID(int=n)), kept=str(n % 2), scan=str(n), title=str(n)) for n in range(1000)]
        with database_of(tmp_path, *rows) as database:
            columns = costliest_columns(database, estimate(database))
        assert columns is not None
        assert (set(columns[0]), columns[1]) == ({"scan", "title"}, 16)

    def test_no_column_is_blamed_where_none_costs(self, tmp_path: Path) -> None:
        with database_of(tmp_path, row(2, a="1")) as database:
            assert costliest_columns(database, estimate(database)) is None
