"""Custom Vision Training 3.3, UpdateImageMetadata and GetImagesByIds: their rules, without HTTP, key and rate.

The limits and codes are those of the API's reference page; the metadata's can be set, since the published OpenAPI file
of the same version has higher ones. Where the page is silent, this is what is assumed here:

* The pairs of a call are merged into an image's metadata; one that would then have more than are allowed gets
  `ErrorLimitExceed` and stays as it is.
* An id that stands twice in a call is answered once, and ids are compared without regard to case.
* The answer's images come in another order than the question's, since no order is promised.
* A body of `null` is no pairs, since the page calls it nullable.
* GetImagesByIds leaves out images that the project does not have. Its answer is the array of `Image` of the published
  OpenAPI file; of an image's own properties only the id, the metadata and the date are more than a sample here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from local.simulation.answers import Answer, json_answer
from local.simulation.calls import GetImagesByIds, UpdateImageMetadata
from local.simulation.models import Mark, MetadataLimits

MAX_IMAGES_PER_CALL = 64
MAX_IMAGES_PER_READ = 256

CREATED = "2026-01-01T00:00:00.000Z"
WIDTH, HEIGHT = 640, 480

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATUS_BY_PREFIX = {
    "BadRequest": 400,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "UnsupportedMediaType": 415,
    "Error": 500,
}


@dataclass(slots=True)
class Image:
    """What the service knows of an image, and every update that was applied to it, oldest first."""

    metadata: dict[str, str]
    history: list[dict[str, str]] = field(default_factory=list)


class CallRefused(Exception):
    """The call is refused as a whole, with a documented code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def custom_vision_error(code: str, message: str) -> Answer:
    """An error in the documented body; the HTTP status follows from the code's first word.

    Raises:
        ValueError: no documented code begins like this.
    """
    for prefix, status in _STATUS_BY_PREFIX.items():
        if code.startswith(prefix):
            return json_answer(status, {"code": code, "message": message})
    raise ValueError(f"no documented error code begins like {code!r}")


class CustomVision:
    """The projects, their images, and what is to become of marked images."""

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, Image]] = {}
        self.images_updated = 0
        self.limits = MetadataLimits()
        self._marks: dict[str, _ArmedMark] = {}
        self.marks_fired = 0

    def add_images(self, project_id: str, image_ids: tuple[str, ...], metadata: dict[str, str]) -> None:
        """Add images to a project, which is made if need be; an image that is there already stays as it is."""
        images = self.projects.setdefault(project_id, {})
        for image_id in image_ids:
            images.setdefault(image_id, Image(dict(metadata)))

    def mark(self, mark: Mark) -> None:
        """Mark images; an earlier mark of the same image is forgotten.

        Raises:
            ValueError: the code to refuse with is none that is documented.
        """
        if mark.refuse_call_with is not None:
            custom_vision_error(mark.refuse_call_with, "")
        self._marks.update({image_id: _ArmedMark(mark, mark.times) for image_id in mark.image_ids})

    def unmark_all(self) -> None:
        """Forget all marks."""
        self._marks.clear()

    def update_image_metadata(self, call: UpdateImageMetadata, disturbed: Mapping[str, str | None]) -> Answer:
        """Handle a call. A disturbed image stays as it is and gets this status, or is left out of the answer (None)."""
        try:
            metadata = _check_call(call, self.limits)
            images = self._images_of(call.project_id)
            image_ids = tuple(dict.fromkeys(call.image_ids))
            overridden = {**self._fire_marks(image_ids), **disturbed}
        except CallRefused as refused:
            return custom_vision_error(refused.code, str(refused))
        entries = []
        for image_id in reversed(image_ids):
            if image_id not in overridden:
                entries.append(self._update(image_id, images.get(image_id), metadata))
            elif (status := overridden[image_id]) is not None:
                entries.append({"imageId": image_id, "status": status})
        succeeded = all(entry["status"] == "OK" for entry in entries)
        return json_answer(200 if succeeded else 207, {"isBatchSuccessful": succeeded, "images": entries})

    def get_images_by_ids(self, call: GetImagesByIds) -> Answer:
        """Handle a look at images."""
        try:
            _check_ids(call.project_id, call.image_ids, MAX_IMAGES_PER_READ)
            images = self._images_of(call.project_id)
        except CallRefused as refused:
            return custom_vision_error(refused.code, str(refused))
        found = [(image_id, images[image_id]) for image_id in dict.fromkeys(call.image_ids) if image_id in images]
        return json_answer(200, [_document(call.project_id, image_id, image) for image_id, image in reversed(found)])

    def _images_of(self, project_id: str) -> dict[str, Image]:
        if project_id not in self.projects:
            raise CallRefused("NotFoundProject", "Project not found.")
        return self.projects[project_id]

    def _fire_marks(self, image_ids: tuple[str, ...]) -> dict[str, str | None]:
        """The statuses that marks give to images of a call.

        Raises:
            CallRefused: a mark has the whole call refused.
        """
        if not self._marks:
            return {}
        statuses: dict[str, str | None] = {}
        for image_id in image_ids:
            armed = self._marks.get(image_id)
            if armed is None or not armed.fire():
                continue
            self.marks_fired += 1
            if armed.mark.refuse_call_with is not None:
                raise CallRefused(armed.mark.refuse_call_with, "The request was refused because of one of its images.")
            statuses[image_id] = armed.mark.status
        return statuses

    def _update(self, image_id: str, image: Image | None, metadata: dict[str, str]) -> dict[str, object]:
        if image is None:
            return {"imageId": image_id, "status": "ErrorImageNotFound"}
        merged = image.metadata | metadata
        if len(merged) > self.limits.pairs:
            return {"imageId": image_id, "status": "ErrorLimitExceed", "metadata": None}
        image.metadata = merged
        image.history.append(metadata)
        self.images_updated += 1
        return {"imageId": image_id, "status": "OK", "metadata": merged}


