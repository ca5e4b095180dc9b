"""Between one host and storage: passes requests on, or answers them as broken proxies and services do."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_OWN_TO_A_CONNECTION = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})


def _with_bad_times() -> web.Response:
    message = (
        "<QueueMessage><MessageId>1</MessageId><InsertionTime>yesterday</InsertionTime><ExpirationTime>never"
        "</ExpirationTime><PopReceipt>1</PopReceipt><TimeNextVisible>soon</TimeNextVisible><DequeueCount>some"
        "</DequeueCount><MessageText>{}</MessageText></QueueMessage>"
    )
    body = f'<?xml version="1.0"?><QueueMessagesList>{message}</QueueMessagesList>'
    return web.Response(body=body.encode(), content_type="application/xml")


ODD_ANSWERS: tuple[Callable[[], web.Response], ...] = (
    lambda: web.Response(status=200),
    lambda: web.Response(status=200, text="<html><body>Sign in", content_type="text/html"),
    lambda: web.Response(status=502, body="Zurückgewiesen".encode("latin-1"), content_type="text/html"),
    lambda: web.Response(status=200, body=b"not packed", headers={"Content-Encoding": "gzip"}),
    lambda: web.Response(status=302, headers={"Location": "http://["}),
    _with_bad_times,
)


class StorageProxy:
    """A proxy on a free port of loopback, as long as its `async with` block.

    Faults concern only the queues that the app itself calls: what the trigger's queue answers is the host's affair.
    `odd_share` of the requests is answered by one of `ODD_ANSWERS`; requests about `cut_queues` get no answer.
    `odd` and `refused` count what struck.
    """

    def __init__(self, target_port: int, trigger_queue: str, seed: int) -> None:
        self._target = URL(f"http://127.0.0.1:{target_port}")
        self._trigger_queue = trigger_queue
        self._random = random.Random(f"storage {seed}")  # noqa: S311 - repeatable on purpose
        self.odd_share = 0.0
        self.cut_queues: frozenset[str] = frozenset()
        self.odd = 0
        self.refused = 0

    @property
    def port(self) -> int:
        """The port to connect to."""
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),  # some are signed
        )
        self._server = web.Server(self._handle, access_log=None)
        self._listening = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        await self._server.shutdown(0)
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        queue = request.path.split("/")[2] if request.path.count("/") > 1 else ""
        if queue in self.cut_queues:
            self.refused += 1
            return self._hang_up(request)
        if queue != self._trigger_queue and self._random.random() < self.odd_share:
            self.odd += 1
            return self._random.choice(ODD_ANSWERS)()
        try:
            return await self._pass_on(request, body)
        except aiohttp.ClientError:
            return self._hang_up(request)

    async def _pass_on(self, request: web.BaseRequest, body: bytes) -> web.Response:
        url = URL(f"{self._target}{request.raw_path}", encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "transfer-encoding"}
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OWN_TO_A_CONNECTION]
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    @staticmethod
    def _hang_up(request: web.BaseRequest) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)
