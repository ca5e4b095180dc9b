"""The relay that cuts the chaos run's hosts off from storage."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from local.chaos.tcp_proxy import Relay


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Relay(server.sockets[0].getsockname()[1]) as relay:
        yield relay


class Client:
    """A connection through the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, relay: Relay) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", relay.port))

    async def ask(self, text: bytes) -> bytes:
        self._writer.write(text + b"\n")
        async with asyncio.timeout(5):
            return (await self._reader.readline()).strip()

    def close(self) -> None:
        self._writer.close()


async def test_what_is_sent_comes_through_both_ways(relay: Relay) -> None:
    client = await Client.connect(relay)

    assert await client.ask(b"hello") == b"hello"
    client.close()


async def test_a_cut_resets_open_connections_and_new_ones_until_it_ends(relay: Relay) -> None:
    before = await Client.connect(relay)
    assert await before.ask(b"hello") == b"hello"

    async with relay.cut():
        with pytest.raises(ConnectionError):
            await before.ask(b"anyone there?")
        meanwhile = await Client.connect(relay)
        with pytest.raises(ConnectionError):
            await meanwhile.ask(b"anyone there?")
    afterwards = await Client.connect(relay)

    assert await afterwards.ask(b"hello again") == b"hello again"
    assert relay.resets == 2
    afterwards.close()
