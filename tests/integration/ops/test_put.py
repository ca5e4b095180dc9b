"""`vision-relay put`: one update from its options."""

import base64
import json

import pytest

from tests.integration.ops.conftest import Bench, taken

IMAGE = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"


def test_what_is_said_becomes_an_update(bench: Bench) -> None:
    arguments = ("--project-id", str(bench.project_id), "--image-id", IMAGE, "--correlation-id", "scan-0815")
    result = bench.run("put", *arguments, "collection=Harbour", "note=a=b")
    assert result.code == 0, result.err
    [text] = taken(bench.updates)
    assert json.loads(base64.b64decode(text)) == {
        "projectId": str(bench.project_id),
        "imageIds": [IMAGE],
        "metadata": {"collection": "Harbour", "note": "a=b"},
        "correlationId": "scan-0815",
    }


@pytest.mark.parametrize(
    ("project", "image", "pairs", "told"),
    [
        ("nope", IMAGE, ["a=b"], "projectId"),
        ("7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10", "nope", ["a=b"], "imageIds"),
        ("7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10", IMAGE, ["ab"], "has no ="),
        ("7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10", IMAGE, ["a=b", "a=c"], "is given twice"),
        ("7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10", IMAGE, ["a=" + "x" * 257], "metadata"),
    ],
)
def test_what_the_app_would_not_take_is_not_sent(
    bench: Bench, project: str, image: str, pairs: list[str], told: str
) -> None:
    result = bench.run("put", "--project-id", project, "--image-id", image, *pairs)
    assert result.code == 2
    assert told in result.err
    assert taken(bench.updates) == []


def test_a_missing_queue_is_told_with_what_to_do(bench: Bench) -> None:
    bench.updates.delete_queue()
    result = bench.run("put", "--project-id", str(bench.project_id), "--image-id", IMAGE, "a=b")
    assert result.code == 3
    assert "vision-relay doctor --create-queues" in result.err
