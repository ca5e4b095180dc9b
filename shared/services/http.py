"""Calls to an API over HTTP: what is sent, how much is read, and what counts as no response.

What a response means for its call, see `api_errors`, `custom_vision` and `training_status`.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from shared.errors import ApiError, Unavailable
from shared.telemetry import OFF, Telemetry
from shared.text import error_line, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.services.authentication import Authentication

MAX_RESPONSE_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
MAX_CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 600.0
"""A longer `Retry-After` is cut to this. A service that needs longer says so again."""

MAX_CODE = 80
MAX_ERROR_MESSAGE = 500


class ServiceError(NamedTuple):
    """The code and the message of an error body, each on one line and short; either may be empty.

    `of_gateway`: the body has the form of the gateway in front of the service; the service never saw the call.
    """

    code: str
    message: str
    of_gateway: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response of an API, whatever its status. The names of `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status says that the call succeeded."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body's JSON. Raises `ValueError`, also if it is not UTF-8 or nested too deeply."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        try:
            self.json()
        except ValueError:
            return False
        return True

    def error(self) -> ServiceError:
        """The code and the message of the body, whatever it is.

        A service writes `{"code": …, "message": …}`, the gateways `{"error": {"code": "401", "message": …}}` and
        `{"statusCode": 401, "message": …}`; Face writes like the former gateway.
        """
        body = self.json() if self.is_json else None
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
        """How long the service asks to wait (RFC 9110, 10.2.3); None if it says nothing that can be read.

        A date is compared with the service's own clock: the `Date` of the response, if it has one.
        """
        value = self.headers.get("retry-after", "")
        if value.strip().isdecimal():
            return min(float(value), MAX_RETRY_AFTER_SECONDS)
        until = _read_date(value)
        if until is None:
            return None
        now = _read_date(self.headers.get("date", "")) or datetime.now(UTC)
        return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _read_date(value: str) -> datetime | None:
    """Read an HTTP-date; None for what is none."""
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def new_client() -> httpx.AsyncClient:
    """Make the process's pool of connections.

    It keeps no cookies, takes the proxy from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) and the
    certificates from the system. It follows no redirect, which could carry a key to a host that nobody configured.
    """
    return httpx.AsyncClient(
        headers={"User-Agent": "vision-relay", "Accept": "application/json", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
        ),
        timeout=httpx.Timeout(None, connect=MAX_CONNECT_SECONDS),
        verify=ssl.create_default_context(),
    )


@dataclass(frozen=True, slots=True)
class JsonApi:
    """Calls to one resource.

    Attributes:
        client: sends the requests.
        endpoint: the resource's URL.
        authentication: authorises each call.
        service: its name in errors.
        access: the settings to look at if the service refuses the app, in errors.
        timeout_seconds: for a whole call, from its token to its last byte.
        telemetry: measures the requests.
        max_response_bytes: no more of a response is read.
    """

    client: httpx.AsyncClient
    endpoint: str
    authentication: Authentication
    service: str
    access: str
    timeout_seconds: float
    telemetry: Telemetry = OFF
    max_response_bytes: int = MAX_RESPONSE_BYTES

    async def call(self, method: str, path: str, body: bytes | None = None) -> Response:
        """Make one call and return its response, whatever its status.

        `path` begins with a slash and is sent as it is: its parts must be validated. Raises `Unavailable` if there is
        no whole response in time, for whatever reason in whichever library, and `AccessDenied` if there is no token.
        Neither is the fault of what was to be sent.
        """
        url, host = self.endpoint + path, urlsplit(self.endpoint).hostname or ""
        deadline = asyncio.timeout(self.timeout_seconds)
        try:
            async with deadline:
                headers = dict(await self.authentication())
                if body is not None:
                    headers["Content-Type"] = "application/json"
                with self.telemetry.api_call(method, host, _template(path)) as measured:
                    try:
                        async with self.client.stream(method, url, headers=headers, content=body) as arriving:
                            response = await self._read(arriving)
                    except asyncio.CancelledError:
                        if deadline.expired():
                            measured.failed("timeout")
                        raise
                    measured.answered(response.status)
                    return response
        except ApiError:
            raise
        except Exception as error:
            if deadline.expired():
                raise Unavailable(f"{self.service} did not answer within {self.timeout_seconds:g} s") from None
            raise Unavailable(f"{self.service} cannot be reached: {error_line(error)}") from None

    async def _read(self, arriving: httpx.Response) -> Response:
        encoding = arriving.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":  # a little of it could be very much once it is unpacked
            raise Unavailable(f"{self.service} answered with an encoding nobody asked for: {one_line(encoding)}")
        body = bytearray()
        async for part in arriving.aiter_bytes():
            body += part
            if len(body) > self.max_response_bytes:
                raise Unavailable(f"{self.service} answered with more than {self.max_response_bytes / 2**20:g} MiB")
        return Response(arriving.status_code, arriving.headers, bytes(body))


_IN_PATHS = re.compile(r"(?<=/)(projects|iterations|persongroups|largepersongroups|largefacelists)/[^/?]+")


def _template(path: str) -> str:
    """The path with placeholders for its ids: `/projects/{id}/images/metadata`."""
    return _IN_PATHS.sub(r"\1/{id}", path.partition("?")[0])
