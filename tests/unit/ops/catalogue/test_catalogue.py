"""Reading a catalogue: which column is what, which rows are wrong, and what they have in common."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TextIO
from uuid import UUID

import pytest

from ops.catalogue.costs import Estimate, costliest_columns, estimate
from ops.catalogue.database import CatalogueDatabase, Group
from ops.catalogue.encodings import NAME_THE_ENCODING, hint_of_encoding
from ops.catalogue.json_objects import JsonObjects, json_lines, json_values
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

    def test_the_name_that_says_most_goes_first(self) -> None:
        assert map_columns(["guid", "image id", "project"], ColumnChoices()).image == 1
        assert map_columns(["image id", "guid", "project"], ColumnChoices()).image == 0
        assert map_columns(["id 2", "image 2", "project"], ColumnChoices()).image == 1

    @pytest.mark.parametrize(("ids", "image"), [(("x", IMAGE), 0), (("x", "y", IMAGE), 1), (("", " ", IMAGE), 0)])
    def test_a_column_holds_ids_if_half_of_its_cells_do(self, ids: tuple[str, ...], image: int) -> None:
        sample = [[cell, IMAGE, "x", " "] for cell in ids]
        mapping = map_columns(["image", "guid", "a", "empty"], ColumnChoices(project_id=PROJECT), [*sample, []])
        assert mapping.image == image
        assert mapping.ids == tuple(range(image, 2))

    @pytest.mark.parametrize(
        ("header", "advice"),
        [
            (["a", "project", ""], "'a' holds UUIDs: --image 'a'"),
            (["a", "b", "project"], "'a', 'b' hold UUIDs: --image 'a'"),
            (["project", "", "project no"], "'project no' holds UUIDs: --image 'project no'"),
        ],
    )
    def test_columns_of_ids_are_proposed_but_not_the_projects_and_none_without_a_name(
        self, header: list[str], advice: str
    ) -> None:
        with pytest.raises(CatalogueError) as caught:
            map_columns(header, ColumnChoices(project="project"), [[IMAGE, IMAGE, IMAGE]])
        assert str(caught.value).endswith(f"; {advice}")

    def test_a_project_that_is_said_leaves_a_column_of_projects_out(self) -> None:
        sample = [[IMAGE, PROJECT, "x"]]
        mapping = map_columns(["id", "project", "a"], ColumnChoices(project_id=OTHER), sample)
        assert (mapping.project, mapping.project_id, mapping.metadata) == (None, OTHER, ((2, "a"),))
        assert mapping.ignored == (1,)

    def test_what_is_metadata_can_be_named_by_its_column_or_as_another_key(self) -> None:
        header = ["id", "metadata.place", "metadata.", "a=b", "c"]
        choices = ColumnChoices(project_id=PROJECT, metadata=("metadata.place", "metadata.", "a=b=key", "c=d=e"))
        with pytest.raises(CatalogueError, match="there is no column 'c=d'"):
            map_columns(header, choices)
        choices = replace(choices, metadata=choices.metadata[:3])
        assert map_columns(header, choices).metadata == ((1, "place"), (2, "metadata."), (3, "key"))

    def test_what_is_ignored_is_no_metadata(self) -> None:
        mapping = map_columns(["id", "a", "b"], ColumnChoices(project_id=PROJECT, ignore=("a",)))
        assert (mapping.metadata, mapping.ignored) == (((2, "b"),), (1,))

    def test_a_second_column_of_ids_under_the_same_name_may_be_ignored(self) -> None:
        choices = ColumnChoices(project_id=PROJECT, image="scan", ignore=("id",))
        assert map_columns(["id", "scan", "a", "id"], choices).ignored == (0, 3)

    def test_the_options_of_columns_are_those_that_are_said(self) -> None:
        assert ColumnChoices(project_id=PROJECT).of_columns == ()
        choices = ColumnChoices("a", "b", None, "c", ("d",), ("e",))
        assert choices.of_columns == ("--image", "--project", "--correlation", "--metadata", "--ignore")

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
            (["id", "a"], ColumnChoices(project_id=PROJECT, metadata=("b",)), "there is no column 'b'"),
            (["id", "a", "a"], ColumnChoices(project_id=PROJECT, metadata=("a",)), "two columns have the name 'a'"),
            (["id", "id", "a"], ColumnChoices(project_id=PROJECT), "two columns have the same name: 'id'; rename one"),
            (["id", "project", "a"], ColumnChoices(ignore=("project",)), "this column holds the ids"),
            ([f"c{n}" for n in range(12)], ColumnChoices(), "'c10', 'c11';"),
            ([f"c{n}" for n in range(13)], ColumnChoices(), "'c10', 'c11', …;"),
            (["x" * 41], ColumnChoices(), f"'{'x' * 40}…'"),
        ],
    )
    def test_what_cannot_be_mapped_says_what_to_do(self, header: list[str], choices: ColumnChoices, told: str) -> None:
        with pytest.raises(CatalogueError) as caught:
            map_columns(header, choices)
        assert told in str(caught.value)


LONG = "x" * 10_000
"""What is no correlation id."""


def rows_of(text: str) -> list[Row | Problem]:
    return list(table_of(text).rows())


def table_of(text: str, correlation_id: str | None = "correlation", **choices: str | None) -> Table:
    _, records = csv_records(io.StringIO(text, newline=""), None, Quoting.DOUBLE)
    chosen = ColumnChoices(**({"project_id": PROJECT} | choices))  # type: ignore[arg-type]
    return Table(records, chosen, MetadataLimits(), correlation_id, "utf-8-sig")


def json_rows(
    text: str,
    records: Callable[[TextIO], Iterator[Record]] = json_lines,
    project_id: str | None = PROJECT,
    correlation_id: str | None = None,
) -> list[Row | Problem]:
    found = records(io.StringIO(text, newline=""))
    return list(JsonObjects(found, project_id, MetadataLimits(), correlation_id, "utf-8-sig").rows())


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
        ("cell", "own"), [("batch 7", "batch 7"), (" batch 7 ", "batch 7"), (" ", None), ("", None)]
    )
    def test_a_row_has_the_correlation_id_of_its_column(self, cell: str, own: str | None) -> None:
        [row] = rows_of(f"id,correlation_id,decade\n{IMAGE},{cell},1950s\n")
        assert row == Row(2, PROJECT, (IMAGE,), (("decade", "1950s"),), own)

    def test_a_row_has_the_project_of_its_column(self) -> None:
        [row] = table_of(f"id,a,project\n{IMAGE},x,{OTHER.upper()}\n", project_id=None).rows()
        assert row == Row(2, OTHER, (IMAGE,), (("a", "x"),))

    def test_a_row_is_checked_with_the_correlation_id_that_it_will_have(self) -> None:
        content = f"id,correlation,a\n{IMAGE},,x\n{IMAGE},own,x\n{IMAGE},{LONG},x\n"
        assert [type(row) for row in table_of(content).rows()] == [Row, Row, Problem]
        found = list(table_of(content, correlation_id=LONG).rows())
        assert [type(row) for row in found] == [Problem, Row, Problem]
        assert isinstance(found[2], Problem)
        assert found[2].text.startswith("correlation: ")
        without = list(table_of(content, correlation_id=None).rows())
        assert [type(row) for row in without] == [Row, Row, Problem]

    def test_columns_are_named_where_the_rules_name_fields(self) -> None:
        [row] = table_of(f"{'x' * 41},p,a\n{IMAGE},nope,x\n", image="x" * 41, project="p", project_id=None).rows()
        assert isinstance(row, Problem)
        assert row.text.startswith("p: must be a UUID")
        [row] = table_of(f"{'x' * 41},a\nnope,x\n", image="x" * 41).rows()
        assert isinstance(row, Problem)
        assert row.text.startswith(f"{'x' * 40}…: must be a UUID")

    def test_the_columns_are_guessed_by_the_first_50_rows(self) -> None:
        header = "image,guid,a\n"
        scan, uuid = f"scan.tif,{IMAGE},x\n", f"{OTHER},y,x\n"
        content = header + 25 * scan + 25 * uuid + 100 * scan
        assert table_of(content).mapping.ids == (0, 1)  # half of them
        assert len(list(table_of(content).records)) == 150

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ('"id,a\nx,y\n', "the header cannot be read: not CSV:"),
            (f'a,id\n"x\n{IMAGE}",y\n'.replace("a,id\n", "id,"), "the header goes over lines that look like rows"),
            (f"a\n\nmore\n{IMAGE},id\n", "line 4 looks like the header: delete the lines above it"),
            ("a\nb;id;c\n", "line 2 looks like the header"),
            ("a\nb\n", "name it: --image COLUMN"),
        ],
    )
    def test_a_header_that_is_none_says_what_helps(self, content: str, told: str) -> None:
        with pytest.raises(CatalogueError) as caught:
            table_of(content)
        assert told in str(caught.value)

    def test_lines_that_a_quotation_mark_swallows_are_so_many_rows(self) -> None:
        swallowed = [f'{IMAGE},"a', f"{OTHER},b", f'{OTHER},c"', f"{IMAGE},d"]
        warning, row, last = rows_of("id,a\n" + "\n".join(swallowed) + "\n")
        assert isinstance(warning, Problem)
        assert (warning.is_warning, warning.where, warning.rows) == (True, "2-4", 1)
        assert (row.line, last.line) == (2, 5)
        [bad, _] = rows_of("id,a\n" + "\n".join(swallowed).replace(IMAGE, "broken", 1) + "\n")
        assert isinstance(bad, Problem)
        assert (bad.is_warning, bad.where, bad.rows) == (False, "2-4", 3)
        [bad] = rows_of(f'id,a\n{IMAGE},"x\ny,z\nz,u\n')
        assert isinstance(bad, Problem)
        assert (bad.where, bad.rows) == ("2-4", 3)

    def test_a_value_of_several_lines_is_no_reason_for_a_warning(self) -> None:
        assert [type(row) for row in rows_of(f'id,a\n{IMAGE},"two\nlines"\n')] == [Row]
        [bad] = rows_of('id,a\nbroken,"two\nlines"\n')
        assert isinstance(bad, Problem)
        assert (bad.where, bad.rows, "--quoting" in bad.text) == ("2-3", 1, False)

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

    def test_an_object_is_checked_with_the_correlation_id_that_it_will_have(self) -> None:
        fields = {"imageId": IMAGE, "metadata": {"a": "b"}}
        lines = "\n".join(
            map(json.dumps, (fields, fields | {"correlationId": "own"}, fields | {"correlationId": None}))
        )
        found = json_rows(lines, correlation_id="send")
        assert [row.correlation_id for row in found if isinstance(row, Row)] == [None, "own", None]
        assert [type(row) for row in json_rows(lines, correlation_id=LONG)] == [Problem, Row, Problem]

    def test_ids_may_be_many_and_both_names_may_not(self) -> None:
        [row] = json_rows(json.dumps({"imageIds": [IMAGE.upper(), OTHER], "metadata": {"a": "b"}}))
        assert isinstance(row, Row)
        assert row.image_ids == (IMAGE, OTHER)
        [row] = json_rows(json.dumps({"imageId": OTHER, "imageIds": [IMAGE], "metadata": {"a": "b"}}))
        assert isinstance(row, Problem)
        assert "imageId" in row.text

    @pytest.mark.parametrize("ids", [[], [5], "x", None])
    def test_anything_else_is_no_list_of_ids(self, ids: object) -> None:
        [row] = json_rows(json.dumps({"imageIds": ids, "metadata": {"a": "b"}}))
        assert isinstance(row, Problem)
        assert "imageIds" in row.text

    def test_an_object_has_the_project_of_its_own_or_the_one_that_is_said(self) -> None:
        fields = {"imageId": IMAGE, "projectId": OTHER.upper(), "metadata": {"a": "b"}}
        [row] = json_rows(json.dumps(fields), project_id=None)
        assert isinstance(row, Row)
        assert row.project_id == OTHER
        del fields["projectId"]
        [row] = json_rows(json.dumps(fields), project_id=None)
        assert isinstance(row, Problem)
        assert "projectId" in row.text

    @pytest.mark.parametrize("inner", [[{}, 1], [{"imageId": IMAGE}]])
    def test_an_object_around_objects_is_named_on_each_line(self, inner: list[object]) -> None:
        [row] = json_rows(json.dumps({"images": inner}))
        assert isinstance(row, Problem)
        assert row.text == "images: holds objects; write these as an array, or each on its own line"

    def test_a_list_whose_first_item_is_no_object_is_around_none(self) -> None:
        [row] = json_rows(json.dumps({"images": [1, {}]}))
        assert isinstance(row, Problem)
        assert "holds objects" not in row.text

    def test_bytes_of_another_encoding_are_told(self) -> None:
        [row] = json_rows(f'{{"imageId": "{IMAGE}", "metadata": {{"a": "K\udcf6ln"}}}}')
        assert isinstance(row, Problem)
        assert row.text.endswith("(not UTF-8? name the encoding, such as --encoding cp1252)")

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("[]", []),
            ("[{},\n\n {\n}\n,{}]", ["1", "3-4", "5"]),
            ("{}\n{\n}\n", ["1", "2-3"]),
            ("\n[{}]", ["2"]),
            ('[{},\n{"a": }\n,{}]', ["1", "2-3"]),
        ],
    )
    def test_every_value_has_the_lines_that_it_stands_on(self, text: str, where: list[str]) -> None:
        assert [bad.where for bad in json_rows(text, json_values) if isinstance(bad, Problem)] == where

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
    folder.mkdir(exist_ok=True)
    with closing(CatalogueDatabase(folder / "rows")) as database:
        database.add(rows, lambda: None)
        yield database


def row(line: int, image: str = IMAGE, project: str = PROJECT, **pairs: str) -> Row:
    return Row(line, project, (image,), tuple(pairs.items()))


class TestDatabase:
    def test_images_of_equal_metadata_are_together_whatever_the_order_of_the_pairs(self, tmp_path: Path) -> None:
        with database_of(tmp_path, row(2, a="1", b="2"), row(3, OTHER, b="2", a="1")) as database:
            groups = [(group.metadata, list(group.image_ids)) for group in bounded(database.groups())]
        assert groups == [({"a": "1", "b": "2"}, [IMAGE, OTHER])]

    def test_an_image_that_is_there_twice_with_the_same_metadata_is_sent_once(self, tmp_path: Path) -> None:
        with database_of(tmp_path, row(2, a="1"), row(3, a="1")) as database:
            assert [list(group.image_ids) for group in bounded(database.groups())] == [[IMAGE]]
            assert [image.line for image in database.images()] == [2]
            assert list(database.problems()) == []

    def test_rows_that_contradict_one_another_are_all_wrong(self, tmp_path: Path) -> None:
        rows = (row(2, a="1"), row(3, OTHER, a="1"), row(5, a="2"), row(7, a="1"))
        with database_of(tmp_path, *rows) as database:
            problems = {bad.line: bad.text for bad in database.problems()}
            assert [list(group.image_ids) for group in bounded(database.groups())] == [[OTHER]]
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
            assert len(groups_of(database)) == 2

    def test_images_of_one_correlation_id_are_together_and_those_without_one_first(self, tmp_path: Path) -> None:
        ids = [str(UUID(int=n)) for n in range(4)]
        rows = [replace(row(2 + n, ids[n], a="1"), correlation_id=own) for n, own in enumerate(["b", None, "a", "b"])]
        with database_of(tmp_path, *rows) as database:
            found = [(group.correlation_id, list(group.image_ids)) for group in bounded(database.groups())]
        assert found == [(None, [ids[1]]), ("a", [ids[2]]), ("b", [ids[0], ids[3]])]

    def test_every_group_has_its_own_project_and_metadata(self, tmp_path: Path) -> None:
        rows = (row(2, a="1"), row(3, OTHER, a="2"), row(4, project=OTHER, a="1"))
        with database_of(tmp_path, *rows) as database:
            found = [(group.project_id, group.metadata, list(group.image_ids)) for group in bounded(database.groups())]
        assert found == [(PROJECT, {"a": "1"}, [IMAGE]), (PROJECT, {"a": "2"}, [OTHER]), (OTHER, {"a": "1"}, [IMAGE])]

    def test_bad_rows_are_counted_and_warnings_are_none(self, tmp_path: Path) -> None:
        found = (Problem(2, 4, "x", rows=3), Problem(5, 5, "y", is_warning=True), Problem(6, 6, "z"), row(7, a="1"))
        with database_of(tmp_path, *found) as database:
            assert database.count_bad_rows() == 4
            assert list(database.problems()) == [found[0], found[2]]
            assert list(database.problems(warnings=True)) == [found[1]]

    def test_rows_are_counted_by_their_lines_and_told_every_few_thousand(self, tmp_path: Path) -> None:
        rows = [row(2 + n, str(UUID(int=n)), a="1") for n in range(4001)]
        problems = [Problem(5000, 5001, "x", rows=2), Problem(5002, 5002, "y", is_warning=True)]
        told: list[int] = []
        with closing(CatalogueDatabase(tmp_path / "rows")) as database:
            database.add([*rows, *problems], lambda: told.append(database.rows_read))
            assert told == [2000, 4000, 4003]
            assert database.count_images() == 4001

    def test_many_images_or_problems_are_not_held_in_memory_either(self, tmp_path: Path) -> None:
        wide = Row(2, PROJECT, tuple(str(UUID(int=n)) for n in range(2000)), (("a", "1"),))
        warnings = [Problem(3 + n, 3 + n, "x", is_warning=True) for n in range(2000)]
        told: list[int] = []
        with closing(CatalogueDatabase(tmp_path / "rows")) as database:
            database.add([wide, *warnings], lambda: told.append(database.rows_read))
        assert told == [1, 1, 1]

    def test_problems_of_one_kind_differ_in_cells_and_numbers(self, tmp_path: Path) -> None:
        texts = ["'a': more than 3", "'it\\'s b': more than 12", "other", '"c" is wrong', "other", '"d" is wrong']
        found = [Problem(9 - n, 9 - n, text, rows=n + 1) for n, text in enumerate(texts)]
        found.append(Problem(2, 2, "looks odd", is_warning=True))
        other_encoding = hint_of_encoding("\udcf6", "utf-8")
        found += [Problem(20 + n, 20 + n, f"{name}: must be text{other_encoding}") for n, name in enumerate("xy")]
        with database_of(tmp_path, *found) as database:
            assert database.kinds(3) == [("… is wrong", 10), ("other", 8), ("…: more than …", 3)]
            assert database.kinds(9)[3:] == [(NAME_THE_ENCODING, 2)]
            assert database.kinds(1) == [("… is wrong", 10)]
            assert database.kinds(3, warnings=True) == [("looks odd", 1)]
            assert [bad.line for bad in database.problems("…: more than …", 5)] == [8, 9]
            assert [bad.line for bad in database.problems("other", 1)] == [5]

    def test_equal_metadata_stays_one_set_whatever_is_remembered(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ops.catalogue.database.MAX_KEYS_KEPT", 2)
        rows = [row(n, str(UUID(int=n)), a=str(n % 3)) for n in range(9)]
        with database_of(tmp_path, *rows) as database:
            assert estimate(database).metadata_sets == 3


def bounded(groups: Iterable[Group]) -> Iterator[Group]:
    """As many groups as any of these catalogues has, and some more."""
    return islice(groups, 100)


def groups_of(database: CatalogueDatabase) -> list[Group]:
    return list(bounded(database.groups()))


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

    def test_columns_are_named_if_they_save_half_of_what_unequal_metadata_costs(self, tmp_path: Path) -> None:
        rows = [row(n, str(UUID(int=n)), two=str(n % 2), four=str(n % 4)) for n in range(4 * 64)]
        with database_of(tmp_path, *rows) as database:
            assert costliest_columns(database, estimate(database)) is None  # full calls cost nothing
        rows = [row(n, str(UUID(int=n)), two=str(n % 2), ten=str(n % 10)) for n in range(100)]
        with database_of(tmp_path / "other", *rows) as database:
            assert estimate(database) == Estimate(images=100, metadata_sets=10, calls=10, least_calls=2)
            assert costliest_columns(database, estimate(database)) == (("ten",), 2)

    def test_of_columns_that_cost_alike_the_one_that_saves_most_is_named(self, tmp_path: Path) -> None:
        rows = [row(n, str(UUID(int=n)), a=str(n % 8), b=str(n // 8)) for n in range(64)]
        with database_of(tmp_path, *rows) as database:
            assert costliest_columns(database, estimate(database)) == (("a",), 8)

    def test_half_of_the_extra_calls_is_enough(self, tmp_path: Path) -> None:
        pairs = [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]
        rows = [row(n, str(UUID(int=n)), a=str(a), b=str(b)) for n, (a, b) in enumerate(pairs)]
        with database_of(tmp_path, *rows) as database:
            assert costliest_columns(database, estimate(database)) == (("a",), 3)  # of 5, and 1 at least

    def test_images_without_a_pair_are_no_set_with_it(self, tmp_path: Path) -> None:
        rows = [row(n, str(UUID(int=n)), kept="x", **({"rare": str(n)} if n % 2 else {})) for n in range(64)]
        with database_of(tmp_path, *rows) as database:
            costs = estimate(database)
            assert costs.calls == 33
            assert costliest_columns(database, costs) == (("rare",), 1)

    def test_costs_are_counted_by_project(self, tmp_path: Path) -> None:
        rows = [row(n, str(UUID(int=n)), project=(PROJECT, OTHER)[n % 2], scan=str(n)) for n in range(40)]
        with database_of(tmp_path, *rows) as database:
            costs = estimate(database)
            assert (costs.calls, costs.least_calls) == (40, 2)
            assert costliest_columns(database, costs) == (("scan",), 2)
            assert costliest_columns(database, costs) == (("scan",), 2)

    def test_no_column_is_blamed_where_none_costs(self, tmp_path: Path) -> None:
        with database_of(tmp_path, row(2, a="1")) as database:
            assert costliest_columns(database, estimate(database)) is None
