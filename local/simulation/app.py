"""The ASGI application: the services, the token endpoint, and the control API under /_control."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, cast

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from local.simulation.answers import Answer, CutOff, Disconnect, Hang, Reply, gateway_error
from local.simulation.calls import Call, Request, UpdateImageMetadata, route
from local.simulation.control_api import control_routes
from local.simulation.simulation import Simulation

CONTROL_PREFIX = "/_control"
TOKEN_PATH = "/msi/token"  # noqa: S105 - a path
BREAK_CONNECTION = "local.simulation.break_connection"
"""The ASGI extension through which the server lets an application break the connection; see server.py."""


class BreakConnection(Protocol):
    """Breaks the connection of the current request, with a reset or an ordinary end."""

    def __call__(self, *, reset: bool) -> None:
        """Break it now; what was sent before an ordinary end still arrives."""


def create_app(simulation: Simulation) -> Starlette:
    """The application around a simulation."""
    return Starlette(
        routes=[
            Mount(CONTROL_PREFIX, routes=control_routes(simulation)),
            Route(TOKEN_PATH, _token_endpoint(simulation)),
            Mount("/", app=ServiceEndpoint(simulation)),
        ]
    )


def _token_endpoint(simulation: Simulation) -> Callable[[HttpRequest], Awaitable[Response]]:
    async def give(request: HttpRequest) -> Response:
        answer = simulation.identity.token(request.query_params, request.headers, simulation.clock())
        return Response(answer.body, answer.status, media_type=answer.content_type)

    return give


class ServiceEndpoint:
    """The services' own addresses. Plain ASGI, because benchmarks measure clients and not this."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or leave it unanswered as a fault demands."""
        request = await _read(scope, receive)
        call = route(request)
        if call is None:
            self._simulation.wrong_paths += 1
            await _deliver(gateway_error(404, "Resource not found"), scope, receive, send)
            return
        gateway = self._simulation.gateways[call.api]
        with gateway.counters.call(self._simulation.clock(), _count_images(call)):
            reply = await self._simulation.reply(gateway, call, request.headers)
            await _deliver(reply, scope, receive, send)


def _count_images(call: Call) -> int | None:
    return len(set(call.image_ids)) if isinstance(call, UpdateImageMetadata) else None


async def _read(scope: Scope, receive: Receive) -> Request:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("ascii"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _deliver(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    match reply:
        case Answer():
            await _send_head(reply, send)
            await send({"type": "http.response.body", "body": reply.body})
        case CutOff(answer):
            await _send_head(answer, send)
            half = answer.body[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await _break_connection(scope, receive, reset=False)
        case Disconnect(reset):
            await _break_connection(scope, receive, reset=reset)
        case Hang(seconds):
            # A server that stops cancels what hangs; that call must not get an answer either.
            with suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(_client_has_left(receive), seconds)
                return
            await _break_connection(scope, receive, reset=False)


async def _send_head(answer: Answer, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *((name.encode(), value.encode()) for name, value in answer.headers),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _break_connection(scope: Scope, receive: Receive, *, reset: bool) -> None:
    cast("BreakConnection", scope["extensions"][BREAK_CONNECTION])(reset=reset)
    # The server has to know that the connection is gone, or it would answer 500 in place of the missing answer.
    await _client_has_left(receive)


async def _client_has_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
