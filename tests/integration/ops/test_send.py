"""`vision-relay send`: what reaches the queue, what is said before, and what is done about wrong rows."""

import base64
import csv
import json
import os
import re
import shlex
import threading
from collections import Counter
from typing import Any

import pytest

from tests.integration.ops.conftest import Bench, taken


def sent(bench: Bench) -> list[dict[str, Any]]:
    return [json.loads(base64.b64decode(text)) for text in taken(bench.updates)]


def images_of(messages: list[dict[str, Any]]) -> Counter[str]:
    return Counter(image for message in messages for image in message["imageIds"])


def test_each_image_is_sent_once_with_its_metadata(bench: Bench) -> None:
    ids = bench.ids(300)
    bench.catalogue(ids, sets=3)
    result = bench.run("send", "catalogue.csv")
    assert result.code == 0, result.err
    messages = sent(bench)
    assert images_of(messages) == Counter(map(str, ids))
    assert len(messages) == 3, "images of equal metadata share messages"
    for message in messages:
        position = ids.index(next(image for image in ids if str(image) == message["imageIds"][0]))
        assert message["metadata"] == {"collection": f"Collection {position % 3}"}
        assert message["projectId"] == str(bench.project_id)
        assert message["correlationId"].startswith("catalogue-")


def test_messages_are_plain_where_the_settings_say_so(bench: Bench) -> None:
    bench.catalogue(bench.ids(1))
    assert bench.run("send", "catalogue.csv", environment={"MESSAGE_ENCODING": "none"}).code == 0
    [text] = taken(bench.updates)
    assert json.loads(text)["metadata"] == {"collection": "Collection 0"}


def test_the_mapping_and_the_cost_are_shown_before(bench: Bench) -> None:
    bench.catalogue(bench.ids(130), sets=2)
    result = bench.run("send", "catalogue.csv", "--dry-run")
    assert result.code == 0
    assert "metadata 'collection'" in result.out
    assert "calls of up to 64 images" in result.out
    assert taken(bench.updates) == [], "nothing is sent"
    options = ["--skip-invalid", "--correlation-id=the first"]
    [command] = re.findall(
        "to send it: vision-relay (.*)", bench.run("send", "catalogue.csv", "--dry-run", *options).err
    )
    assert shlex.split(command) == ["send", "catalogue.csv", *options]
    said = bench.run("send", "catalogue.csv", "--dry-run", "--json").json
    assert (said["images"], said["calls"], said["leastCalls"], said["metadataSets"]) == (130, 4, 3, 2)
    assert said["seconds"] == pytest.approx(4 / 100)
    assert said["costliestColumns"] == {"names": ["collection"], "callsWithout": 3}


def test_every_wrong_row_is_named_with_file_and_line_and_nothing_is_sent(bench: Bench) -> None:
    good, twice = bench.ids(2)
    bench.write(
        "wrong.csv",
        "image_id,project_id,decade",
        f"{good},{bench.project_id},1950s",
        f"not-a-uuid,{bench.project_id},1950s",
        f"{good},harbour,1950s",
        f"{good},{bench.project_id}",
        f"{good},{bench.project_id},",
        f"{twice},{bench.project_id},1950s",
        f"{twice},{bench.project_id},1960s",
        f"{good},{bench.project_id},{'x' * 257}",
        '"unclosed',
    )
    result = bench.run("send", "wrong.csv")
    assert result.code == 1
    named = {int(line.split(":")[1]) for line in result.err.splitlines() if line.startswith("wrong.csv:")}
    assert named == {3, 4, 5, 6, 7, 8, 9, 10}
    assert "wrong.csv:3: image_id: must be a UUID" in result.err
    assert "wrong.csv:4: project_id: must be a UUID" in result.err
    assert "wrong.csv:7: its image has other metadata on line 8" in result.err
    assert taken(bench.updates) == []


def test_skip_invalid_sends_the_rest_and_writes_the_others_beside_it(bench: Bench) -> None:
    ids = bench.ids(3)
    bench.write(
        "catalogue.csv",
        "image_id,project_id,decade",
        f"{ids[0]},{bench.project_id},1950s",
        f"broken,{bench.project_id},1950s",
        f"{ids[1]},{bench.project_id},1960s",
    )
    result = bench.run("send", "catalogue.csv", "--skip-invalid")
    assert result.code == 0, result.err
    assert images_of(sent(bench)) == Counter(map(str, ids[:2]))
    beside = bench.folder / "catalogue.invalid.csv"
    rows = list(csv.reader(beside.read_text().splitlines()))
    assert rows[1][:3] == ["broken", str(bench.project_id), "1950s"]
    assert "must be a UUID" in rows[1][3]
    beside.write_text(beside.read_text().replace("broken", str(ids[2])))
    assert bench.run("send", "catalogue.invalid.csv").code == 0, "what is mended there can be sent as it is"
    [message] = sent(bench)
    assert message["imageIds"] == [str(ids[2])]
    assert message["metadata"] == {"decade": "1950s"}, "what was wrong is no metadata"


def test_rows_that_were_mended_wrongly_are_told_anew(bench: Bench) -> None:
    bench.write("catalogue.csv", "image_id,decade", f"{bench.ids(1)[0]},1950s", "broken,1950s", "many,more,columns")
    arguments = ("--skip-invalid", "--project-id", str(bench.project_id))
    assert bench.run("send", "catalogue.csv", *arguments).code == 0
    mended = bench.folder / "catalogue.invalid.csv"
    mended.write_text(mended.read_text().replace("many,more,columns,", f"{bench.ids(1)[0]},1960s,"))
    assert bench.run("send", "catalogue.invalid.csv", *arguments).code == 0
    header, *rows = csv.reader((bench.folder / "catalogue.invalid.invalid.csv").read_text().splitlines())
    assert header == ["image_id", "decade", "vision-relay: problem"]
    [[image, decade, problem]] = rows
    assert (image, decade) == ("broken", "1950s")
    assert "must be a UUID" in problem


