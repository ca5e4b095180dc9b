"""Every kind of misbehaviour, what it does to a call, and whether the call takes effect nevertheless.

The three tables below are the whole of it, and each kind stands in one of them:

    REFUSALS       the call is not handled: no update is applied
    SPOILERS       the call is handled and its updates are applied, but the client does not get the proper answer
    IMAGE_FAULTS   the call is handled, except for one of its images, which stays as it is
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from random import Random

from local.simulation.answers import HTML, Answer, CutOff, Disconnect, Hang, Reply, gateway_error
from local.simulation.custom_vision import custom_vision_error
from local.simulation.event_grid import event_grid_error
from local.simulation.face import face_error
from local.simulation.models import Api, Fault, FaultKind, FaultSetting

WRONG_KEY_MESSAGE = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
FORBIDDEN_MESSAGE = "Access denied due to Virtual Network/Firewall rules."

# Neither documented nor likely ever to be, as a status that is added to the API one day would be to today's clients.
UNKNOWN_STATUS = "ErrorNotForeseen"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What there is to know for refusing a call; `now` is in seconds since the epoch."""

    api: Api
    retry_after_seconds: float
    now: float


def rate_limited(retry_after_seconds: float) -> Answer:
    """The gateway's 429; `Retry-After` is in whole seconds, at least one."""
    seconds = max(1, math.ceil(retry_after_seconds))
    message = f"Rate limit is exceeded. Try again in {seconds} seconds."
    return gateway_error(429, message, (("retry-after", str(seconds)),))


def wrong_key(refusal: Refusal) -> Answer:
    """The gateway's 401."""
    if refusal.api is Api.EVENT_GRID:
        return event_grid_error(401, "Unauthorized", "The request authorization key or token is not authorized.")
    return gateway_error(401, WRONG_KEY_MESSAGE)


def _documented(custom_vision_code: str, face_status: int, face_code: str) -> Callable[[Refusal], Answer]:
    def answer(refusal: Refusal) -> Answer:
        if refusal.api is Api.CUSTOM_VISION:
            return custom_vision_error(custom_vision_code, "The request could not be handled.")
        if refusal.api is Api.EVENT_GRID:
            return event_grid_error(face_status, face_code, "The request could not be handled.")
        return face_error(face_status, face_code, "The request could not be handled.")

    return answer


def _html(status: int) -> Answer:
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
    return Answer(status, page.encode(), HTML)


def _empty(status: int) -> Answer:
    return Answer(status, content_type="text/plain")


def _unavailable(retry_after: str) -> Answer:
    return replace(_html(503), headers=(("retry-after", retry_after),))


def _retry_date(refusal: Refusal) -> str:
    return formatdate(math.ceil(refusal.now + refusal.retry_after_seconds), usegmt=True)


REFUSALS: Mapping[FaultKind, Callable[[Refusal], Reply]] = {
    FaultKind.SERVER_ERROR: _documented("ErrorUnknown", 500, "InternalServerError"),
    FaultKind.SERVER_ERROR_HTML: lambda _: _html(500),
    FaultKind.SERVER_ERROR_EMPTY: lambda _: _empty(500),
    FaultKind.BAD_GATEWAY_HTML: lambda _: _html(502),
    FaultKind.BAD_GATEWAY_EMPTY: lambda _: _empty(502),
    FaultKind.UNAVAILABLE_HTML: lambda _: _html(503),
    FaultKind.UNAVAILABLE_EMPTY: lambda _: _empty(503),
    FaultKind.UNAVAILABLE_FOR_SECONDS: lambda refusal: _unavailable(str(math.ceil(refusal.retry_after_seconds))),
    FaultKind.UNAVAILABLE_UNTIL_DATE: lambda refusal: _unavailable(_retry_date(refusal)),
    FaultKind.TOO_MANY_REQUESTS: lambda refusal: rate_limited(refusal.retry_after_seconds),
    FaultKind.TOO_MANY_REQUESTS_BARE: lambda _: gateway_error(429, "Rate limit is exceeded."),
    FaultKind.REQUEST_TIMEOUT: lambda _: gateway_error(408, "The request timed out."),
    FaultKind.CONFLICT: _documented("Conflict", 409, "ConcurrentOperationConflict"),
    FaultKind.TEAPOT: lambda _: gateway_error(418, "This is a teapot."),
    FaultKind.UNAUTHORIZED: wrong_key,
    FaultKind.FORBIDDEN: lambda _: gateway_error(403, FORBIDDEN_MESSAGE),
    FaultKind.FORBIDDEN_USER: _documented("ForbiddenUser", 403, "Forbidden"),
    FaultKind.NOT_FOUND_BARE: lambda _: _empty(404),
    FaultKind.NOT_JSON: lambda _: _html(200),
    FaultKind.CONNECTION_RESET: lambda _: Disconnect(reset=True),
}


