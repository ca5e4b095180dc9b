"""What Custom Vision is asked about an iteration, and what each of its answers means for who watches it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import AccessDenied, ApiError, NotFound, RateLimited, Unavailable, UnexpectedResponse
from shared.messages.training import TrainingStatus
from shared.messages.watch import Target
from shared.services.iterations import IterationClient, read_response
from tests.unit.shared.answers import ENDPOINT, HTML, answer, api_answering, gateway_error

ACCESS = "THE_KEY and THE_ENDPOINT"
PROJECT, ITERATION = "c0ffee00-0000-4000-8000-000000000001", "beef0000-0000-4000-8000-00000000000a"
CREATED, MODIFIED, TRAINED = (datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 4, 3))


def iteration(status: Any, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": ITERATION,
        "name": "Iteration 1",
        "status": status,
        "created": "2026-01-01T12:00:00.000Z",
        "lastModified": "2026-01-04T12:00:00.000Z",
        "trainedAt": "2026-01-03T12:00:00.000Z",
        "projectId": PROJECT,
        "exportable": False,
    }
    return {**fields, **changes}


async def test_the_request_is_the_documented_one() -> None:
    api, sent = api_answering(answer(200, iteration("Training", trainedAt=None)))
    state = await IterationClient(api, ACCESS).poll(Target("customVisionIteration", ITERATION, PROJECT))

    (request,) = sent
    path = f"/customvision/v3.3/Training/projects/{PROJECT}/iterations/{ITERATION}"
    assert (request.method, str(request.url), request.content) == ("GET", ENDPOINT + path, b"")
    assert state.status is TrainingStatus.RUNNING


class TestResult:
    @pytest.mark.parametrize("word", ["Completed", "completed"])
    def test_a_completed_one_is_a_success_at_the_time_when_it_was_trained(self, word: str) -> None:
        read = read_response(answer(200, iteration(word)), ACCESS)
        assert read.status is TrainingStatus.SUCCEEDED
        assert read.completed_at == read.succeeded_at == TRAINED
        assert (read.created_date_time, read.last_action_date_time) == (CREATED, MODIFIED)

    def test_a_failed_one_too_has_ended_then(self) -> None:
        read = read_response(answer(200, iteration("Failed")), ACCESS)
        assert read.status is TrainingStatus.FAILED
        assert read.completed_at == TRAINED
        assert read.last_successful_training_date_time is None

    @pytest.mark.parametrize("date", [None, "", "soon", "0001-01-01T00:00:00", 7])
    def test_without_a_date_that_can_be_read_it_has_ended_all_the_same(self, date: Any) -> None:
        for word in ("Completed", "Failed"):
            assert read_response(answer(200, iteration(word, trainedAt=date)), ACCESS).is_complete

    @pytest.mark.parametrize("word", ["Training", "New", "Queued", ""])
    def test_with_any_other_word_it_goes_on(self, word: str) -> None:
        read = read_response(answer(200, iteration(word)), ACCESS)
        assert not read.is_complete
        assert read.completed_at is None

    @pytest.mark.parametrize("body", [None, [], {}, {"status": None}, {"status": 1}, "Completed"], ids=str)
    def test_one_of_another_shape_was_not_foreseen(self, body: Any) -> None:
        with pytest.raises(UnexpectedResponse):
            read_response(answer(200, body), ACCESS)

    @pytest.mark.parametrize("body", [b"", HTML, b'{"status": "Comp'])
    def test_one_that_is_not_json_is_the_services_trouble(self, body: bytes) -> None:
        with pytest.raises(Unavailable):
            read_response(answer(200, body), ACCESS)


class TestErrors:
    @pytest.mark.parametrize("code", ["NotFoundIteration", "NotFoundProject"])
    @pytest.mark.parametrize("status", [400, 404, 500])
    def test_what_does_not_exist_is_about_this_watch_alone(self, code: str, status: int) -> None:
        with pytest.raises(NotFound) as caught:
            read_response(answer(status, {"code": code, "message": "why"}), ACCESS)
        assert (caught.value.code, caught.value.message) == (code, "why")

    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (401, gateway_error(401), AccessDenied),
            (403, gateway_error(403), AccessDenied),
            (404, gateway_error(404), AccessDenied),
            (429, gateway_error(429), RateLimited),
            (500, {"code": "ErrorUnknown", "message": ""}, Unavailable),
            (503, HTML, Unavailable),
            (400, {"code": "BadRequestInvalidIds", "message": ""}, ApiError),
        ],
    )
    def test_all_others_keep_it_waiting(self, status: int, body: Any, expected: type[ApiError]) -> None:
        with pytest.raises(expected) as caught:
            read_response(answer(status, body), ACCESS)
        assert not isinstance(caught.value, NotFound)