@dataclass(slots=True)
class _ArmedMark:
    mark: Mark
    times_left: int | None

    def fire(self) -> bool:
        if self.times_left is None:
            return True
        self.times_left -= 1
        return self.times_left >= 0


def _document(project_id: str, image_id: str, image: Image) -> dict[str, object]:
    """An image as the service tells it."""
    address = f"https://images.invalid/{project_id}/{image_id}"
    return {
        "id": image_id,
        "created": CREATED,
        "width": WIDTH,
        "height": HEIGHT,
        "resizedImageUri": f"{address}/resized",
        "thumbnailUri": f"{address}/thumbnail",
        "originalImageUri": f"{address}/original",
        "metadata": image.metadata,
    }


def _check_call(call: UpdateImageMetadata, limits: MetadataLimits) -> dict[str, str]:
    if call.content_type.partition(";")[0].strip().lower() != "application/json":
        raise CallRefused("UnsupportedMediaType", "The content type must be application/json.")
    _check_ids(call.project_id, call.image_ids, MAX_IMAGES_PER_CALL)
    return _check_metadata(call.body, limits)


def _check_ids(project_id: str, image_ids: tuple[str, ...], most: int) -> None:
    if not _UUID.fullmatch(project_id):
        raise CallRefused("BadRequestInvalidIds", "The project id is not a UUID.")
    if not image_ids:
        raise CallRefused("BadRequestRequiredParamIsNull", "imageIds is missing.")
    if len(image_ids) > most:
        raise CallRefused("BadRequestExceededBatchSize", f"A call can name at most {most} images.")
    if not all(map(_UUID.fullmatch, image_ids)):
        raise CallRefused("BadRequestInvalidIds", "An image id is not a UUID.")


def _check_metadata(body: bytes, limits: MetadataLimits) -> dict[str, str]:
    try:
        metadata = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CallRefused("BadRequestInvalid", "The body is not valid JSON.") from error
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise CallRefused("BadRequestInvalid", "The body is not a JSON object.")
    if len(metadata) > limits.pairs:
        raise CallRefused("BadRequestImageMetadataKey", f"At most {limits.pairs} key-value pairs are allowed.")
    for key, value in metadata.items():
        if not 1 <= len(key) <= limits.key_characters:
            raise CallRefused("BadRequestImageMetadataKey", f"A key must have 1 to {limits.key_characters} characters.")
        if not isinstance(value, str) or len(value) > limits.value_characters:
            raise CallRefused(
                "BadRequestImageMetadataValue",
                f"A value must be a string of at most {limits.value_characters} characters.",
            )
    return metadata
