"""`make demo`: start the cloud and the app on this machine, do the main job on a sample, and account for all of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from local.cloud import EVENTS, UPDATES, UPDATES_POISON, WATCHES, LocalCloud, text_of
from local.demo.audit import Audit, Evidence, settle
from local.demo.catalogue import Catalogue, build_catalogue
from local.host.process import HostProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.progress import TaskID

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build"
LONGEST_SECONDS = 170.0

GROUPS = ("staff", "visitors", "artists", "press", "contractors")
FAILING_GROUP = "press"
ITERATION = UUID("6f0d7c1e-0000-4000-8000-0000000000aa")
TRAININGS = len(GROUPS) + 1
EXPECTED_EVENTS = {"VisionRelay.Training.Succeeded": TRAININGS - 1, "VisionRelay.Training.Failed": 1}


async def run(catalogue: Catalogue, log: Path, console: Console) -> Evidence:
    """Do the demo and return what is found at its end. Raises `TimeoutError` if it takes too long."""
    async with asyncio.timeout(LONGEST_SECONDS), _cloud(console) as cloud:
        for project_id, images in catalogue.images.items():
            await cloud.control.add_images(project_id, images)
        async with HostProcess(PROJECT, cloud.settings | cloud.topic_settings, log):
            began = time.monotonic()
            await _work(cloud, catalogue, console)
            seconds = time.monotonic() - began
        return await _evidence(cloud, catalogue, seconds)


def watches_of(project_id: UUID) -> list[dict[str, str]]:
    """A watch of each group's training, and of that of an iteration of this project."""
    return [
        {"kind": "customVisionIteration", "projectId": str(project_id), "id": str(ITERATION)},
        *({"kind": "personGroup", "id": group, "correlationId": f"demo-{group}"} for group in GROUPS),
    ]


@asynccontextmanager
async def _cloud(console: Console) -> AsyncIterator[LocalCloud]:
    console.print("Starting Azurite, the simulated Custom Vision, Face and Event Grid topic, and the functions host.")
    async with LocalCloud() as cloud:
        yield cloud


async def _work(cloud: LocalCloud, catalogue: Catalogue, console: Console) -> None:
    texts = catalogue.texts
    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        sent = progress.add_task("messages sent", total=len(texts))
        settled = progress.add_task("messages settled", total=len(texts))
        trained = progress.add_task("trainings reported", total=TRAININGS)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(cloud, texts, progress, sent))
            await _train(cloud, next(iter(catalogue.images)))
            tasks.create_task(_follow(cloud, sending, progress, settled, trained))


async def _send(cloud: LocalCloud, texts: list[str], progress: Progress, bar: TaskID) -> None:
    async for _ in cloud.send(UPDATES, texts):
        progress.advance(bar)


async def _train(cloud: LocalCloud, project_id: UUID) -> None:
    """Start a training of each group and of an iteration, and ask for an event when it is complete."""
    for seconds, group in enumerate(GROUPS, start=2):
        failure = "There is no face in the group." if group == FAILING_GROUP else None
        await cloud.control.train(group, running_seconds=2.0 * seconds, failure=failure)
    await cloud.control.train_iteration(project_id, ITERATION, running_seconds=3.0)
    async for _ in cloud.send(WATCHES, map(json.dumps, watches_of(project_id))):
        pass


async def _follow(
    cloud: LocalCloud, sending: asyncio.Task[None], progress: Progress, settled: TaskID, trained: TaskID
) -> None:
    """Move the bars until nothing is left to do."""
    total = int(progress.tasks[settled].total or 0)
    while True:
        all_sent = sending.done()
        updates, watches = await cloud.count(UPDATES), await cloud.count(WATCHES)
        progress.update(settled, completed=min(progress.tasks[0].completed, total) - updates)
        progress.update(trained, completed=TRAININGS - watches)
        if all_sent and updates == 0 and watches == 0:
            return
        await asyncio.sleep(0.25)


async def _evidence(cloud: LocalCloud, catalogue: Catalogue, seconds: float) -> Evidence:
    counters = await cloud.control.counters()
    return Evidence(
        images=await cloud.images(catalogue.images),
        dead_letters=tuple(json.loads(text_of(message)) for message in await cloud.drain(UPDATES_POISON)),
        events=tuple(json.loads(text_of(message)) for message in await cloud.drain(EVENTS)),
        published=await cloud.control.published_events(),
        still_queued=await cloud.count(UPDATES) + await cloud.count(WATCHES),
        api_calls=sum(counters.custom_vision.images_per_call.values()),
        seconds=seconds,
    )


def show(account: Audit, console: Console) -> None:
    """Print what came of it, for somebody who sees it for the first time."""
    table = Table(title="What came of it", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("messages sent to the queue", f"{account.messages:,}")
    table.add_row("images in them", f"{account.images:,}")
    table.add_row("images applied, checked one by one", f"{account.applied_images:,}")
    table.add_section()
    table.add_row("API calls made", f"[bold]{account.api_calls:,}[/bold]")
    table.add_row("  the least possible (64 images each)", f"{account.least_api_calls:,}")
    table.add_row("  with one call per message", f"{account.messages:,}")
    table.add_section()
    for reason, count in sorted(account.dead_letters_by_reason.items()):
        table.add_row(f"dead letters, {reason}", f"{count:,}")
    for kind, count in sorted(account.events_by_type.items()):
        table.add_row(f"events, {kind}", f"{count:,}")
    table.add_row(f"the same at the Event Grid topic, in {account.publish_calls:,} calls", f"{account.published:,}")
    table.add_section()
    table.add_row("messages lost", f"[bold]{account.lost:,}[/bold]")
    table.add_row("seconds", f"{account.seconds:,.1f}")
    console.print(table)
    for wrong in account.wrong:
        console.print(f"[red]does not add up:[/red] {wrong}")
    if account.is_balanced:
        console.print("Every image and every message is accounted for.")


def main() -> int:
    """Run the demo; the exit code is 0 only if everything is accounted for."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--messages", type=int, default=3000, help="messages to send (default: 3000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another sample (default: 1)")
    arguments = parser.parse_args()
    if arguments.messages < 1:
        parser.error("--messages must be at least 1")
    console = Console()
    catalogue = build_catalogue(arguments.messages, arguments.seed)
    BUILD.mkdir(exist_ok=True)
    log = BUILD / "demo-host.log"
    log.unlink(missing_ok=True)
    try:
        evidence = asyncio.run(run(catalogue, log, console))
    except TimeoutError:
        console.print(f"[red]not done within {LONGEST_SECONDS:g} s[/red]; see build/demo-host.log")
        return 1
    account = settle(catalogue, EXPECTED_EVENTS, evidence)
    show(account, console)
    (BUILD / "demo.json").write_text(json.dumps(asdict(account), indent=2) + "\n")
    return 0 if account.is_balanced else 1


if __name__ == "__main__":
    sys.exit(main())
