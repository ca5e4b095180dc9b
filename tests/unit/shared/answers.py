"""Answers of an API, made up, and the app's way to call an API that gives them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr

from shared.services.authentication import KeyAuthentication
from shared.services.http import Answer, JsonApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = "marked-secret-key"
ENDPOINT = "https://api.example"
TIMEOUT_SECONDS = 30.0

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    """An answer; a body that is not bytes is written as JSON, `retry_after` becomes `Retry-After`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), raw)


def gateway_error(status: int) -> dict[str, Any]:
    """The body of the gateway in front of both services."""
    message = "Access denied due to invalid subscription key or wrong API endpoint."
    return {"error": {"code": str(status), "message": message}}


def api_answering(
    handler: Callable[[httpx.Request], httpx.Response], client: httpx.AsyncClient, key: str = KEY
) -> JsonApi:
    """The app's own client with its transport replaced by `handler`."""

    def unread(request: httpx.Request) -> httpx.Response:
        """A response made with its content counts as read; one from the network does not."""
        response = handler(request)
        if response.is_stream_consumed:
            response = httpx.Response(
                response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content)
            )
        return response

    client._transport = httpx.MockTransport(unread)
    return JsonApi(client, ENDPOINT, KeyAuthentication("Api-Key", SecretStr(key)), "The service", TIMEOUT_SECONDS)


class Dripping(httpx.AsyncByteStream):
    """A body that arrives one part every `pause` seconds, without a length and, if `parts` is None, without an end."""

    def __init__(self, part: bytes, parts: int | None = None, pause: float = 0.0) -> None:
        self._part = part
        self._parts = parts
        self._pause = pause
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._parts is None or self.sent < self._parts:
            await asyncio.sleep(self._pause)
            self.sent += 1
            yield self._part
