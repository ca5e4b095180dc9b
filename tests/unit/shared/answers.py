"""Answers of an API, made up, and the app's way to call an API that gives them."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import httpx
from pydantic import SecretStr

from shared.services.authentication import Authentication, key_authentication
from shared.services.http import JsonApi

KEY = "marked-secret-key"
ENDPOINT = "https://api.example"
TIMEOUT_SECONDS = 30.0

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"

ANYTHING = [
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    httpx.ReadTimeout("slow"),
    httpx.ReadError("cut"),
    httpx.InvalidURL("odd"),
    ConnectionResetError("reset"),
    OSError("no route"),
    TimeoutError("of the library"),
    ssl.SSLError("certificate"),
    UnicodeEncodeError("utf-8", "r\udce9essayez", 1, 2, "surrogates not allowed"),
    UnicodeDecodeError("ascii", b"\xe9", 0, 1, "ordinal not in range"),
    asyncio.IncompleteReadError(b"", 1),
    asyncio.InvalidStateError("in the transport"),
    AssertionError(),
    AttributeError("of a library"),
    KeyError("header"),
    RuntimeError("Session is closed"),
    ValueError("Can redirect only to http or https"),
    ExceptionGroup("both ways", [OSError("IPv6"), OSError("IPv4")]),
]
"""Errors that a library may raise."""


def answer(status: int, body: Any = b"", **headers: str) -> httpx.Response:
    """An answer; a body that is not bytes is written as JSON, `retry_after` becomes `Retry-After`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=httpx.Headers(names, "utf-8"), content=raw)


def gateway_error(status: int, message: str = "Access denied due to invalid subscription key.") -> dict[str, Any]:
    """The body of the gateway in front of both services."""
    return {"error": {"code": str(status), "message": message}}


def client_answering(outcome: httpx.Response | BaseException) -> tuple[httpx.AsyncClient, list[httpx.Request]]:
    """A client whose requests are all answered so, and the list of them."""
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if isinstance(outcome, BaseException):
            raise outcome
        return httpx.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)

    return httpx.AsyncClient(transport=httpx.MockTransport(handle)), sent


def new_api(client: httpx.AsyncClient, authentication: Authentication) -> JsonApi:
    return JsonApi(client, ENDPOINT, authentication, "The service", "THE_KEY and THE_ENDPOINT", TIMEOUT_SECONDS)


def api_answering(outcome: httpx.Response | BaseException, key: str = KEY) -> tuple[JsonApi, list[httpx.Request]]:
    """An API that answers so, and the list of what it is sent."""
    client, sent = client_answering(outcome)
    return new_api(client, key_authentication("Api-Key", SecretStr(key))), sent
