"""Azurite on one machine: it starts, keeps what it is told to keep, and is gone afterwards."""

import asyncio
import os
import re
import socket
import sys
import textwrap
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from local.azurite import Azurite
from local.child_process import ChildFailedError, ChildProcess
from tests.integration.waiting import becomes_true

PROJECT = Path(__file__).parents[2]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def round_trip(connection_string: str, text: str) -> str:
    with QueueClient.from_connection_string(connection_string, "round-trip") as queue:
        queue.create_queue()
        queue.send_message(text)
        message = queue.receive_message()
        assert message is not None
        queue.delete_message(message)
        return str(message.content)


async def test_a_message_goes_through(azurite: str) -> None:
    assert await asyncio.to_thread(round_trip, azurite, "héllo") == "héllo"


async def test_it_is_gone_after_the_stop() -> None:
    async with Azurite() as azurite:
        assert listens(azurite.port)
    assert not listens(azurite.port)


async def test_every_start_has_a_key_of_its_own() -> None:
    assert Azurite().key != Azurite().key


async def test_messages_in_a_data_folder_outlive_a_restart(tmp_path: Path) -> None:
    async with Azurite(data=tmp_path) as first:
        with QueueClient.from_connection_string(first.connection_string, "kept") as queue:
            queue.create_queue()
            queue.send_message("still here")
    async with Azurite(data=tmp_path) as second:
        with QueueClient.from_connection_string(second.connection_string, "kept") as queue:
            message = queue.receive_message()
    assert message is not None
    assert message.content == "still here"


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ChildFailedError, match="EADDRINUSE"):
            await Azurite(queue_port=other.getsockname()[1]).start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = """
        import asyncio
        from local.azurite import Azurite

        async def main():
            azurite = Azurite()
            await azurite.start()
            print(azurite.port, flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = ChildProcess(
        "the parent",
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment,
        cwd=PROJECT,
        output=tmp_path / "parent.log",
    )
    port = int((await parent.start(re.compile(r"^(\d+)$", re.MULTILINE), 10))[1])
    assert listens(port)
    await parent.kill()
    assert await becomes_true(lambda: not listens(port))