def test_wrong_lines_of_json_are_kept_as_they_are(bench: Bench) -> None:
    good = json.dumps({"imageId": str(bench.ids(1)[0]), "metadata": {"a": "b"}})
    bench.write("lines.jsonl", good, '{"imageId": ', "[]")
    result = bench.run("send", "lines.jsonl", "--skip-invalid", "--project-id", str(bench.project_id), "--json")
    assert result.code == 0, result.err
    assert [problem["line"] for problem in result.json["problems"]] == [2, 3]
    assert (bench.folder / "lines.invalid.jsonl").read_text() == '{"imageId": \n[]\n'


def test_a_file_of_wrong_rows_alone_sends_nothing(bench: Bench) -> None:
    bench.write("catalogue.csv", "image_id,decade", "broken,1950s")
    result = bench.run("send", "catalogue.csv", "--skip-invalid", "--project-id", str(bench.project_id))
    assert result.code == 1
    assert "no row can be sent" in result.err
    bench.write("catalogue.csv", "image_id,project_id,decade")
    assert "no row can be sent: the file has none" in bench.run("send", "catalogue.csv").err


def test_half_mended_rows_are_never_overwritten(bench: Bench) -> None:
    bench.write("catalogue.invalid.csv", "half mended")
    bench.write("catalogue.csv", "image_id,decade", f"{bench.ids(1)[0]},1950s", "broken,1950s")
    assert bench.run("send", "catalogue.csv", "--skip-invalid", "--project-id", str(bench.project_id)).code == 0
    assert (bench.folder / "catalogue.invalid.csv").read_text() == "half mended\n"
    assert "broken" in (bench.folder / "catalogue.invalid-2.csv").read_text()


def test_json_lines_come_from_standard_input(bench: Bench) -> None:
    ids = bench.ids(3)
    lines = [
        {"projectId": str(bench.project_id), "imageIds": [str(ids[0]), str(ids[1])], "metadata": {"a": "b"}},
        {"projectId": str(bench.project_id), "imageId": str(ids[2]), "metadata": {"a": "b"}},
    ]
    result = bench.run("send", "-", stdin="\n".join(map(json.dumps, lines)))
    assert result.code == 0, result.err
    [message] = sent(bench)
    assert images_of([message]) == Counter(map(str, ids))


def test_a_pipe_is_read_like_standard_input(bench: Bench) -> None:
    path = bench.folder / "pipe"
    os.mkfifo(path)
    image = bench.ids(1)[0]
    writer = threading.Thread(target=path.write_text, args=(f"id,a\n{image},x\n",))
    writer.start()
    result = bench.run("send", "pipe", "--project-id", str(bench.project_id))
    writer.join(10)
    assert result.code == 0, result.err
    assert images_of(sent(bench)) == Counter([str(image)])


def test_a_wrong_line_of_json_is_named(bench: Bench) -> None:
    result = bench.run("send", "-", stdin='{"projectId": 1}\n{"a": \n[]\n')
    assert result.code == 1
    assert "standard input:1: projectId: must be" in result.err
    assert "standard input:2: not JSON" in result.err
    assert "standard input:3: not a JSON object" in result.err


def test_what_was_sent_is_not_sent_again_unless_asked(bench: Bench) -> None:
    bench.catalogue(bench.ids(3))
    assert bench.run("send", "catalogue.csv").code == 0
    again = bench.run("send", "catalogue.csv")
    assert again.code == 0
    assert "sent before" in again.err
    assert len(taken(bench.updates)) == 1
    assert bench.run("send", "catalogue.csv", "--again").code == 0
    assert len(taken(bench.updates)) == 1


def test_a_queue_that_does_not_exist_is_told_and_not_made(bench: Bench) -> None:
    bench.catalogue(bench.ids(1))
    result = bench.run("send", "catalogue.csv", environment={"METADATA_UPDATES_QUEUE": "nobody-made-this"})
    assert result.code == 3
    assert "no queue nobody-made-this" in result.err


def test_semicolons_and_windows_letters_are_read(bench: Bench) -> None:
    [image] = bench.ids(1)
    path = bench.folder / "excel.csv"
    path.write_bytes(f"Image ID;Ort\r\n{image};Köln\r\n".encode("cp1252"))
    arguments = ("send", "excel.csv", "--project-id", str(bench.project_id))
    wrong = bench.run(*arguments)
    assert wrong.code == 1
    assert "excel.csv:2:" in wrong.err
    assert "--encoding cp1252" in wrong.err
    assert bench.run(*arguments, "--encoding", "cp1252").code == 0
    [message] = sent(bench)
    assert message["metadata"] == {"Ort": "Köln"}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("a,b", "1,2"), "no column looks like the image's id among 'a', 'b'; name it: --image COLUMN"),
        (("id,b", "1,2"), "--project-id UUID"),
        (("id,id", "1,2"), "two columns have the same name"),
        ((), "is empty"),
    ],
)
def test_a_header_that_cannot_be_used_says_which_option_helps(bench: Bench, lines: tuple[str, ...], told: str) -> None:
    bench.write("catalogue.csv", *lines)
    result = bench.run("send", "catalogue.csv")
    assert result.code == 2
    assert told in result.err


def test_a_file_that_is_not_there_is_an_error_of_one_line(bench: Bench) -> None:
    result = bench.run("send", "nowhere.csv")
    assert result.code == 1
    assert result.err.splitlines() == ["error: nowhere.csv: No such file or directory"]
