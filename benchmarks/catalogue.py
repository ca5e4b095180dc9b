"""`vision-relay send` with a catalogue larger than one wants in memory, beside plain calls of the Storage library."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from azure.storage.queue.aio import QueueClient

from benchmarks.results import MEASURED_NOISE, Figure, Outcome, Peer, at_least, at_most
from local.cloud import UPDATES, LocalCloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.sizes import Sizes

NAME = "catalogue"
TITLE = "A catalogue of a million rows"
SETS = 24
SENDERS = 16
SMALLER = 10
ABOUT = f"""\
A CSV file with {SETS} sets of metadata, sent by the command `vision-relay send` as a process of its own: read, checked,
sorted, packed, journalled and sent to Azurite, from its start to its end. Rows a second ÷ those of a program that
sends one message per row with `azure-storage-queue` and does nothing else, {SENDERS} at a time (of a part of the rows,
since it takes long). The second figure has as many sets as rows, so that each row is a message of its own too, which
`send` puts in two steps so that none is sent twice. Memory is the most that the process had resident, ÷ that of a send
of a tenth of the rows.
"""

PLAIN = "one message per row, plain calls"
PROJECT = Path(__file__).parents[1]
PROJECT_ID = UUID(int=1)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a send took. `peak` is resident memory at most, in the system's unit."""

    rows_a_second: float
    peak: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Each in turn, as often as there are samples."""
    return asyncio.run(_run(sizes, step))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return 4 * sizes.path_samples


async def _run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    large, small, unequal, plain = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = Path(scratch)
        for _ in range(sizes.path_samples):
            async with LocalCloud() as cloud:
                (folder / "local.settings.json").write_text(json.dumps({"Values": cloud.settings}))
                large.append(_send(folder, sizes.catalogue_rows, SETS))
                step()
                small.append(_send(folder, sizes.catalogue_rows // SMALLER, SETS))
                step()
                unequal.append(_send(folder, sizes.plain_rows, sizes.plain_rows))
                step()
                plain.append(await _plain(cloud, sizes.plain_rows))
                step()
    return Outcome(tuple(_figures(sizes, large, small, unequal, plain)))


def _send(folder: Path, rows: int, sets: int) -> Sent:
    """Send a catalogue; raises `RuntimeError` if the command fails."""
    file = folder / "catalogue.csv"
    with file.open("w") as text:
        text.writelines(_lines(rows, sets))
    environment = {**os.environ, "VISION_RELAY_STATE": str(folder / "state"), "PYTHONPATH": str(PROJECT)}
    began = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - the command is ours
        [sys.executable, "-m", "ops", "send", file.name, "--again"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"send ended with {process.returncode}")
    return Sent(rows / (time.perf_counter() - began), usage.ru_maxrss)


def _lines(rows: int, sets: int) -> Iterator[str]:
    yield "image_id,project_id,collection,decade,place\n"
    for row in range(rows):
        # An id is spread over its whole range, as real ones are.
        image = UUID(int=(row * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128)
        yield f"{image},{PROJECT_ID},Collection {row % sets},1950s,Harbour\n"


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


def _figures(
    sizes: Sizes, large: list[Sent], small: list[Sent], unequal: list[Sent], plain: list[float]
) -> Iterator[Figure]:
    peers = (Peer(PLAIN, tuple(plain)),)
    speed = tuple(sent.rows_a_second for sent in large)
    yield Figure(NAME, f"{sizes.catalogue_rows:,} rows", "rows/s", speed, peers=peers)
    yield Figure(
        NAME, "rows a second ÷ plain calls", "ratio", _ratios(speed, plain), at_least(10), noise=MEASURED_NOISE
    )
    each = tuple(sent.rows_a_second for sent in unequal)
    yield Figure(
        NAME,
        "rows a second ÷ plain calls, no two of equal metadata",
        "ratio",
        _ratios(each, plain),
        at_least(0.2),
        noise=MEASURED_NOISE,
    )
    grown = _ratios(tuple(sent.peak for sent in large), [sent.peak for sent in small])
    yield Figure(
        NAME, f"memory ÷ that of {SMALLER} times fewer rows", "ratio", grown, at_most(1.3), noise=MEASURED_NOISE
    )


def _ratios(ours: tuple[float, ...], theirs: list[float]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(ours, theirs, strict=True))
