"""`make demo`: start the cloud and the app on this machine, do the main job on a sample, and account for all of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local.account.account import settle
from local.account.evidence import Evidence, collect, prepare
from local.account.messages import FAILED, NOT_FOUND, SUCCEEDED, Mix, Training, Watch, Workload, build_workload
from local.account.report import show
from local.cloud import UPDATES, WATCHES, LocalCloud
from local.host.process import HostProcess
from local.simulation.models import GroupKind

if TYPE_CHECKING:
    from rich.progress import TaskID

PROJECT = Path(__file__).parents[1]
BUILD = PROJECT / "build"
LONGEST_SECONDS = 170.0

# A photo archive's catalogue, with the mistakes that producers make: one message in a hundred is malformed, one names
# an image that is not there, and one in ten comes in Base64.
MIX = Mix(faulty=0.02, refusals=(NOT_FOUND,), again=0, reviews=0, most_images=10, wrappings=(90, 10, 0, 0, 0, 0))
FAILING_GROUP = "press"
GROUPS = ("staff", "visitors", "artists", FAILING_GROUP, "contractors")
ITERATION = UUID("6f0d7c1e-0000-4000-8000-0000000000aa")


def demo_workload(messages: int, seed: int) -> Workload:
    """The sample: so many updates, the trainings of some groups, and a watch of each and of an iteration."""
    trainings = [
        Training(
            GroupKind.PERSON_GROUP,
            group,
            running_seconds=2.0 * seconds,
            failure="There is no face in the group." if group == FAILING_GROUP else None,
        )
        for seconds, group in enumerate(GROUPS, start=2)
    ]
    watches = [_watch(FAILED if t.failure else SUCCEEDED, kind="personGroup", id=t.group_id) for t in trainings]
    workload = build_workload(MIX, messages, seed, trainings)
    kind = "customVisionIteration"
    watches.append(_watch(SUCCEEDED, kind=kind, projectId=str(_project(workload)), id=str(ITERATION)))
    return replace(workload, watches=tuple(watches))


def _project(workload: Workload) -> UUID:
    return next(iter(workload.archive))


def _watch(event: str, **fields: str) -> Watch:
    correlation_id = f"demo-{fields['id']}"
    return Watch(correlation_id, event, json.dumps({**fields, "correlationId": correlation_id}))


async def run(workload: Workload, log: Path, console: Console) -> Evidence:
    """Do the demo and return what is found at its end. Raises `TimeoutError` if it takes too long."""
    console.print("Starting Azurite, the simulated Custom Vision, Face and Event Grid topic, and the functions host.")
    async with asyncio.timeout(LONGEST_SECONDS), LocalCloud() as cloud:
        async with HostProcess(PROJECT, cloud.settings | cloud.topic_settings, log):
            began = time.monotonic()
            await _work(cloud, workload, console)
            seconds = time.monotonic() - began
        return await collect(cloud, workload, seconds)


async def _work(cloud: LocalCloud, workload: Workload, console: Console) -> None:
    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    await prepare(cloud, workload)
    await cloud.control.train_iteration(_project(workload), ITERATION, running_seconds=3.0)
    with Progress(*columns, console=console) as progress:
        sent = progress.add_task("messages sent", total=len(workload.texts))
        settled = progress.add_task("messages settled", total=len(workload.texts))
        trained = progress.add_task("trainings reported", total=len(workload.watches))
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(cloud, workload, progress, sent))
            tasks.create_task(_follow(cloud, sending, progress, settled, trained))


async def _send(cloud: LocalCloud, workload: Workload, progress: Progress, bar: TaskID) -> None:
    async for _ in cloud.send(WATCHES, workload.watch_texts):
        pass
    async for _ in cloud.send(UPDATES, workload.texts):
        progress.advance(bar)


async def _follow(
    cloud: LocalCloud, sending: asyncio.Task[None], progress: Progress, settled: TaskID, trained: TaskID
) -> None:
    """Move the bars until nothing is left to do."""
    while True:
        all_sent = sending.done()
        updates, watches = await cloud.count(UPDATES), await cloud.count(WATCHES)
        progress.update(settled, completed=max(0, progress.tasks[0].completed - updates))
        if all_sent or watches:
            progress.update(trained, completed=int(progress.tasks[trained].total or 0) - watches)
        if all_sent and updates == 0 and watches == 0:
            return
        await asyncio.sleep(0.25)


def main() -> int:
    """Run the demo; the exit code is 0 only if everything is accounted for."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--messages", type=int, default=3000, help="messages to send (default: 3000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another sample (default: 1)")
    arguments = parser.parse_args()
    if arguments.messages < 1:
        parser.error("--messages must be at least 1")
    console = Console()
    workload = demo_workload(arguments.messages, arguments.seed)
    BUILD.mkdir(exist_ok=True)
    log = BUILD / "demo-host.log"
    log.unlink(missing_ok=True)
    try:
        evidence = asyncio.run(run(workload, log, console))
    except TimeoutError:
        console.print(f"[red]not done within {LONGEST_SECONDS:g} s[/red]; see build/demo-host.log")
        return 1
    account = settle(workload, evidence)
    show(account, console)
    if account.is_balanced:
        console.print("Every image and every message is accounted for.")
    (BUILD / "demo.json").write_text(json.dumps(asdict(account), indent=2) + "\n")
    return 0 if account.is_balanced else 1


if __name__ == "__main__":
    sys.exit(main())
