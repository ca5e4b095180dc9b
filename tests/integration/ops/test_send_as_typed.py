"""`vision-relay send` as people type it: what it prints next works when pasted, what is wrong ends in a sentence."""

import base64
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from openpyxl import Workbook

from shared.messages.update import parse_update
from tests.integration.ops.conftest import PROJECT_ROOT, Bench, Control, taken


def printed_command(text: str, name: str) -> list[str]:
    """The arguments of the command of this name that a hint ends with."""
    [line] = [line for line in text.splitlines() if f"vision-relay {name} " in line]
    return shlex.split(line[line.index("vision-relay") :].removesuffix(" sends all of it once more"))[1:]


class TestNextCommand:
    OPTIONS = ("--image=Scan no.", "--ignore=it's", "--ignore=--odd", "--correlation=batch", "--delimiter=tab")

    def write(self, bench: Bench, image: object) -> str:
        name = "Müller's list.tsv"
        bench.write(name, "Scan no.\tit's\t--odd\tbatch\tdecade", f"{image}\tx\ty\tB1\t1950s")
        return name

    def test_what_comes_of_it_is_asked_with_the_same_options(self, bench: Bench, control: Control) -> None:
        [image] = bench.ids(1)
        control.add_images(bench.project_id, [image], {"decade": "1950s"})
        arguments = (self.write(bench, image), "--project-id", str(bench.project_id), *self.OPTIONS)
        sent = bench.run("send", *arguments)
        assert sent.code == 0, sent.err
        taken(bench.updates)
        pasted = printed_command(sent.err, "verify")
        result = bench.run(*[word for word in pasted if word != "--wait"], "--json")
        assert result.code == 0, result.err
        assert result.json["applied"] == 1

    def test_what_verify_proposes_sends_the_same(self, bench: Bench, control: Control) -> None:
        [image] = bench.ids(1)
        control.add_images(bench.project_id, [image])
        arguments = (self.write(bench, image), "--project-id", str(bench.project_id), *self.OPTIONS)
        looked = bench.run("verify", *arguments)
        result = bench.run(*printed_command(looked.err, "send"))
        assert result.code == 0, result.err
        [message] = [json.loads(base64.b64decode(text)) for text in taken(bench.updates)]
        assert (message["metadata"], message["correlationId"]) == ({"decade": "1950s"}, "B1")

    @pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
    def test_the_rows_that_are_left_out_are_sent_with_the_command_that_is_printed(
        self, bench: Bench, encoding: str
    ) -> None:
        ids = bench.ids(2)
        path = bench.folder / "export.txt"
        path.write_bytes(f"Bild;Ort\n{ids[0]};Köln\nbroken;Düren\n".encode(encoding))
        options = ("--image", "Bild", "--encoding", encoding, "--project-id", str(bench.project_id))
        sent = bench.run("send", "export.txt", "--skip-invalid", *options)
        assert sent.code == 0, sent.err
        taken(bench.updates)
        beside = bench.folder / "export.invalid.txt"
        beside.write_bytes(beside.read_bytes().decode(encoding).replace("broken", str(ids[1])).encode(encoding))
        result = bench.run(*printed_command(sent.err, "send"))
        assert result.code == 0, result.err
        [message] = [json.loads(base64.b64decode(text)) for text in taken(bench.updates)]
        assert (message["imageIds"], message["metadata"]) == ([str(ids[1])], {"Ort": "Düren"})


@pytest.mark.parametrize("command", ["send", "verify"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--delimiter", ";;"), "--delimiter ';;': must be one character, or tab"),
        (("--encoding", "nosuch"), "--encoding nosuch: there is no such encoding"),
        (("--encoding", "idna"), "--encoding idna: this is no encoding of text files"),
        (("--encoding", "base64"), "--encoding base64: this is no encoding of text files"),
        (("--project-id", "nope"), "--project-id 'nope': must be a UUID; --project names a column"),
        (("--project", "project_id", "--project-id", str(uuid4())), "only one can be meant"),
        (("--ignore", "colection"), "--ignore 'colection': there is no such column"),
        (("--image", "nope"), "there is no column 'nope'"),
        (("--sheet", "A"), "--sheet: this has no meaning for csv"),
        (("--format", "xlsx"), "--format xlsx: the file is no workbook"),
    ],
)
def test_a_wrong_option_ends_in_one_sentence(bench: Bench, command: str, options: tuple[str, ...], told: str) -> None:
    bench.catalogue(bench.ids(30))
    result = bench.run(command, "catalogue.csv", *options)
    assert result.code == 2
    [line] = result.err.splitlines()
    assert told in line


class TestCorrelationIds:
    def test_one_that_no_message_may_have_is_refused_before_anything_is_read(self, bench: Bench) -> None:
        bench.catalogue(bench.ids(3))
        result = bench.run("send", "catalogue.csv", "--correlation-id", "x" * 200)
        assert result.code == 2
        [line] = result.err.splitlines()
        assert line.startswith("error: --correlation-id: ")
        assert "128 characters" in line

    @pytest.mark.parametrize("name", [b"K\xf6ln.csv", b"a\nb.csv", b"x" * 200 + b".csv", "港.csv".encode()])
    def test_the_one_that_is_made_of_the_files_name_is_valid(self, bench: Bench, name: bytes) -> None:
        bench.catalogue(bench.ids(1)).rename(bench.folder / os.fsdecode(name))
        result = bench.run("send", os.fsdecode(name))
        assert result.code == 0, result.err
        [text] = taken(bench.updates)
        assert parse_update(base64.b64decode(text)).correlation_id

    def test_a_row_is_checked_with_the_one_that_it_will_get(self, bench: Bench) -> None:
        bench.write("a.csv", "id,correlation id,a", f"{uuid4()},,x", f"{uuid4()},{'y' * 129},x")
        result = bench.run("send", "a.csv", "--project-id", str(bench.project_id))
        assert result.code == 1
        assert "a.csv:3: correlation id: " in result.err


