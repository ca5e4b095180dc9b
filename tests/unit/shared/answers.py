"""Answers of an API, made up, and the app's way to call an API that gives them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict
from pydantic import SecretStr

from shared.services.authentication import KeyAuthentication
from shared.services.http import Answer, JsonApi

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "marked-secret-key"
ENDPOINT = "https://api.example"
TIMEOUT_SECONDS = 30.0

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    """An answer; a body that is not bytes is written as JSON, `retry_after` becomes `Retry-After`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), raw)


def gateway_error(status: int, message: str = "Access denied due to invalid subscription key.") -> dict[str, Any]:
    """The body of the gateway in front of both services."""
    return {"error": {"code": str(status), "message": message}}


@dataclass(frozen=True, slots=True)
class Request:
    """What was sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass
class FakeExchange:
    """Gives this answer or raises this error, and keeps what was sent."""

    outcome: Answer | BaseException
    sent: list[Request] = field(default_factory=list)

    async def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        self.sent.append(Request(method, url, headers, body))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def api_answering(outcome: Answer | BaseException, key: str = KEY) -> tuple[JsonApi, list[Request]]:
    """An API that answers so, and the list of what it is sent."""
    exchange = FakeExchange(outcome)
    auth = KeyAuthentication("Api-Key", SecretStr(key))
    return JsonApi(exchange, ENDPOINT, auth, "The service", TIMEOUT_SECONDS), exchange.sent