def _truncated(answer: Answer) -> Answer:
    return replace(answer, body=answer.body[: len(answer.body) // 2]) if answer.is_success else answer


# A call that a gateway waits for in vain, or whose answer gets lost, has reached the service: it takes effect.
SPOILERS: Mapping[FaultKind, Callable[[Fault, Answer], Reply]] = {
    FaultKind.GATEWAY_TIMEOUT_HTML: lambda _fault, _answer: _html(504),
    FaultKind.GATEWAY_TIMEOUT_EMPTY: lambda _fault, _answer: _empty(504),
    FaultKind.TRUNCATED_JSON: lambda _fault, answer: _truncated(answer),
    FaultKind.ANSWER_CUT_OFF: lambda _fault, answer: CutOff(answer),
    FaultKind.CONNECTION_CLOSED: lambda _fault, _answer: Disconnect(reset=False),
    FaultKind.HANG: lambda fault, _answer: Hang(fault.hang_seconds),
}

# The status of the image at fault; None leaves it out of the answer.
IMAGE_FAULTS: Mapping[FaultKind, str | None] = {
    FaultKind.IMAGE_MISSING: None,
    FaultKind.IMAGE_NOT_FOUND: "ErrorImageNotFound",
    FaultKind.IMAGE_ERROR_UNKNOWN: "ErrorUnknown",
    FaultKind.IMAGE_UNKNOWN_STATUS: UNKNOWN_STATUS,
}


class FaultPlan:
    """Draws the fault of each call, if it is to have one.

    One random number per call decides, whatever the faults are: each takes its share of the numbers from 0 to 1 in the
    order given. A fault that was drawn as often as it may be is struck off, and those after it move up; so faults of
    share 1 with `times` make a script.

    Raises:
        ValueError: a fault needs images, and this API has none.
    """

    def __init__(self, api: Api, setting: FaultSetting) -> None:
        for fault in setting.faults:
            if fault.kind in IMAGE_FAULTS and api is not Api.CUSTOM_VISION:
                raise ValueError(f"{api} cannot have the fault {fault.kind}: its calls have no images")
        self._armed = [_ArmedFault(fault, fault.times) for fault in setting.faults]
        self._random = Random(setting.seed)  # noqa: S311 - repeatable on purpose

    def draw(self) -> Fault | None:
        """The fault of the next call, None if it has none."""
        if not self._armed:
            return None
        point = self._random.random()
        for armed in self._armed:
            point -= armed.fault.share
            if point < 0:
                self._use(armed)
                return armed.fault
        return None

    def choose_image(self, image_ids: tuple[str, ...]) -> str:
        """The image of a call that is at fault."""
        return self._random.choice(image_ids)

    def _use(self, armed: "_ArmedFault") -> None:
        if armed.times_left is None:
            return
        armed.times_left -= 1
        if armed.times_left == 0:
            self._armed.remove(armed)


@dataclass(slots=True, eq=False)
class _ArmedFault:
    fault: Fault
    times_left: int | None