class TestManyWrongRows:
    def test_a_mistake_in_the_header_is_one_mistake(self, bench: Bench) -> None:
        rows = (f"scan-{n},{image},x" for n, image in enumerate(bench.ids(3000)))
        bench.write("a.csv", "Scan no.,id,title", *rows)
        result = bench.run("send", "a.csv", "--image", "Scan no.", "--project-id", str(bench.project_id))
        assert result.code == 1
        lines = result.err.splitlines()
        assert len([line for line in lines if line.startswith("a.csv:")]) == 20
        assert "… and 2,980 more rows like the last; --json names all" in lines
        assert "is 'Scan no.' the column with the image's id? 'id' holds UUIDs: --image 'id'" in result.err
        named = bench.run("send", "a.csv", "--image", "Scan no.", "--project-id", str(bench.project_id), "--json").json[
            "problems"
        ]
        assert [problem["line"] for problem in named] == list(range(2, 3002))

    def test_a_wrong_encoding_is_one_sentence_and_a_count(self, bench: Bench) -> None:
        rows = "".join(f"{image},Künstler,{'Köln' if n % 2 else 'x'}\n" for n, image in enumerate(bench.ids(60)))
        (bench.folder / "a.csv").write_bytes(f"id,title,place\n{rows}".encode("cp1252"))
        result = bench.run("send", "a.csv", "--project-id", str(bench.project_id))
        assert result.code == 1
        [named] = [line for line in result.err.splitlines() if line.startswith("a.csv:")]
        assert "name the encoding, such as --encoding cp1252" in named
        assert "… and 59 more rows like the last" in result.err

    def test_each_kind_is_named_by_its_first_rows(self, bench: Bench) -> None:
        rows = [*(f"scan-{n},x" for n in range(50)), *(f"{image},{'y' * 300}" for image in bench.ids(25))]
        bench.write("a.csv", "id,title", *rows)
        result = bench.run("send", "a.csv", "--project-id", str(bench.project_id))
        assert "… and 30 more rows like the last" in result.err
        assert "… and 5 more rows like the last" in result.err


ROWS = int(os.environ.get("CATALOGUE_ROWS", "20000"))
DELIMITERS = {"csv": ",", "tsv": "\t"}


def lines(kind: str, form: str, count: int) -> Iterator[str]:
    if form in DELIMITERS:
        yield DELIMITERS[form].join(("image_id", "project_id", "title", "inventory"))
    for n in range(count):
        image = f"scan-{n}" if kind == "bad" else UUID(int=(n * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128)
        metadata = {"title": f"Harbour seen from the east, number {n}", "inventory": f"INV-{n:07}"}
        if form in DELIMITERS:
            yield DELIMITERS[form].join((str(image), str(UUID(int=1)), *metadata.values()))
        else:
            yield json.dumps({"projectId": str(UUID(int=1)), "imageId": str(image), "metadata": metadata})


@pytest.fixture(scope="module")
def peak(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], int]:
    """What a check of a file has resident at most, in the system's unit."""

    @cache
    def measure(name: str) -> int:
        settings = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "PYTHONPATH": str(PROJECT_ROOT)}
        with subprocess.Popen(
            [sys.executable, "-m", "ops", "send", name, "--dry-run", "--json"],
            cwd=folder,
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in (0, 1)
        return usage.ru_maxrss

    folder = tmp_path_factory.mktemp("large")
    for form in (*DELIMITERS, "jsonl"):
        for kind, count in (("one", 1), ("distinct", ROWS), ("bad", 2 * ROWS)):
            text = "".join(f"{line}\n" for line in lines(kind, form, count))
            (folder / f"{kind}.{form}").write_text(text)
    return measure


@pytest.mark.parametrize("form", [*DELIMITERS, "jsonl"])
@pytest.mark.parametrize("kind", ["distinct", "bad"])
def test_memory_does_not_grow_with_the_file(peak: Callable[[str], int], kind: str, form: str) -> None:
    assert peak(f"{kind}.{form}") <= 1.3 * peak(f"one.{form}")


def test_the_how_to_is_typed_as_it_is_printed(bench: Bench, control: Control) -> None:
    text = (PROJECT_ROOT / "docs" / "how-to" / "send-a-catalogue.md").read_text()
    commands = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("vision-relay ")]
    [project_id] = {word for words in commands for option, word in pairwise(words) if option == "--project-id"}
    first, second = bench.ids(2)
    control.add_images(bench.project_id, [first], {"collection": "Collection 0"})
    control.add_images(UUID(project_id), [second], {"decade": "1950s"})
    bench.catalogue([first])
    book = Workbook()
    for row in (["Scan id", "decade", "notes"], [str(second), "1950s", "not sent"]):
        book.worksheets[0].append(row)
    book.save(bench.folder / "scans.xlsx")
    for command in commands:
        result = bench.run(*command)
        assert result.code == 0, f"{command}: {result.err}"
        assert len(taken(bench.updates)) == ("send" in command and "--dry-run" not in command)
    assert len(commands) == 6
