"""The message of the updates queue: give these images this metadata."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, FailFast, StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from shared.messages.ids import ImageId, ProjectId
from shared.messages.validation import NO_UUIDS, WIRE, CorrelationId, read_message

MAX_METADATA_PAIRS = 10
MAX_METADATA_KEY = 128
MAX_METADATA_VALUE = 256


def _not_empty(value: tuple[ImageId, ...]) -> tuple[ImageId, ...]:
    if not value:
        raise PydanticCustomError("empty", NO_UUIDS)
    return value


def _few_pairs(value: object) -> object:
    """Count before looking: 64 KiB of wrong pairs would be told one by one."""
    if isinstance(value, dict) and len(value) > MAX_METADATA_PAIRS:
        raise PydanticCustomError("pairs", f"must have at most {MAX_METADATA_PAIRS} pairs")
    return value


MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_METADATA_KEY)]
MetadataValue = Annotated[str, StringConstraints(max_length=MAX_METADATA_VALUE)]


class BatchKey(NamedTuple):
    """What updates must have in common to share a call: the project and, whatever their order, the pairs."""

    project_id: ProjectId
    metadata: frozenset[tuple[str, str]]


@dataclass(config=WIRE, frozen=True, slots=True)  # a dataclass: a thousand of them wait at the same time
class MetadataUpdate:
    """One message of the updates queue: give these images this metadata.

    Limits: 1 image or more, as many as fit a queue message of 64 KiB; at most 10 pairs, keys of 1 to 128 and values of
    up to 256 characters (Custom Vision Training 3.3, UpdateImageMetadata).
    """

    project_id: ProjectId
    image_ids: Annotated[tuple[ImageId, ...], FailFast(), AfterValidator(_not_empty)]
    metadata: Annotated[dict[MetadataKey, MetadataValue], BeforeValidator(_few_pairs)]
    correlation_id: CorrelationId | None = None

    @property
    def key(self) -> BatchKey:
        """What an update that shares a call with this one has in common with it."""
        return BatchKey(self.project_id, frozenset(self.metadata.items()))

    def to_dict(self) -> dict[str, Any]:
        """The message as it stands on the wire."""
        fields: dict[str, Any] = _UPDATE.dump_python(self, mode="json", by_alias=True, exclude_none=True)
        return fields


_UPDATE = TypeAdapter(MetadataUpdate)


def parse_update(body: bytes) -> MetadataUpdate:
    """Read a message of the updates queue. Raises `InvalidMessage`."""
    return read_message(_UPDATE, body)
