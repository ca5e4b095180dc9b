"""How this app talks to an API over HTTP: what is sent, what is read at most, and what counts as no answer.

Nothing here knows an API's answers; `custom_vision` and `face` read those.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from shared.errors import AccessDenied, RateLimited, Unavailable
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.services.authentication import Authentication

MAX_ANSWER_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
KEEP_ALIVE_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 600.0
"""A longer `Retry-After` is cut to this: a service that means it will say so again."""

MAX_CODE = 80
MAX_ERROR_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of an API, of whatever status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON. Raises `ValueError` (also for bytes that are not UTF-8 and nesting without end)."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the service asks to be left alone."""
        return retry_after_seconds(self.headers.get("retry-after"), datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class ServiceError:
    """The code and the message of an error body, each on one line and not long; both may be empty."""

    code: str
    message: str

    @classmethod
    def read(cls, body: Any) -> ServiceError:
        """Take them from parsed JSON that should be `{"code": …, "message": …}`, whatever it is."""
        if not isinstance(body, dict):
            return cls("", "")
        code, message = body.get("code"), body.get("message")
        return cls(
            one_line(code, MAX_CODE) if isinstance(code, str) else "",
            one_line(message, MAX_ERROR_MESSAGE) if isinstance(message, str) else "",
        )


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, seconds or HTTP-date (RFC 9110, 10.2.3); None if unreadable."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def raise_for_gateway(answer: Answer, service: str, access: str) -> None:
    """Raise what every API's gateway means by these statuses; return for all others.

    401 and 403 are the configuration's fault (`access` names the settings), 429 is the rate, 408 means "again".
    """
    if answer.status in (401, 403):
        raise AccessDenied(f"{service} answered {answer.status}; look at {access}")
    if answer.status == 429:
        raise RateLimited(f"{service} answered 429", retry_after_seconds=answer.retry_after_seconds)
    if answer.status == 408:
        raise Unavailable(f"{service} answered 408", retry_after_seconds=answer.retry_after_seconds)


def new_client(timeout_seconds: float) -> httpx.AsyncClient:
    """Build the process's one pooled client.

    Redirects are not followed: they would carry a key to a host that nobody configured. The connections are aiohttp's,
    which the queues need anyway: with httpx's own, a call's CPU time grows with the number of connections, from 3 ms
    with 16 of them to 9 ms with 32.
    """
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS)
    return httpx.AsyncClient(
        timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 10.0)),
        transport=AiohttpTransport(limits=limits),
        follow_redirects=False,
        headers={"User-Agent": "vision-relay", "Accept": "application/json", "Accept-Encoding": "identity"},
    )


class JsonApi:
    """Calls to one resource. `timeout_seconds` is for a whole call: httpx's own start anew with every byte."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: str,
        auth: Authentication,
        service: str,
        timeout_seconds: float,
        *,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._auth = auth
        self._service = service
        self._timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Make one call and return its answer, whatever its status.

        `path` begins with a slash and is used as it is: its parts must be validated. Raises `Unavailable` where
        there was no whole answer in time or it was too long, and `AccessDenied` where there is no token for it.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._exchange(method, path, body)
        except TimeoutError:
            raise Unavailable(f"{self._service} did not answer within {self._timeout_seconds:g} s") from None
        except httpx.LocalProtocolError:  # its text shows the header that is wrong, which may be the key
            raise Unavailable(f"{self._service} cannot be asked: the request would not be valid HTTP") from None
        except (httpx.TransportError, httpx.InvalidURL, aiohttp.ClientError) as error:
            raise Unavailable(
                f"{self._service} cannot be reached: {type(error).__name__} {one_line(error)}".rstrip()
            ) from None

    async def _exchange(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = dict(await self._auth.headers())
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self._client.stream(method, self._endpoint + path, content=body, headers=headers) as response:
            received = bytearray()
            async for part in response.aiter_raw():
                received += part
                if len(received) > self._max_answer_bytes:
                    raise Unavailable(f"{self._service} answered with more than {self._max_answer_bytes / 2**20:g} MiB")
            return Answer(response.status_code, response.headers, bytes(received))
