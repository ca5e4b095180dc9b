"""`vision-relay send` with a catalogue larger than one wants in memory, beside plain calls of the Storage library."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from azure.storage.queue.aio import QueueClient

from benchmarks.results import Figure, absolute, ratio
from benchmarks.sizes import Sizes
from local.cloud import UPDATES, LocalCloud

SETS = 24
SAMPLES = 3
SENDERS = 16
SMALLER = 10
PLAIN = "one message per row, plain calls"
PROJECT = Path(__file__).parents[1]
PROJECT_ID = UUID(int=1)


def run(sizes: Sizes) -> list[Figure]:
    """Each in turn, as often as there are samples."""
    return asyncio.run(_run(sizes))


async def _run(sizes: Sizes) -> list[Figure]:
    large, small, unequal, plain, memory = [], [], [], [], []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = Path(scratch)
        for _ in range(min(sizes.samples, SAMPLES)):
            async with LocalCloud() as cloud:
                (folder / "local.settings.json").write_text(json.dumps({"Values": cloud.settings}))
                large.append(_send(folder, sizes.catalogue_rows, SETS))
                small.append(_send(folder, sizes.catalogue_rows // SMALLER, SETS))
                unequal.append(_send(folder, sizes.plain_rows, sizes.plain_rows)[0])
                plain.append(await _plain(cloud, sizes.plain_rows))
                memory.append(_memory(folder, sizes.catalogue_rows // SMALLER))
    speed, peaks = [sent[0] for sent in large], [sent[1] for sent in large]
    small_peaks = [sent[1] for sent in small]
    return [
        absolute(f"{sizes.catalogue_rows:,} rows", "rows/s", {"Vision Relay": speed, PLAIN: plain}),
        ratio("rows a second ÷ plain calls", speed, plain, least=10),
        ratio("rows a second ÷ plain calls, no two of equal metadata", unequal, plain, least=0.2),
        ratio(f"memory ÷ that of {SMALLER} times fewer rows", peaks, small_peaks, most=1.3),
        *(ratio(name, [one[name] for one in memory], [1] * len(memory), most=1.3) for name in memory[0]),
    ]


def _send(
    folder: Path, rows: int, sets: int, suffix: str = "csv", *options: str, is_bad: bool = False
) -> tuple[float, float]:
    """Send a catalogue. Returns rows a second, and the most that was resident, in the system's unit."""
    file = folder / f"catalogue.{suffix}"
    with file.open("w") as text:
        text.writelines(_lines(rows, sets, suffix, is_bad=is_bad))
    environment = {**os.environ, "VISION_RELAY_STATE": str(folder / "state"), "PYTHONPATH": str(PROJECT)}
    began = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - the command is ours
        [sys.executable, "-m", "ops", "send", file.name, "--again", *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != is_bad:
        raise RuntimeError(f"send ended with {process.returncode}")
    return rows / (time.perf_counter() - began), usage.ru_maxrss


def _lines(rows: int, sets: int, suffix: str, *, is_bad: bool) -> Iterator[str]:
    delimiter = "\t" if suffix == "tsv" else ","
    if suffix != "jsonl":
        yield delimiter.join(("image_id", "project_id", "collection", "decade", "place")) + "\n"
    for row in range(rows):
        # An id is spread over its whole range, as real ones are.
        image = f"scan {row}" if is_bad else str(UUID(int=(row * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128))
        values = f"Collection {row % sets}", "1950s", "Harbour"
        if suffix == "jsonl":
            metadata = dict(zip(("collection", "decade", "place"), values, strict=True))
            yield json.dumps({"projectId": str(PROJECT_ID), "imageIds": [image], "metadata": metadata}) + "\n"
        else:
            yield delimiter.join((image, str(PROJECT_ID), *values)) + "\n"


def _memory(folder: Path, rows: int) -> dict[str, float]:
    """The most that was resident while a catalogue was checked, ÷ that of one with a single row."""
    found = {}
    for suffix, name in (("csv", "CSV"), ("tsv", "TSV"), ("jsonl", "JSON Lines")):
        _, empty = _send(folder, 1, 1, suffix, "--dry-run", "--json")
        for what, is_bad in (("distinct sets", False), ("bad rows", True)):
            _, peak = _send(folder, rows, rows, suffix, "--dry-run", "--json", is_bad=is_bad)
            found[f"memory ÷ that of one row: {rows:,} {what}, {name}"] = peak / empty
    return found


async def _plain(cloud: LocalCloud, rows: int) -> float:
    """Rows a second of a program that sends each as a message."""
    texts = iter(
        json.dumps({"projectId": str(PROJECT_ID), "imageIds": [str(UUID(int=row))], "metadata": {"decade": "1950s"}})
        for row in range(rows)
    )
    connection = cloud.settings["AzureWebJobsStorage"]

    async def send_some(queue: QueueClient) -> None:
        for text in texts:
            await queue.send_message(text, time_to_live=-1)

    async with QueueClient.from_connection_string(connection, UPDATES) as queue:
        began = time.perf_counter()
        await asyncio.gather(*(send_some(queue) for _ in range(SENDERS)))
        return rows / (time.perf_counter() - began)
