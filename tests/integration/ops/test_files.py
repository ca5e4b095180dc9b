"""Catalogues as museums, archives and newspapers have them: every value reaches the queue as it stands in the file.

The files are made here. Their quoting, encodings, separators, widths and habits are those of real exports.
"""

import base64
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

import pytest
from openpyxl import Workbook

from tests.integration.ops.conftest import Bench, taken

Pairs = dict[str, str]


@dataclass
class Kind:
    """A kind of file: how it is made of ids, what each image is to get, and the options that it needs."""

    name: str
    make: Callable[[Sequence[UUID], UUID], bytes]
    pairs: Callable[[int], Pairs]
    options: tuple[str, ...] = ()
    images: int = 3
    in_file: bool = field(default=False, kw_only=True)
    """Whether the project's id stands in the file."""


def as_csv(
    rows: Iterable[Sequence[str]], delimiter: str = ",", end: str = "\r\n", quoting: int = csv.QUOTE_MINIMAL
) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


def excel_german(ids: Sequence[UUID], project: UUID) -> bytes:
    rows = [(str(image), "Köln, Straßenbahn", "1.234,50 €") for image in ids]
    return as_csv([("Bild ID", "Ort", "Wert"), *rows], ";").encode("cp1252")


def excel_utf8(ids: Sequence[UUID], project: UUID) -> bytes:
    rows = [(str(image), str(project), 'Šibenik, "old" harbour') for image in ids]
    return b"\xef\xbb\xbf" + as_csv([("image_id", "project_id", "title"), *rows]).encode()


def excel_unicode_text(ids: Sequence[UUID], project: UUID) -> bytes:
    return as_csv([("ID", "題名"), *((str(image), "港の風景") for image in ids)], "\t").encode("utf-16")


def utf16_without_a_mark(ids: Sequence[UUID], project: UUID) -> bytes:
    return as_csv([("ID", "title"), *((str(image), "Gdańsk") for image in ids)], "\t").encode("utf-16-le")


def collection_database(ids: Sequence[UUID], project: UUID) -> bytes:
    rows = [(str(image), "Glass negative.\nCracked, upper left.", 'So-called "large" plate') for image in ids]
    return as_csv([("uuid", "description", "note"), *rows], quoting=csv.QUOTE_ALL, end="\n").encode()


def unquoted_tsv(ids: Sequence[UUID], project: UUID) -> bytes:
    rows = [(str(image), '"Rotterdam" leaving port', '5" x 7"') for image in ids]
    return "".join("\t".join(row) + "\n" for row in [("id", "title", "size"), *rows]).encode()


def with_sep_line(ids: Sequence[UUID], project: UUID) -> bytes:
    return ("sep=;\r\n" + as_csv([("id", "a,b,c,d"), *((str(image), "x,y") for image in ids)], ";")).encode()


def zipped_dump(ids: Sequence[UUID], project: UUID) -> bytes:
    rows = [(str(project), str(image), "Øresund") for image in ids]
    return gzip.compress(as_csv([("project", "image", "place"), *rows], "|", "\n").encode())


def workbook(ids: Sequence[UUID], project: UUID) -> bytes:
    book = Workbook()
    book.create_sheet("Empty")
    sheet = book.worksheets[0]
    sheet.append(["Image ID", "year", "taken", "seen", "width", "colour", "note"])
    for image in ids:
        sheet.append([str(image), 1954, date(1954, 5, 1), datetime.fromisoformat("1954-05-01 09:30"), 24.5, True, None])
    sheet.append([None] * 7)
    return saved(book)


