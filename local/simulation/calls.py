"""From an HTTP request to the operation it asks for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qs

from local.simulation.models import Api, GroupKind

_UPDATE_IMAGE_METADATA = re.compile(r"/customvision/v3\.3/training/projects/([^/]+)/images/metadata", re.IGNORECASE)
_TRAINING_STATUS = re.compile(
    r"/face/v1\.2(?:-preview\.1)?/(persongroups|largepersongroups|largefacelists)/([^/]+)/training",
    re.IGNORECASE,
)

_PUBLISH_EVENTS = re.compile(r"/api/events/?", re.IGNORECASE)
_ITERATION = re.compile(r"/customvision/v3\.3/training/projects/([^/]+)/iterations/([^/]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; header names are in lower case, the path is decoded, the query is not."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class UpdateImageMetadata:
    """One call of Custom Vision; all ids are in lower case, the images' otherwise as they came."""

    api: ClassVar = Api.CUSTOM_VISION
    project_id: str
    image_ids: tuple[str, ...]
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class GetTrainingStatus:
    """One look at the training of a group."""

    api: ClassVar = Api.FACE
    kind: GroupKind
    group_id: str


@dataclass(frozen=True, slots=True)
class PublishEvents:
    """One call of an Event Grid topic."""

    api: ClassVar = Api.EVENT_GRID
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class GetIteration:
    """One look at an iteration of a project; both ids are in lower case."""

    api: ClassVar = Api.CUSTOM_VISION
    project_id: str
    iteration_id: str


Call = UpdateImageMetadata | GetTrainingStatus | PublishEvents | GetIteration


def route(request: Request) -> Call | None:
    """The operation that a request asks for, None if there is none at this path with this method."""
    if request.method == "POST" and (match := _UPDATE_IMAGE_METADATA.fullmatch(request.path)):
        return UpdateImageMetadata(
            project_id=match[1].lower(),
            image_ids=_image_ids(request.query),
            content_type=request.headers.get("content-type", ""),
            body=request.body,
        )
    if request.method == "GET" and (match := _TRAINING_STATUS.fullmatch(request.path)):
        return GetTrainingStatus(GroupKind(match[1].lower()), match[2])
    if request.method == "POST" and _PUBLISH_EVENTS.fullmatch(request.path):
        return PublishEvents(content_type=request.headers.get("content-type", ""), body=request.body)
    if request.method == "GET" and (match := _ITERATION.fullmatch(request.path)):
        return GetIteration(match[1].lower(), match[2].lower())
    return None


def _image_ids(query: str) -> tuple[str, ...]:
    joined = ",".join(parse_qs(query, keep_blank_values=True).get("imageIds", ())).lower()
    return tuple(joined.split(",")) if joined else ()
