"""What an operator has to know arrives in the log, although the host drops lines of invocations that are over.

In each test the invocation that was started last is over when the line comes up, while another waits: what a timer or a
callback logs would be counted as that one's, and vanish.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import pytest_asyncio

from local.cloud import UPDATES, UPDATES_POISON, LocalCloud
from local.host.process import HostProcess
from local.simulation.models import Api
from tests.integration.waiting import becomes_true

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROJECT = Path(__file__).parents[2]
LINGER_SECONDS = 2.0
NEVER = "0 0 0 1 1 *"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud() -> AsyncIterator[LocalCloud]:
    async with LocalCloud() as cloud:
        yield cloud


class Log:
    """What the host wrote while it ran the app."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def has(self, text: str) -> bool:
        return text in self._file.read_text()


async def send_one_that_waits_and_one_that_is_over_at_once(cloud: LocalCloud) -> None:
    project_id, image_id = uuid4(), uuid4()
    await cloud.control.add_images(project_id, [image_id])
    update = {"projectId": str(project_id), "imageIds": [str(image_id)], "metadata": {"k": "v"}}
    queue = cloud.queues.get_queue_client(UPDATES)
    await queue.send_message(json.dumps(update))
    await queue.send_message("no update")


@pytest_asyncio.fixture(loop_scope="module")
async def log(cloud: LocalCloud, tmp_path: Path) -> AsyncIterator[Log]:
    settings = {**cloud.settings, "LINGER_SECONDS": f"{LINGER_SECONDS}", "TRAINING_POLL_SCHEDULE": NEVER}
    file = tmp_path / "host.log"
    async with HostProcess(PROJECT, settings, file):
        yield Log(file)
    await cloud.control.reset()
    await cloud.drain(UPDATES_POISON)


async def test_that_calls_are_suspended_and_resumed(cloud: LocalCloud, log: Log) -> None:
    async with cloud.control.outage(Api.CUSTOM_VISION):
        await send_one_that_waits_and_one_that_is_over_at_once(cloud)
        assert await becomes_true(lambda: log.has("is dead-lettered, invalid"), LINGER_SECONDS)
        assert await becomes_true(lambda: log.has("Custom Vision: calls are suspended"))
    assert await becomes_true(lambda: log.has("Custom Vision: calls are resumed"))
    assert await becomes_true(lambda: log.has("1 of 1 images applied"))


async def test_which_setting_to_look_at_when_the_key_is_refused(cloud: LocalCloud, log: Log) -> None:
    async with cloud.control.wrong_key(Api.CUSTOM_VISION):
        await send_one_that_waits_and_one_that_is_over_at_once(cloud)
        assert await becomes_true(lambda: log.has("is dead-lettered, invalid"), LINGER_SECONDS)
        assert await becomes_true(lambda: log.has("look at CUSTOM_VISION_TRAINING_KEY"))