def saved(book: Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def second_sheet(ids: Sequence[UUID], project: UUID) -> bytes:
    book = Workbook()
    book.worksheets[0].append(["About this export"])
    sheet = book.create_sheet("Plates & prints")
    sheet.append(["id", "title"])
    for image in ids:
        sheet.append([str(image), "Line one\nline two"])
    return saved(book)


def json_array(ids: Sequence[UUID], project: UUID) -> bytes:
    objects = [
        {"projectId": str(project), "imageId": str(image), "metadata": {"title": "Côte d'Azur"}} for image in ids
    ]
    return json.dumps(objects, indent=2, ensure_ascii=False).encode()


def json_over_lines(ids: Sequence[UUID], project: UUID) -> bytes:
    objects = ({"imageIds": [str(image)], "metadata": {"title": "T"}} for image in ids)
    return "\n".join(json.dumps(each, indent=2) for each in objects).encode()


def wide_newspaper(ids: Sequence[UUID], project: UUID) -> bytes:
    header = ["Issue", "Image-UUID", *(f"field {n}" for n in range(38))]
    rows = [["1912-04-16", str(image), *("x" for _ in range(38))] for image in ids]
    return as_csv([header, *rows]).encode()


def excel_with_empty_rows(ids: Sequence[UUID], project: UUID) -> bytes:
    lines = ["id,title,place,,", *(f"{image},T" for image in ids[:2]), ",,,,", "  ,,", f"{ids[2]},T,,,,,,"]
    return "\r\n".join(lines).encode()


def ids_of_databases(ids: Sequence[UUID], project: UUID) -> bytes:
    written = (f"{{{str(ids[0]).upper()}}}", ids[1].hex, f"\u200burn:uuid:{ids[2]} ")
    rows = [(f"scan-{n}.tif", image, f"{{{project}}}", "T") for n, image in enumerate(written)]
    return as_csv([("image", "id", "project", "title"), *rows]).encode()


def same_names(ids: Sequence[UUID], project: UUID) -> bytes:
    return as_csv([("id", "notes", "title", "notes"), *((str(image), "a", "T", "b") for image in ids)]).encode()


def old_mac(ids: Sequence[UUID], project: UUID) -> bytes:
    return as_csv([("id", "lieu"), *((str(image), "Besançon") for image in ids)], ";", "\r").encode("mac_roman")


def always(**pairs: str) -> Callable[[int], Pairs]:
    return lambda _: pairs


KINDS = [
    Kind(
        "export.csv",
        excel_german,
        always(Ort="Köln, Straßenbahn", Wert="1.234,50 €"),
        ("--encoding", "cp1252", "--image", "Bild ID"),
    ),
    Kind("export.csv", excel_utf8, always(title='Šibenik, "old" harbour'), in_file=True),
    Kind("export.csv", excel_utf8, always(title='Šibenik, "old" harbour'), ("--encoding", "utf-8"), in_file=True),
    Kind("export.txt", excel_unicode_text, always(題名="港の風景")),
    Kind("export.txt", utf16_without_a_mark, always(title="Gdańsk")),
    Kind(
        "export.csv",
        collection_database,
        always(description="Glass negative.\nCracked, upper left.", note='So-called "large" plate'),
    ),
    Kind("export.tsv", unquoted_tsv, always(title='"Rotterdam" leaving port', size='5" x 7"'), ("--quoting", "none")),
    Kind(
        "export.tsv",
        unquoted_tsv,
        always(title='"Rotterdam" leaving port'),
        ("--quoting", "none", "--delimiter", "tab", "--ignore", "size"),
    ),
    Kind("export.csv", with_sep_line, always(**{"a,b,c,d": "x,y"})),
    Kind("dump.csv.gz", zipped_dump, always(place="Øresund"), in_file=True),
    Kind(
        "export.xlsx",
        workbook,
        always(year="1954", taken="1954-05-01", seen="1954-05-01 09:30:00", width="24.5", colour="TRUE"),
    ),
    Kind("export.xlsx", second_sheet, always(title="Line one\nline two"), ("--sheet", "Plates & prints")),
    Kind("export.json", json_array, always(title="Côte d'Azur"), in_file=True),
    Kind("export.json", json_over_lines, always(title="T")),
    Kind(
        "paper.csv",
        wide_newspaper,
        always(date="1912-04-16", **{"field 3": "x"}),
        ("--metadata", "Issue=date", "--metadata", "field 3"),
    ),
    Kind("export.csv", excel_with_empty_rows, always(title="T")),
    Kind("export.csv", ids_of_databases, lambda n: {"image": f"scan-{n}.tif", "title": "T"}, in_file=True),
    Kind("export.csv", same_names, always(title="T"), ("--ignore", "notes")),
    Kind("export.csv", old_mac, always(lieu="Besançon"), ("--encoding", "mac_roman")),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.make.__name__} {' '.join(kind.options)}".strip())
def test_every_value_arrives_as_it_stands_in_the_file(bench: Bench, kind: Kind) -> None:
    ids = bench.ids(kind.images)
    (bench.folder / kind.name).write_bytes(kind.make(ids, bench.project_id))
    project = () if kind.in_file else ("--project-id", str(bench.project_id))
    result = bench.run("send", kind.name, *project, *kind.options, "--json")
    assert result.code == 0, result.err
    assert (result.json["rows"], result.json["badRows"], result.json["warnings"]) == (len(ids), 0, [])
    messages = [json.loads(base64.b64decode(text)) for text in taken(bench.updates)]
    found = {image: message["metadata"] for message in messages for image in message["imageIds"]}
    assert found == {str(image): kind.pairs(n) for n, image in enumerate(ids)}
    assert {message["projectId"] for message in messages} == {str(bench.project_id)}
