"""Each kind of misbehaviour does what its table says, is counted, and comes as often as it was asked for.

What breaks a connection needs a real one: see the tests against the process.
"""

import json
from collections import Counter
from email.utils import parsedate_to_datetime

import httpx
import pytest

from local.simulation.control import SimulationControl
from local.simulation.faults import IMAGE_FAULTS, REFUSALS, SPOILERS, UNKNOWN_STATUS, FaultPlan
from local.simulation.models import Api, Fault, FaultKind, FaultSetting
from tests.unit.local.simulation.clients import (
    NOON,
    PROJECT,
    CustomVisionClient,
    FaceClient,
    SettableClock,
    make_ids,
    statuses,
)

BREAKS_CONNECTION = {
    FaultKind.CONNECTION_RESET,
    FaultKind.CONNECTION_CLOSED,
    FaultKind.ANSWER_CUT_OFF,
    FaultKind.HANG,
}
STATUS = {
    FaultKind.SERVER_ERROR: 500,
    FaultKind.SERVER_ERROR_HTML: 500,
    FaultKind.SERVER_ERROR_EMPTY: 500,
    FaultKind.BAD_GATEWAY_HTML: 502,
    FaultKind.BAD_GATEWAY_EMPTY: 502,
    FaultKind.UNAVAILABLE_HTML: 503,
    FaultKind.UNAVAILABLE_EMPTY: 503,
    FaultKind.UNAVAILABLE_FOR_SECONDS: 503,
    FaultKind.UNAVAILABLE_UNTIL_DATE: 503,
    FaultKind.GATEWAY_TIMEOUT_HTML: 504,
    FaultKind.GATEWAY_TIMEOUT_EMPTY: 504,
    FaultKind.TOO_MANY_REQUESTS: 429,
    FaultKind.TOO_MANY_REQUESTS_BARE: 429,
    FaultKind.REQUEST_TIMEOUT: 408,
    FaultKind.CONFLICT: 409,
    FaultKind.TEAPOT: 418,
    FaultKind.UNAUTHORIZED: 401,
    FaultKind.FORBIDDEN: 403,
    FaultKind.FORBIDDEN_USER: 403,
    FaultKind.NOT_FOUND_BARE: 404,
    FaultKind.NOT_JSON: 200,
    FaultKind.TRUNCATED_JSON: 200,
    FaultKind.IMAGE_MISSING: 200,
    FaultKind.IMAGE_NOT_FOUND: 207,
    FaultKind.IMAGE_ERROR_UNKNOWN: 207,
    FaultKind.IMAGE_UNKNOWN_STATUS: 207,
}
ANSWERED = sorted(STATUS)


async def misbehave_once(
    control: SimulationControl, custom_vision: CustomVisionClient, kind: FaultKind
) -> tuple[httpx.Response, int]:
    """The answer to a call of 8 images, and how many of them were updated."""
    ids = make_ids(8)
    await control.add_images(PROJECT, ids)
    await control.set_faults(Api.CUSTOM_VISION, Fault(kind=kind, times=1))
    response = await custom_vision.update(ids)
    images = await control.images(PROJECT)
    return response, sum(images[image].updates for image in ids)


def test_every_kind_stands_in_one_table() -> None:
    assert Counter([*REFUSALS, *SPOILERS, *IMAGE_FAULTS]) == Counter(FaultKind)
    assert STATUS.keys() | BREAKS_CONNECTION == set(FaultKind)


@pytest.mark.parametrize("kind", ANSWERED)
async def test_a_fault_has_its_status_takes_effect_as_its_table_says_and_is_counted(
    control: SimulationControl, custom_vision: CustomVisionClient, kind: FaultKind
) -> None:
    response, updated = await misbehave_once(control, custom_vision, kind)
    assert response.status_code == STATUS[kind]
    assert updated == (0 if kind in REFUSALS else 8 if kind in SPOILERS else 7)
    counters = (await control.counters()).custom_vision
    assert counters.faults == {kind: 1}
    assert counters.statuses == {str(STATUS[kind]): 1}


@pytest.mark.parametrize("kind", sorted(kind for kind in ANSWERED if kind not in IMAGE_FAULTS))
async def test_face_misbehaves_in_the_same_ways(control: SimulationControl, face: FaceClient, kind: FaultKind) -> None:
    await control.train("g")
    await control.set_faults(Api.FACE, Fault(kind=kind, times=1))
    assert (await face.training("g")).status_code == STATUS[kind]
    assert (await face.training("g")).status_code == 200
    assert (await control.counters()).face.faults == {kind: 1}


@pytest.mark.parametrize(
    ("kind", "custom_vision_code", "face_code"),
    [
        (FaultKind.SERVER_ERROR, "ErrorUnknown", "InternalServerError"),
        (FaultKind.CONFLICT, "Conflict", "ConcurrentOperationConflict"),
        (FaultKind.FORBIDDEN_USER, "ForbiddenUser", "Forbidden"),
    ],
)
async def test_a_service_fails_in_its_own_words(
    control: SimulationControl,
    custom_vision: CustomVisionClient,
    face: FaceClient,
    kind: FaultKind,
    custom_vision_code: str,
    face_code: str,
) -> None:
    await control.set_faults(Api.FACE, Fault(kind=kind))
    response, _ = await misbehave_once(control, custom_vision, kind)
    assert response.json()["code"] == custom_vision_code
    assert (await face.training("g")).headers["x-ms-error-code"] == face_code


