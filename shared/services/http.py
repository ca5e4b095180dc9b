"""How this app talks to an API over HTTP: what is sent, what is read at most, and what counts as no answer.

Nothing here knows an API's answers; `custom_vision` and `face` read those.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from shared.errors import AccessDenied, ApiError, RateLimited, Unavailable
from shared.telemetry import OFF, Telemetry
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from shared.services.authentication import Authentication

MAX_ANSWER_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
MAX_CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 600.0
"""A longer `Retry-After` is cut to this: a service that means it will say so again."""

MAX_CODE = 80
MAX_ERROR_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class ServiceError:
    """The code and the message of an error body, each on one line and not long; both may be empty.

    `of_gateway`: the body has the form of the gateway in front of the service, which never saw the call.
    """

    code: str
    message: str
    of_gateway: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of an API, of whatever status. The names of `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON. Raises `ValueError` (also for bytes that are not UTF-8 and nesting without end)."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def error(self) -> ServiceError:
        """The code and the message of an error body, whatever it is.

        A service writes `{"code": …, "message": …}`, the gateways `{"error": {"code": "401", "message": …}}` and
        `{"statusCode": 401, "message": …}`; Face writes like the former gateway.
        """
        try:
            body = self.json()
        except ValueError:
            return ServiceError("", "")
        if not isinstance(body, dict):
            return ServiceError("", "")
        error = body.get("error", body)
        if not isinstance(error, dict):
            error = {"message": error}
        code, message = error.get("code"), error.get("message")
        return ServiceError(
            one_line(code, MAX_CODE) if isinstance(code, str) else "",
            one_line(message, MAX_ERROR_MESSAGE) if isinstance(message, str) else "",
            of_gateway="error" in body or "statusCode" in body,
        )

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the service asks to be left alone."""
        return read_retry_after(self.headers.get("retry-after"), datetime.now(UTC))


def read_retry_after(value: str | None, now: datetime) -> float | None:
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

    401 and 403 are the configuration's fault, 429 is the rate, 408 means "again".
    """
    if answer.status in (401, 403):
        raise access_denied(answer, service, access)
    if answer.status == 429:
        raise RateLimited(f"{service} answered 429", retry_after_seconds=answer.retry_after_seconds)
    if answer.status == 408:
        raise Unavailable(f"{service} answered 408", retry_after_seconds=answer.retry_after_seconds)


def access_denied(answer: Answer, service: str, access: str) -> AccessDenied:
    """The configuration is to blame. `access` names the settings to look at.

    A wrong key, a missing approval, a used-up quota and a firewall look alike: only the service's own sentence tells.
    """
    error = answer.error()
    code = error.code if error.code != str(answer.status) else ""
    described = f"{service} answered {answer.status} {code}".rstrip()
    said = f"; it says: {error.message}" if error.message else ""
    return AccessDenied(f"{described}; look at {access}{said}")


class AnswerTooLarge(Exception):
    """An answer that is longer than is read; the text says how much that is."""


class Exchange(Protocol):
    """Sends one request and reads its whole answer."""

    async def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Raise `AnswerTooLarge` for an answer that is too long, and else whatever goes wrong."""
        ...


class HttpClient:
    """The process's one pool of connections, and nothing else that lasts from one call to the next.

    Cookies are neither kept nor sent. Redirects are not followed: they would carry a key to a host that nobody
    configured. The proxy is the one that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), as for the
    queues and the identity. No answer is read beyond `max_answer_bytes`, unpacked.
    """

    def __init__(self, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._session: aiohttp.ClientSession | None = None
        self._proxy_for = functools.cache(proxy_for)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Send one request and read its answer, also one that is compressed although that was not asked for.

        Raises `AnswerTooLarge`, and else whatever goes wrong.
        """
        if self._session is None:  # not before: it belongs to the running event loop
            self._session = _new_session()
        target = URL(url, encoded=True)
        proxy = self._proxy_for(target.scheme, target.authority)
        async with self._session.request(
            method, target, headers=headers, data=body, proxy=proxy, allow_redirects=False
        ) as response:
            received = bytearray()
            async for part in response.content.iter_any():  # a packed answer is unpacked a little at a time
                received += part
                if len(received) > self._max_answer_bytes:
                    raise AnswerTooLarge(f"more than {self._max_answer_bytes / 2**20:g} MiB")
            return Answer(response.status, response.headers, bytes(received))


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=MAX_CONNECT_SECONDS),
        headers={"User-Agent": "vision-relay", "Accept": "application/json", "Accept-Encoding": "identity"},
    )


def proxy_for(scheme: str, authority: str) -> str | None:
    """The proxy that the environment names for `scheme://authority`, if any."""
    return None if proxy_bypass(authority) else getproxies().get(scheme)


class JsonApi:
    """Calls to one resource.

    Args:
        exchange: sends one request.
        endpoint: the resource's URL.
        auth: lets a call in.
        service: what the resource is called in errors.
        timeout_seconds: for a whole call, from its token to its last byte.
        telemetry: measures the requests.
    """

    def __init__(
        self,
        exchange: Exchange,
        endpoint: str,
        auth: Authentication,
        service: str,
        timeout_seconds: float,
        telemetry: Telemetry = OFF,
    ) -> None:
        self._exchange = exchange
        self._telemetry = telemetry
        self._host = urlsplit(endpoint).hostname or ""
        self._endpoint = endpoint
        self._auth = auth
        self._service = service
        self._timeout_seconds = timeout_seconds

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Make one call and return its answer, whatever its status.

        `path` begins with a slash and is used as it is: its parts must be validated. Raises `Unavailable` where
        there was no whole answer in time or it was too long, and `AccessDenied` where there is no token for it.
        Whatever else goes wrong, in whichever library, is no answer: it is never the fault of what was to be sent.
        """
        deadline = asyncio.timeout(self._timeout_seconds)
        try:
            async with deadline:
                authorization = await self._auth.headers()
                content = {} if body is None else {"Content-Type": "application/json"}
                return await self._answer(method, path, {**authorization, **content}, body, deadline)
        except ApiError:
            raise
        except AnswerTooLarge as error:
            raise Unavailable(f"{self._service} answered with {error}") from None
        except Exception as error:
            if deadline.expired():
                raise Unavailable(f"{self._service} did not answer within {self._timeout_seconds:g} s") from None
            cause = one_line(f"{type(error).__name__} {error}".rstrip())
            raise Unavailable(f"{self._service} cannot be reached: {cause}") from None

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: asyncio.Timeout
    ) -> Answer:
        with self._telemetry.api_call(method, self._host, _template(path)) as request:
            try:
                answer = await self._exchange(method, self._endpoint + path, headers, body)
            except asyncio.CancelledError:
                if deadline.expired():
                    request.failed("timeout")
                raise
            request.answered(answer.status)
            return answer


_IN_PATHS = re.compile(r"(?<=/)(projects|iterations|persongroups|largepersongroups|largefacelists)/[^/?]+")


def _template(path: str) -> str:
    """A path without what differs from one call to the next: `/projects/{id}/images/metadata`."""
    return _IN_PATHS.sub(r"\1/{id}", path.partition("?")[0])
