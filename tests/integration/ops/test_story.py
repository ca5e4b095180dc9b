"""The whole story of a catalogue in five commands: sent, looked at, mended, redriven, proven.

37 rows are wrong: some are not valid, which is told before anything is sent; the images of the others are missing, as
only Custom Vision knows. `STORY_ROWS=20000` is the size that the README speaks of.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from local.host.process import HostProcess
from tests.integration.ops.conftest import PROJECT_ROOT, Bench, Control

ROWS = int(os.environ.get("STORY_ROWS", "2000"))
NOT_VALID = 20
NOT_UPLOADED = 17
SETS = 6


@pytest.fixture
def host(bench: Bench, tmp_path: Path) -> Iterator[None]:
    """The app itself, on the local functions host."""
    process = HostProcess(PROJECT_ROOT, bench.settings, tmp_path / "host.log")
    asyncio.run(process.start())
    yield
    asyncio.run(process.stop())


def pairs(row: int) -> dict[str, str]:
    return {"collection": f"Collection {row % SETS}", "decade": "1950s"}


def write_catalogue(bench: Bench, ids: list[UUID], broken: set[int]) -> None:
    def line(row: int) -> str:
        image = f"scan-{row}" if row in broken else str(ids[row])
        return ",".join([image, str(bench.project_id), *pairs(row).values()])

    bench.write("catalogue.csv", "image_id,project_id,collection,decade", *map(line, range(len(ids))))


def test_a_catalogue_is_sent_mended_redriven_and_proven_in_five_commands(
    bench: Bench, control: Control, host: None
) -> None:
    ids = bench.ids(ROWS)
    broken = set(range(5, ROWS, ROWS // NOT_VALID))
    not_uploaded = [ids[row] for row in range(7, ROWS, ROWS // NOT_UPLOADED)][:NOT_UPLOADED]
    assert len(broken) + len(not_uploaded) == 37
    for first in range(0, ROWS, 5000):
        there = [image for image in ids[first : first + 5000] if image not in not_uploaded]
        control.add_images(bench.project_id, there)
    write_catalogue(bench, ids, broken)

    told = bench.run("send", "catalogue.csv")  # 1
    assert told.code == 1
    named = [line for line in told.err.splitlines() if line.startswith("catalogue.csv:")]
    assert len(named) == NOT_VALID

    write_catalogue(bench, ids, broken=set())
    sent = bench.run("send", "catalogue.csv", "--json")  # 2
    assert sent.code == 0, sent.err
    assert sent.json["imagesSent"] == ROWS

    looked = bench.run("verify", "catalogue.csv", "--wait", "--timeout", "2m", "--json")  # 3
    assert looked.code == 1
    assert {each["imageId"] for each in looked.json["deviations"]} == set(map(str, not_uploaded))
    assert {each["state"] for each in looked.json["deviations"]} == {"dead letter"}
    assert {each["why"] for each in looked.json["deviations"]} == {"ErrorImageNotFound"}

    control.add_images(bench.project_id, not_uploaded)
    letters = bench.letters.get_queue_properties().approximate_message_count
    redriven = bench.run("dead-letters", "redrive", "--json")  # 4
    assert redriven.code == 0
    assert redriven.json["done"] == letters

    proven = bench.run("verify", "catalogue.csv", "--wait", "--timeout", "2m", "--json")  # 5
    assert proven.code == 0, proven.err
    assert proven.json["applied"] == ROWS

    images = control.images(bench.project_id)
    assert all(images[image].metadata == pairs(row) for row, image in enumerate(ids))


def test_the_readme_tells_the_same_story() -> None:
    told = re.findall(r"^(vision-relay [^#\n]*?) *#", (PROJECT_ROOT / "README.md").read_text(), re.MULTILINE)
    assert told == [
        "vision-relay send catalogue.csv",
        "vision-relay send catalogue.csv",
        "vision-relay verify catalogue.csv --wait",
        "vision-relay dead-letters redrive",
        "vision-relay verify catalogue.csv --wait",
    ]
