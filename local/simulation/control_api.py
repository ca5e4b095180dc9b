"""The routes under /_control: what the simulation can be told while it runs, and what it tells.

Bodies are the models of `models.py`; what is wrong with one is answered 422 with `{"error": text}`. Nothing here
needs a key or counts as a call.

    GET    /health
    POST   /reset                       forget everything
    GET    /counters
    PUT    /projects/images             Images
    GET    /projects/{id}/images        {image id: ImageState}; ?history=true for all that was applied
    PUT    /metadata-limits             MetadataLimits
    POST   /iterations/training         IterationTraining
    PUT    /marks                       Mark
    DELETE /marks
    GET    /events                      PublishedEvents
    PUT    /identity                    IdentitySetting
    GET    /identity/requests           [TokenRequest]
    PUT    /{api}/audience              Audience
    GET    /groups                      [GroupState]
    PUT    /groups                      Group
    DELETE /groups                      Group
    POST   /groups/training             Training
    PUT    /{api}/rate                  Rate
    PUT    /{api}/latency               Latency
    PUT    /{api}/faults                FaultSetting
    PUT    /{api}/outage                Outage
    DELETE /{api}/outage
    PUT    /{api}/key                   KeyChange
    DELETE /{api}/key
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.simulation.custom_vision import Image
from local.simulation.gateway import Gateway
from local.simulation.models import (
    Api,
    Audience,
    FaultSetting,
    Group,
    GroupState,
    IdentitySetting,
    Images,
    ImageState,
    IterationTraining,
    KeyChange,
    Latency,
    Mark,
    MetadataLimits,
    Outage,
    PublishedEvents,
    Rate,
    TokenRequest,
    Training,
)
from local.simulation.simulation import Simulation

M = TypeVar("M", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]

_IMAGES = TypeAdapter(dict[str, ImageState])
_GROUPS = TypeAdapter(list[GroupState])
_TOKEN_REQUESTS = TypeAdapter(list[TokenRequest])


def control_routes(simulation: Simulation) -> list[Route]:
    """The routes, relative to the prefix."""
    return [
        *_general(simulation),
        *_custom_vision(simulation),
        *_face(simulation),
        *_event_grid(simulation),
        *_identity(simulation),
        *_gateways(simulation),
    ]


def _general(simulation: Simulation) -> list[Route]:
    async def health(_: Request) -> Response:
        return _done()

    async def reset(_: Request) -> Response:
        simulation.reset()
        return _done()

    async def counters(_: Request) -> Response:
        return _json(simulation.counters().model_dump_json().encode())

    return [_route("GET", "/health", health), _route("POST", "/reset", reset), _route("GET", "/counters", counters)]


def _custom_vision(simulation: Simulation) -> list[Route]:
    def add_images(images: Images) -> None:
        simulation.custom_vision.add_images(images.project_id, images.image_ids, images.metadata)

    def mark_images(mark: Mark) -> None:
        simulation.custom_vision.mark(mark)

    def set_limits(limits: MetadataLimits) -> None:
        simulation.custom_vision.limits = limits

    async def read_images(request: Request) -> Response:
        images = simulation.custom_vision.projects.get(request.path_params["id"])
        if images is None:
            raise HTTPException(404)
        with_history = request.query_params.get("history") == "true"
        states = {image_id: _image_state(image, with_history=with_history) for image_id, image in images.items()}
        return _json(_IMAGES.dump_json(states))

    async def delete_marks(_: Request) -> Response:
        simulation.custom_vision.unmark_all()
        return _done()

    return [
        _setter("PUT", "/projects/images", Images, add_images),
        _route("GET", "/projects/{id}/images", read_images),
        _setter("PUT", "/metadata-limits", MetadataLimits, set_limits),
        _setter("POST", "/iterations/training", IterationTraining, simulation.train_iteration),
        _setter("PUT", "/marks", Mark, mark_images),
        _route("DELETE", "/marks", delete_marks),
    ]


def _face(simulation: Simulation) -> list[Route]:
    def remove_group(group: Group) -> None:
        simulation.face.remove_group(group)

    async def read_groups(_: Request) -> Response:
        return _json(_GROUPS.dump_json(simulation.face.states(simulation.clock())))

    return [
        _route("GET", "/groups", read_groups),
        _setter("PUT", "/groups", Group, lambda group: simulation.face.add_group(group, simulation.clock())),
        _setter("DELETE", "/groups", Group, remove_group),
        _setter("POST", "/groups/training", Training, lambda asked: simulation.face.train(asked, simulation.clock())),
    ]


def _event_grid(simulation: Simulation) -> list[Route]:
    async def read_events(_: Request) -> Response:
        topic = simulation.event_grid
        return _json(PublishedEvents(events=tuple(topic.events), calls=tuple(topic.calls)).model_dump_json().encode())

    return [_route("GET", "/events", read_events)]


def _identity(simulation: Simulation) -> list[Route]:
    def set_identity(setting: IdentitySetting) -> None:
        simulation.identity.setting = setting

    async def read_requests(_: Request) -> Response:
        return _json(_TOKEN_REQUESTS.dump_json(simulation.identity.requests))

    async def set_audience(request: Request) -> Response:
        api = _gateway(simulation, request).api

        def apply(value: Audience) -> None:
            simulation.identity.audiences[api] = value.audience

        return await _apply(request, Audience, apply)

    return [
        _setter("PUT", "/identity", IdentitySetting, set_identity),
        _route("GET", "/identity/requests", read_requests),
        _route("PUT", "/{api}/audience", set_audience),
    ]


def _gateways(simulation: Simulation) -> list[Route]:
    now = simulation.clock

    def setter(path: str, model: type[M], apply: Callable[[Gateway, M], None]) -> Route:
        async def handle(request: Request) -> Response:
            return await _apply(request, model, lambda value: apply(_gateway(simulation, request), value))

        return _route("PUT", path, handle)

    async def end_outage(request: Request) -> Response:
        _gateway(simulation, request).set_outage(None, now())
        return _done()

    async def restore_key(request: Request) -> Response:
        _gateway(simulation, request).change_key(None, now())
        return _done()

    return [
        setter("/{api}/rate", Rate, lambda gateway, rate: gateway.set_rate(rate, now())),
        setter("/{api}/latency", Latency, lambda gateway, latency: gateway.set_latency(latency)),
        setter("/{api}/faults", FaultSetting, lambda gateway, setting: gateway.set_faults(setting)),
        setter("/{api}/outage", Outage, lambda gateway, outage: gateway.set_outage(outage, now())),
        _route("DELETE", "/{api}/outage", end_outage),
        setter("/{api}/key", KeyChange, lambda gateway, change: gateway.change_key(change, now())),
        _route("DELETE", "/{api}/key", restore_key),
    ]


def _route(method: str, path: str, handler: Handler) -> Route:
    return Route(path, handler, methods=[method])


def _setter(method: str, path: str, model: type[M], apply: Callable[[M], None]) -> Route:
    async def handle(request: Request) -> Response:
        return await _apply(request, model, apply)

    return _route(method, path, handle)


async def _apply(request: Request, model: type[M], apply: Callable[[M], None]) -> Response:
    try:
        apply(model.model_validate_json(await request.body()))
    except ValueError as error:
        return JSONResponse({"error": str(error)}, status_code=422)
    return _done()


def _gateway(simulation: Simulation, request: Request) -> Gateway:
    try:
        return simulation.gateways[Api(request.path_params["api"])]
    except ValueError as error:
        raise HTTPException(404) from error


def _image_state(image: Image, *, with_history: bool) -> ImageState:
    history = tuple(image.history) if with_history else None
    return ImageState(metadata=image.metadata, updates=len(image.history), history=history)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _done() -> Response:
    return Response(status_code=204)
