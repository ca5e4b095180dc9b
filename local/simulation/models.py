"""The values of the control API, for its server and its client alike.

Durations are seconds. A share is a probability between 0 and 1.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Times = Annotated[int, Field(ge=1)]
Uuid = Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
GroupId = Annotated[str, Field(pattern="^[a-z0-9-_]+$", max_length=64)]


class Model(BaseModel):
    """A frozen value; an unknown field is an error, so that a typo is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Api(StrEnum):
    """The services, each with its own key, rate limit, faults and counters."""

    CUSTOM_VISION = "custom-vision"
    FACE = "face"
    EVENT_GRID = "event-grid"


class GroupKind(StrEnum):
    """What Face can train; the values are the path segments."""

    PERSON_GROUP = "persongroups"
    LARGE_PERSON_GROUP = "largepersongroups"
    LARGE_FACE_LIST = "largefacelists"


class FaultKind(StrEnum):
    """The kinds of misbehaviour; `faults.py` says what each does and whether the call takes effect."""

    SERVER_ERROR = "server_error"
    SERVER_ERROR_HTML = "server_error_html"
    SERVER_ERROR_EMPTY = "server_error_empty"
    BAD_GATEWAY_HTML = "bad_gateway_html"
    BAD_GATEWAY_EMPTY = "bad_gateway_empty"
    UNAVAILABLE_HTML = "unavailable_html"
    UNAVAILABLE_EMPTY = "unavailable_empty"
    UNAVAILABLE_FOR_SECONDS = "unavailable_for_seconds"
    UNAVAILABLE_UNTIL_DATE = "unavailable_until_date"
    GATEWAY_TIMEOUT_HTML = "gateway_timeout_html"
    GATEWAY_TIMEOUT_EMPTY = "gateway_timeout_empty"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_MANY_REQUESTS_BARE = "too_many_requests_bare"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    TEAPOT = "teapot"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    FORBIDDEN_USER = "forbidden_user"
    NOT_FOUND_BARE = "not_found_bare"
    NOT_JSON = "not_json"
    TRUNCATED_JSON = "truncated_json"
    ANSWER_CUT_OFF = "answer_cut_off"
    CONNECTION_RESET = "connection_reset"
    CONNECTION_CLOSED = "connection_closed"
    HANG = "hang"
    IMAGE_MISSING = "image_missing"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_ERROR_UNKNOWN = "image_error_unknown"
    IMAGE_UNKNOWN_STATUS = "image_unknown_status"


class Fault(Model):
    """One kind of misbehaviour and how often: a share of the calls, and at most so many times in all."""

    kind: FaultKind
    share: Share = 1.0
    times: Times | None = None
    retry_after_seconds: Seconds = 1.0
    hang_seconds: Seconds = 60.0


class FaultSetting(Model):
    """The faults of one API, tried in order; the same seed draws the same faults for the same sequence of calls."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0


class Latency(Model):
    """Time that a share of the calls takes before it is handled: fixed, plus evenly spread jitter."""

    seconds: Seconds = 0.0
    jitter_seconds: Seconds = 0.0
    share: Share = 1.0
    seed: int = 0


class Outage(Model):
    """Every call fails in one way, whatever its key and rate, until told otherwise or for a time."""

    kind: FaultKind = FaultKind.CONNECTION_RESET
    seconds: Seconds | None = None
    retry_after_seconds: Seconds = 1.0


class KeyChange(Model):
    """The accepted key is another one (None: no key at all), until told otherwise or for a time."""

    key: str | None = Field(default=None, repr=False)
    seconds: Seconds | None = None


class Rate(Model):
    """The rate limit of one API; None is no limit. The burst is one second's worth unless said otherwise."""

    calls_per_second: Annotated[float, Field(gt=0)] | None = 10.0
    burst: Annotated[float, Field(ge=1)] | None = None


class IdentitySetting(Model):
    """The identities that the app has, and how long their tokens are good for (App Service: a day)."""

    system_assigned: bool = True
    user_assigned: tuple[str, ...] = ()
    lifetime_seconds: Annotated[float, Field(gt=0)] = 24 * 3600.0


class Audience(Model):
    """Whom the tokens that an API takes are for."""

    audience: str


class TokenRequest(Model):
    """A token that was asked for: for whom, for which user-assigned identity, when, and how it was answered."""

    resource: str
    client_id: str | None
    at: float
    status: int


class PublishedEvents(Model):
    """What the topic has taken: every event, in order and with repetitions, and how many came in each call."""

    events: tuple[dict[str, Any], ...]
    calls: tuple[int, ...]


class Images(Model):
    """Images to add to a project, which is made if need be. An image that is there already is left as it is."""

    project_id: Uuid
    image_ids: tuple[Uuid, ...] = ()
    metadata: dict[str, str] = {}


class MetadataLimits(Model):
    """How much metadata an image takes: as the operation's page says by default, up to what its OpenAPI file says."""

    pairs: Annotated[int, Field(ge=1)] = 10
    key_characters: Annotated[int, Field(ge=1)] = 128
    value_characters: Annotated[int, Field(ge=1)] = 256


class Mark(Model):
    """What becomes of every call with one of these images (at most so many times per image, if said).

    Either the call is refused as a whole with a documented code, or the image alone gets a status and stays as it is.
    """

    image_ids: tuple[Uuid, ...]
    refuse_call_with: str | None = None
    status: str | None = None
    times: Times | None = None

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.refuse_call_with is None) == (self.status is None):
            raise ValueError("give either refuse_call_with or status")
        return self


class Group(Model):
    """A group that exists and has never been trained."""

    kind: GroupKind = GroupKind.PERSON_GROUP
    id: GroupId


class Training(Model):
    """A training to start now: it is queued, runs, then succeeds, or fails with a message."""

    kind: GroupKind = GroupKind.PERSON_GROUP
    id: GroupId
    queued_seconds: Seconds = 0.0
    running_seconds: Seconds = 1.0
    failure: str | None = None


class IterationTraining(Model):
    """A training of an iteration to start now, in a project that is made if need be.

    It runs, then is completed, or fails. `status`: a word to answer with in place of the documented ones.
    """

    project_id: Uuid
    id: Uuid
    running_seconds: Seconds = 1.0
    fails: bool = False
    status: str | None = None


class ImageState(Model):
    """An image's metadata, how many updates were applied to it, and, if asked for, which, oldest first."""

    metadata: dict[str, str]
    updates: int
    history: tuple[dict[str, str], ...] | None = None


class GroupState(Model):
    """A group's training as Face would tell it; no status where training was never asked for."""

    kind: GroupKind
    id: str
    created_at: datetime
    status: str | None
    last_success_at: datetime | None


class ApiCounters(Model):
    """What one API was asked.

    statuses          answers by HTTP status; "none" where the client got no answer
    faults            misbehaviour that really took place, by kind; also "latency", "outage", "wrong_key"
    images_per_call   how many calls named so many different images (Custom Vision only)
    rate_limited      calls answered 429 because of the rate limit, without those of a fault
    in_flight         calls that have no answer yet
    max_calls_per_second, max_in_flight   the most calls within any second, and at any moment
    """

    calls: int
    statuses: dict[str, int]
    faults: dict[str, int]
    images_per_call: dict[int, int]
    rate_limited: int
    max_calls_per_second: int
    in_flight: int
    max_in_flight: int


class Counters(Model):
    """What was asked of all APIs, and how many calls were for no API at all."""

    custom_vision: ApiCounters
    face: ApiCounters
    event_grid: ApiCounters
    wrong_paths: int
    images_updated: int
