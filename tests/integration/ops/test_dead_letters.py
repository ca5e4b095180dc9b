"""`vision-relay dead-letters`: found by what is wrong with them, moved back, dropped, and never lost."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.ops.conftest import Bench, taken


def letter(
    bench: Bench,
    reason: str = "refused",
    code: str = "ErrorImageNotFound",
    age: timedelta = timedelta(0),
    **changes: Any,
) -> str:
    [image] = bench.ids(1)
    document = {
        "projectId": str(bench.project_id),
        "imageIds": [str(image)],
        "metadata": {"decade": "1950s"},
        "correlationId": "catalogue-1",
        "failure": {
            "reason": reason,
            "code": code,
            "message": "",
            "images": {str(image): code},
            "at": (datetime.now(UTC) - age).isoformat(),
            "deliveries": 1,
        },
        **changes,
    }
    return json.dumps(document)


def never_valid(body: str = "junk") -> str:
    failure = {
        "reason": "invalid",
        "code": "InvalidMessage",
        "message": "neither a JSON object nor Base64 of one",
        "images": {},
        "at": datetime.now(UTC).isoformat(),
        "deliveries": 1,
    }
    return json.dumps({"body": body, "failure": failure})


def put(bench: Bench, *bodies: str) -> None:
    for body in bodies:
        bench.letters.send_message(body, time_to_live=-1)


def left(bench: Bench) -> int:
    return bench.letters.get_queue_properties().approximate_message_count or 0


def test_letters_are_listed_with_what_to_do(bench: Bench) -> None:
    put(bench, letter(bench), never_valid())
    result = bench.run("dead-letters", "list")
    assert result.code == 0
    assert "2 dead letters" in result.out
    assert "1  refused ErrorImageNotFound: the project has no such image: upload it" in result.out
    assert result.out.index("upload it") < result.out.index("about"), "the causes come first"
    assert "never a valid message" in result.out


def test_more_than_32_letters_are_all_listed_and_left_where_they_are(bench: Bench) -> None:
    put(bench, *(letter(bench, code=f"Code{number}") for number in range(100)))
    for _ in range(2):
        listed = bench.run("dead-letters", "list", "--json").json
        assert {each["code"] for each in listed} == {f"Code{number}" for number in range(100)}
    assert len(taken(bench.letters)) == 100


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (("--reason", "error"), {"KeyError"}),
        (("--reason", "error", "--reason", "host"), {"KeyError", ""}),
        (("--code", "badrequest*"), {"BadRequestInvalidIds"}),
        (("--older-than", "1h"), {"BadRequestInvalidIds"}),
        (("--newer-than", "1h", "--reason", "refused"), {"ErrorImageNotFound"}),
        (("--project-id", "00000000"), set()),
        (("--correlation-id", "other-*"), {"KeyError"}),
        (("--queue", "watches"), set()),
    ],
)
def test_letters_are_found_by_what_is_said_of_them(bench: Bench, arguments: tuple[str, ...], codes: set[str]) -> None:
    by_the_host = json.dumps({"projectId": str(bench.project_id), "imageIds": ["x"], "metadata": {}})
    put(
        bench,
        letter(bench),
        letter(bench, code="BadRequestInvalidIds", age=timedelta(hours=2)),
        letter(bench, reason="error", code="KeyError", correlationId="other-1"),
        by_the_host,
    )
    listed = bench.run("dead-letters", "list", "--json", *arguments).json
    assert {each["code"] for each in listed} == codes


def test_a_filter_that_matches_nothing_does_not_read_as_no_dead_letters(bench: Bench) -> None:
    put(bench, letter(bench), letter(bench))
    for command in ("list", "redrive", "drop"):
        result = bench.run(
            "dead-letters", command, "--dry-run" if command != "list" else "--json", "--code", "ErrImage*"
        )
        assert result.code == 0
        assert "no dead letter matches; 2 others do not" in result.out + result.err


def test_the_case_of_a_reason_does_not_matter(bench: Bench) -> None:
    put(bench, letter(bench))
    assert len(bench.run("dead-letters", "list", "--json", "--reason", "REFUSED").json) == 1


def test_a_reason_that_there_is_not_is_refused(bench: Bench) -> None:
    result = bench.run("dead-letters", "list", "--reason", "refsed")
    assert result.code == 2
    assert "'refused'" in result.err


@pytest.mark.parametrize("option", ["--id", "--code", "--project-id", "--correlation-id"])
@pytest.mark.parametrize("command", ["list", "redrive", "drop"])
def test_an_empty_text_does_not_mean_every_letter(bench: Bench, command: str, option: str) -> None:
    put(bench, letter(bench))
    result = bench.run("dead-letters", command, *(["--yes"] if command != "list" else []), option, "")
    assert result.code == 2
    assert "is empty" in result.err
    assert bench.run("dead-letters", "show", "").code == 2
    assert left(bench) == 1


def test_one_is_shown_in_full(bench: Bench) -> None:
    put(bench, letter(bench))
    [listed] = bench.run("dead-letters", "list", "--json").json
    result = bench.run("dead-letters", "show", listed["id"][:8])
    assert result.code == 0
    assert '"decade": "1950s"' in result.out
    assert bench.run("dead-letters", "show", listed["id"].upper()).code == 0
    assert bench.run("dead-letters", "show", "nothing-like-it").code == 1


def test_redriving_moves_what_is_meant_and_leaves_the_rest(bench: Bench) -> None:
    put(bench, *(letter(bench) for _ in range(40)), letter(bench, code="NotFoundProject"), never_valid())
    shown = bench.run("dead-letters", "redrive", "--code", "ErrorImageNotFound", "--dry-run")
    assert "40 letters would be moved back" in shown.out
    assert left(bench) == 42
    done = bench.run("dead-letters", "redrive", "--code", "ErrorImageNotFound", "--json")
    assert done.json == {"done": 40, "left": 2, "neverValid": 0, "leased": 0}
    assert len(taken(bench.updates)) == 40
    assert len(taken(bench.letters)) == 2, "and they can be seen at once"


def test_what_never_was_valid_is_moved_only_if_asked_for(bench: Bench) -> None:
    put(bench, never_valid())
    assert bench.run("dead-letters", "redrive", "--json").json["neverValid"] == 1
    assert bench.run("dead-letters", "redrive", "--reason", "invalid", "--json").json["done"] == 1
    assert left(bench) == 0


def test_redriving_ends_although_letters_come_back(bench: Bench) -> None:
    body = letter(bench)
    put(bench, body)
    process = bench.start("dead-letters", "redrive", "--yes")
    while process.is_alive():
        for text in taken(bench.updates):
            bench.letters.send_message(text, time_to_live=-1)
    assert process.exitcode == 0, bench.stderr
    assert left(bench) + len(taken(bench.updates)) == 1


def test_nothing_is_dropped_unless_it_is_said_what_and_that_it_may_go(bench: Bench) -> None:
    put(bench, letter(bench))
    assert bench.run("dead-letters", "drop").code == 2
    assert bench.run("dead-letters", "drop", "--all").code == 2
    assert left(bench) == 1


def test_what_is_dropped_can_be_saved_and_sent_again(bench: Bench) -> None:
    put(bench, letter(bench), letter(bench, code="NotFoundProject"))
    done = bench.run("dead-letters", "drop", "--code", "NotFoundProject", "--yes", "--save", "dropped.jsonl")
    assert done.code == 0
    assert left(bench) == 1
    [line] = (bench.folder / "dropped.jsonl").read_text().splitlines()
    assert json.loads(line)["failure"]["code"] == "NotFoundProject"
