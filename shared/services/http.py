"""Calls to an API over HTTP: what is sent, how much is read, and what counts as no response.

What a response means for its call, see `api_errors`, `custom_vision` and `training_status`.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx
from azure.core.credentials_async import AsyncTokenCredential

from shared.errors import ApiError, Unavailable
from shared.messages.watch import Api
from shared.services.authentication import Authentication, identity_authentication, key_authentication
from shared.settings import Settings
from shared.telemetry import OFF, Telemetry
from shared.text import error_line, one_line

MAX_RESPONSE_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
MAX_RETRY_AFTER_SECONDS = 600.0  # a service that needs longer says so again


def read_json(response: httpx.Response) -> Any:
    """The body's JSON. Raises `ValueError`, also if it is not UTF-8 or nested too deeply."""
    try:
        return response.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def retry_after_seconds(response: httpx.Response) -> float | None:
    """How long the service asks to wait (RFC 9110, 10.2.3); None if it says nothing that can be read."""
    value = response.headers.get("retry-after", "")
    if value.strip().isdecimal():
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    until = _read_date(value)
    if until is None:
        return None
    now = _read_date(response.headers.get("date", "")) or datetime.now(UTC)  # by the service's own clock, if it tells
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _read_date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def new_client() -> httpx.AsyncClient:
    """Make the process's pool of connections. The proxy comes from the environment, certificates from the system.

    It follows no redirect, which could carry a key to a host that nobody configured.
    """
    return httpx.AsyncClient(
        headers={"User-Agent": "vision-relay", "Accept": "application/json", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=30.0
        ),
        timeout=httpx.Timeout(None, connect=10.0),
        verify=ssl.create_default_context(),
    )


@dataclass(frozen=True, slots=True)
class JsonApi:
    """Calls to one resource."""

    client: httpx.AsyncClient
    endpoint: str
    authentication: Authentication
    service: str  # its name in errors
    access: str  # the settings to look at, in errors
    timeout_seconds: float  # of a whole call, from its token to its last byte
    telemetry: Telemetry = OFF
    max_response_bytes: int = MAX_RESPONSE_BYTES

    async def call(self, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        """Make one call and return its whole response, whatever its status.

        `path` is sent as it is: its parts must be validated. Raises `Unavailable` if there is no whole response in
        time, for whatever reason in whichever library, and `AccessDenied` if there is no token.
        """
        url, host = self.endpoint + path, urlsplit(self.endpoint).hostname or ""
        deadline = asyncio.timeout(self.timeout_seconds)
        try:
            async with deadline:
                headers = dict(await self.authentication())
                if body is not None:
                    headers["Content-Type"] = "application/json"
                with self.telemetry.api_call(method, host, _template(path), deadline) as responded:
                    async with self.client.stream(method, url, headers=headers, content=body) as arriving:
                        response = await self._read(arriving)
                    responded(response.status_code)
                    return response
        except ApiError:
            raise
        except Exception as error:
            if deadline.expired():
                raise Unavailable(f"{self.service} did not respond within {self.timeout_seconds:g} s") from None
            raise Unavailable(f"{self.service} cannot be reached: {error_line(error)}") from None

    async def _read(self, arriving: httpx.Response) -> httpx.Response:
        encoding = arriving.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":  # a little of it could be very much once it is unpacked
            raise Unavailable(f"{self.service} responded with an encoding nobody asked for: {one_line(encoding)}")
        body = bytearray()
        async for part in arriving.aiter_bytes():
            body += part
            if len(body) > self.max_response_bytes:
                raise Unavailable(f"{self.service} responded with more than {self.max_response_bytes / 2**20:g} MiB")
        return httpx.Response(arriving.status_code, headers=arriving.headers, content=bytes(body))


def new_json_api(
    settings: Settings,
    api: Api,
    client: httpx.AsyncClient,
    identity: Callable[[], AsyncTokenCredential],
    telemetry: Telemetry = OFF,
    max_response_bytes: int = MAX_RESPONSE_BYTES,
) -> JsonApi:
    """The way to a resource: with its key if one is set, otherwise with a token of the identity, made only then."""
    if api is Api.FACE:
        endpoint, key = settings.face_endpoint, settings.face_key
        header, setting = "Ocp-Apim-Subscription-Key", "FACE_KEY"
    else:
        endpoint, key = settings.custom_vision_endpoint, settings.custom_vision_training_key
        header, setting = "Training-key", "CUSTOM_VISION_TRAINING_KEY"
    if key is not None:
        authentication = key_authentication(header, key)
    else:
        authentication = identity_authentication(identity(), settings.audience_of(endpoint), setting)
    access, timeout = f"{setting} and {api.name}_ENDPOINT", settings.api_timeout_seconds
    return JsonApi(client, endpoint, authentication, api, access, timeout, telemetry, max_response_bytes)


_IN_PATHS = re.compile(r"(?<=/)(projects|iterations|persongroups|largepersongroups|largefacelists)/[^/?]+")


def _template(path: str) -> str:
    """The path with placeholders for its ids: `/projects/{id}/images/metadata`."""
    return _IN_PATHS.sub(r"\1/{id}", path.partition("?")[0])
