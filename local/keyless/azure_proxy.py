"""The names of Azure on this machine: a proxy through which `https://NAME.cognitiveservices.azure.com` is found here.

Nothing of the app has to be told otherwise than in Azure: `HTTPS_PROXY` is this proxy, `SSL_CERT_FILE` the authority
whose certificate it shows. Requests leave TLS here and go on to a server on loopback, or stay in it.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from local.keyless.certificates import Certificates

CHUNK_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """A server on loopback; `speaks_tls`: it has the certificate itself."""

    port: int
    speaks_tls: bool = False


class AzureProxy:
    """An HTTP proxy on loopback, as long as its `async with` block. It knows only these hosts, and refuses others.

    `connections` counts what it was asked for, by host.
    """

    def __init__(self, targets: Mapping[str, Target], certificates: Certificates) -> None:
        self.connections: dict[str, int] = {}
        self._targets = dict(targets)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificates.certificate, certificates.key)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """What `HTTPS_PROXY` is to be."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MAX_HEAD_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
                await self._connect(reader, writer)
        finally:
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, _, rest = head.partition(" ")
        host = rest.partition(" ")[0].partition(":")[0].lower()
        self.connections[host] = self.connections.get(host, 0) + 1
        target = self._targets.get(host)
        if method != "CONNECT" or target is None:
            writer.write(b"HTTP/1.1 502 Unknown Host\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        await writer.drain()
        if not target.speaks_tls:
            await writer.start_tls(self._tls)
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target.port)
        try:
            await _pass_on(reader, target_writer, target_reader, writer)
        finally:
            target_writer.close()


async def _pass_on(
    reader: asyncio.StreamReader,
    target_writer: asyncio.StreamWriter,
    target_reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Pass on both ways until either side ends."""
    ways = [asyncio.create_task(_pump(reader, target_writer)), asyncio.create_task(_pump(target_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
