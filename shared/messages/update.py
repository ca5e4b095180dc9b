"""The message of the updates queue: give these images this metadata."""

from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, FailFast, Field, StringConstraints, TypeAdapter, ValidationInfo
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from shared.messages.custom_vision_ids import ImageId, ProjectId
from shared.messages.validation import MAX_QUOTED, WIRE, OptionalCorrelationId, OptionalTraceparent, read_message
from shared.text import one_line


class MetadataLimits(NamedTuple):
    """How much metadata the service takes, by default as Custom Vision Training 3.3, UpdateImageMetadata, says."""

    pairs: int = 10
    key_characters: int = 128
    value_characters: int = 256


PAGE_LIMITS = MetadataLimits()


def _few_pairs(value: object, info: ValidationInfo) -> object:
    """Count first: otherwise each of 64 KiB of wrong pairs would be named."""
    limits: MetadataLimits = info.context or PAGE_LIMITS
    if isinstance(value, dict) and len(value) > limits.pairs:
        raise PydanticCustomError("pairs", f"must have at most {limits.pairs} pairs (MAX_METADATA_PAIRS)")
    return value


def _short(metadata: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    """Check all pairs in one call: a call for each key and value takes as long as all the rest."""
    limits: MetadataLimits = info.context or PAGE_LIMITS
    for key, value in metadata.items():
        if len(key) > limits.key_characters:
            raise _too_long("key", key, limits.key_characters, "MAX_METADATA_KEY_CHARACTERS")
        if len(value) > limits.value_characters:
            raise _too_long("value of", key, limits.value_characters, "MAX_METADATA_VALUE_CHARACTERS")
    return metadata


def _too_long(what: str, key: str, longest: int, setting: str) -> PydanticCustomError:
    named = one_line(repr(key), MAX_QUOTED)
    return PydanticCustomError("characters", f"the {what} {named} must have at most {longest} characters ({setting})")


Metadata = Annotated[
    # min_length=0, since without any constraint pydantic takes text that UTF-8 cannot write
    dict[Annotated[str, StringConstraints(min_length=1)], Annotated[str, StringConstraints(min_length=0)]],
    BeforeValidator(_few_pairs),
    AfterValidator(_short),
    Field(
        description="What each image gets. An app can be set to take more.",
        json_schema_extra={
            "maxProperties": PAGE_LIMITS.pairs,
            "propertyNames": {"minLength": 1, "maxLength": PAGE_LIMITS.key_characters},
            "additionalProperties": {"type": "string", "maxLength": PAGE_LIMITS.value_characters},
        },
    ),
]


class BatchKey(NamedTuple):
    """What updates must have in common to share a call: the project and the pairs, in any order."""

    project_id: ProjectId
    metadata: frozenset[tuple[str, str]]


def left_of(older: BatchKey, newer: BatchKey) -> BatchKey | None:
    """What an older update of an image still has to set once a newer one is applied; None if nothing.

    The service keeps the pairs that an update does not name, and an image belongs to one project.
    """
    if older.project_id != newer.project_id:
        return older
    replaced = {key for key, _ in newer.metadata}
    left = frozenset(pair for pair in older.metadata if pair[0] not in replaced)
    return older._replace(metadata=left) if left else None


@dataclass(config=WIRE, frozen=True, slots=True)  # a dataclass: a thousand of them wait at the same time
class MetadataUpdate:
    """One message of the updates queue: give these images this metadata."""

    project_id: Annotated[ProjectId, Field(description="The Custom Vision project.")]
    image_ids: Annotated[
        tuple[ImageId, ...], FailFast(), Field(description="As many as fit a message of 64 KiB.", min_length=1)
    ]
    metadata: Metadata
    correlation_id: OptionalCorrelationId = None
    traceparent: OptionalTraceparent = None

    @property
    def key(self) -> BatchKey:
        """Updates with the same key can share a call."""
        return BatchKey(self.project_id, frozenset(self.metadata.items()))

    def to_dict(self) -> dict[str, Any]:
        """The message as it stands on the wire."""
        return dict(UPDATE.dump_python(self, mode="json", by_alias=True, exclude_none=True))


UPDATE = TypeAdapter(MetadataUpdate)


def parse_update(body: bytes, limits: MetadataLimits | None = None) -> MetadataUpdate:
    """Read a message of the updates queue. Raises `InvalidMessage`."""
    return read_message(UPDATE, body, limits)[0]
