"""What the tests against real processes share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from local.azurite import Azurite


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def azurite() -> AsyncIterator[str]:
    """The connection string of one Azurite for all tests; each test uses queues of its own."""
    async with Azurite() as server:
        yield server.connection_string
