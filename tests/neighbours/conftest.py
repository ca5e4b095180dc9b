"""The cloud, and the app in the local host, for all neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

from local.cloud import LocalCloud
from local.host.process import HostProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

PROJECT = Path(__file__).parents[2]
SETTINGS = {
    "LINGER_SECONDS": "0.05",
    "TRAINING_POLL_SCHEDULE": "* * * * * *",
    "PUBLISH_UPDATED_EVENTS": "true",
}


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def cloud() -> AsyncIterator[LocalCloud]:
    async with LocalCloud() as cloud:
        yield cloud


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def app(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    """The app, as it is deployed, on the cloud's queues."""
    output = tmp_path_factory.mktemp("host") / "output.log"
    async with HostProcess(PROJECT, cloud.settings | cloud.topic_settings | SETTINGS, output):
        yield