@pytest.mark.parametrize("kind", sorted(kind for kind in ANSWERED if kind.endswith(("_html", "_empty", "_bare"))))
async def test_what_stands_between_answers_html_or_nothing(
    control: SimulationControl, custom_vision: CustomVisionClient, kind: FaultKind
) -> None:
    response, _ = await misbehave_once(control, custom_vision, kind)
    if kind.endswith("_html"):
        assert response.text.startswith("<html>")
    elif kind.endswith("_empty"):
        assert response.content == b""
    assert "retry-after" not in response.headers


@pytest.mark.parametrize(
    ("kind", "retry_after"), [(FaultKind.UNAVAILABLE_FOR_SECONDS, "3"), (FaultKind.TOO_MANY_REQUESTS, "3")]
)
async def test_retry_after_is_in_whole_seconds(
    control: SimulationControl, face: FaceClient, kind: FaultKind, retry_after: str
) -> None:
    await control.set_faults(Api.FACE, Fault(kind=kind, retry_after_seconds=2.5))
    assert (await face.training("g")).headers["retry-after"] == retry_after


async def test_retry_after_can_be_a_date(control: SimulationControl, face: FaceClient) -> None:
    await control.set_faults(Api.FACE, Fault(kind=FaultKind.UNAVAILABLE_UNTIL_DATE, retry_after_seconds=5))
    retry_after = (await face.training("g")).headers["retry-after"]
    assert parsedate_to_datetime(retry_after).timestamp() == NOON + 5


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED_JSON, FaultKind.NOT_JSON])
async def test_some_successes_cannot_be_read(
    control: SimulationControl, custom_vision: CustomVisionClient, kind: FaultKind
) -> None:
    response, _ = await misbehave_once(control, custom_vision, kind)
    with pytest.raises(json.JSONDecodeError):
        response.json()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FaultKind.IMAGE_NOT_FOUND, "ErrorImageNotFound"),
        (FaultKind.IMAGE_ERROR_UNKNOWN, "ErrorUnknown"),
        (FaultKind.IMAGE_UNKNOWN_STATUS, UNKNOWN_STATUS),
    ],
)
async def test_one_image_of_a_call_can_be_at_fault(
    control: SimulationControl, custom_vision: CustomVisionClient, kind: FaultKind, status: str
) -> None:
    response, _ = await misbehave_once(control, custom_vision, kind)
    assert Counter(statuses(response).values()) == {"OK": 7, status: 1}


async def test_an_image_can_be_missing_from_a_success(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    response, _ = await misbehave_once(control, custom_vision, FaultKind.IMAGE_MISSING)
    assert response.json()["isBatchSuccessful"] is True
    assert len(response.json()["images"]) == 7


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED_JSON, FaultKind.IMAGE_MISSING])
async def test_a_refused_call_has_nothing_to_spoil_and_counts_as_no_fault(
    control: SimulationControl, custom_vision: CustomVisionClient, kind: FaultKind
) -> None:
    await control.set_faults(Api.CUSTOM_VISION, Fault(kind=kind))
    for ids in ([], ["not-a-uuid"]):
        assert (await custom_vision.update(ids)).json()["code"]
    assert (await control.counters()).custom_vision.faults == {}


async def test_faults_of_all_calls_with_times_make_a_script(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    await control.set_faults(
        Api.FACE, Fault(kind=FaultKind.SERVER_ERROR, times=2), Fault(kind=FaultKind.TOO_MANY_REQUESTS, times=1)
    )
    assert [(await face.training("g")).status_code for _ in range(5)] == [500, 500, 429, 404, 404]
    await control.set_faults(Api.FACE, Fault(kind=FaultKind.TEAPOT))
    assert (await face.training("g")).status_code == 418
    await control.set_faults(Api.FACE)
    assert (await face.training("g")).status_code == 404


def draw(seed: int) -> list[FaultKind | None]:
    faults = (Fault(kind=FaultKind.HANG, share=0.05), Fault(kind=FaultKind.CONFLICT, share=0.2))
    plan = FaultPlan(Api.FACE, FaultSetting(faults=faults, seed=seed))
    drawn = [plan.draw() for _ in range(10_000)]
    return [None if fault is None else fault.kind for fault in drawn]


def test_each_fault_takes_its_share_of_the_calls() -> None:
    counts = Counter(draw(seed=1))
    assert counts[FaultKind.HANG] == pytest.approx(500, rel=0.15)
    assert counts[FaultKind.CONFLICT] == pytest.approx(2_000, rel=0.1)
    assert counts[None] == pytest.approx(7_500, rel=0.05)


def test_the_same_seed_draws_the_same_faults() -> None:
    assert draw(seed=7) == draw(seed=7)
    assert draw(seed=7) != draw(seed=8)
