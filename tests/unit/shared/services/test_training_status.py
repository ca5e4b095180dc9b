"""What is asked about a training, and what each answer means for the group or iteration that was asked about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import AccessDenied, ApiError, NotFound, RateLimited, Unavailable, UnexpectedResponse
from shared.messages.training import NOT_TRAINED, TrainingResult, TrainingStatus
from shared.messages.watch import Target
from shared.services.training_status import poll_face, poll_iteration, read_face, read_iteration
from tests.unit.shared.answers import ENDPOINT, HTML, answer, api_answering, gateway_error

ACCESS = "THE_KEY and THE_ENDPOINT"
CREATED, ACTED, TRAINED = (datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2, 3))


def result(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "createdDateTime": "2026-01-01T12:00:00.000Z", **more}


def error(code: str, message: str = "why") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class TestFaceRequest:
    @pytest.mark.parametrize(
        ("kind", "path"),
        [
            ("personGroup", "/face/v1.2/persongroups/my_group-1/training"),
            ("largePersonGroup", "/face/v1.2/largepersongroups/my_group-1/training"),
            ("largeFaceList", "/face/v1.2/largefacelists/my_group-1/training"),
        ],
    )
    async def test_it_is_the_documented_one(self, kind: str, path: str) -> None:
        api, sent = api_answering(answer(200, result("running")))
        state = await poll_face(api, "v1.2", Target(kind, "my_group-1"))

        (request,) = sent
        assert (request.method, str(request.url), request.content) == ("GET", ENDPOINT + path, b"")
        assert state.status is TrainingStatus.RUNNING


class TestFaceResult:
    @pytest.mark.parametrize(
        ("body", "is_complete", "completed_at"),
        [
            (result("notStarted"), False, None),
            (result("running", lastActionDateTime="2026-01-02T12:00:00Z"), False, None),
            (result("running", lastSuccessfulTrainingDateTime="2026-01-03T12:00:00Z"), False, None),
            (
                result(
                    "succeeded",
                    lastActionDateTime="2026-01-02T12:00:00Z",
                    lastSuccessfulTrainingDateTime="2026-01-03T12:00:00.000Z",
                ),
                True,
                TRAINED,
            ),
            (result("succeeded", lastActionDateTime="2026-01-02T12:00:00Z"), True, ACTED),
            (result("succeeded"), True, None),
            (
                result(
                    "failed",
                    lastActionDateTime="2026-01-02T12:00:00Z",
                    lastSuccessfulTrainingDateTime="2026-01-03T12:00:00Z",
                    message="no faces",
                ),
                True,
                ACTED,
            ),
            (result("failed", lastActionDateTime=None, message=None), True, None),
        ],
    )
    def test_completion_and_its_time_are_read(
        self, body: dict[str, Any], is_complete: bool, completed_at: datetime | None
    ) -> None:
        read = read_face(answer(200, body), ACCESS)
        assert (read.is_complete, read.completed_at) == (is_complete, completed_at)
        assert read.created_date_time == CREATED

    @pytest.mark.parametrize("status", ["paused", "queued", ""])
    def test_a_status_without_a_known_name_is_no_completion(self, status: str) -> None:
        read = read_face(answer(200, result(status)), ACCESS)
        assert read.status is TrainingStatus.UNKNOWN
        assert not read.is_complete

    @pytest.mark.parametrize("status", ["notstarted", "Running", "SUCCEEDED"])
    def test_a_status_is_read_in_any_case(self, status: str) -> None:
        assert read_face(answer(200, result(status)), ACCESS).status.lower() == status.lower()

    @pytest.mark.parametrize(
        "date",
        [
            "2026-01-03T12:00:00Z",
            "2026-01-03T12:00:00",
            "2026-01-03T12:00:00.000",
            "2026-01-03T12:00:00.0000000Z",
            "2026-01-03T12:00:00.0000009",
            "2026-01-03T13:00:00+01:00",
            "1/3/2026 12:00:00 PM",
            "01/03/2026 12:00:00 pm",
            "1/3/2026 1:00:00 PM +01:00",
        ],
    )
    def test_a_date_is_read_in_any_of_the_forms_seen(self, date: str) -> None:
        assert (
            read_face(answer(200, result("succeeded", lastSuccessfulTrainingDateTime=date)), ACCESS).completed_at
            == TRAINED
        )

    @pytest.mark.parametrize(
        "date",
        [
            "yesterday",
            "",
            None,
            0,
            1767441600,
            {},
            [],
            True,
            "0001-01-01T00:00:00",
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00+05:00",
            "9999-12-31T23:59:59-05:00",
            "13/13/2017 4:11:35 AM",
            "2026-02-30T12:00:00Z",
            "x" * 10_000,
        ],
        ids=lambda date: str(date)[:30],
    )
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_a_date_that_cannot_be_read_is_not_known_and_the_status_decides(self, status: str, date: Any) -> None:
        dates = dict.fromkeys(("lastSuccessfulTrainingDateTime", "lastActionDateTime", "createdDateTime"), date)
        read = read_face(answer(200, {"status": status, **dates}), ACCESS)
        assert read.is_complete
        assert read.completed_at is None

    @pytest.mark.parametrize("message", [None, 1, {}, ["x"]])
    def test_a_message_that_is_no_text_is_none(self, message: Any) -> None:
        assert read_face(answer(200, result("failed", message=message)), ACCESS).message is None

    def test_an_unknown_field_does_no_harm(self) -> None:
        assert read_face(answer(200, result("running", progress=0.5)), ACCESS).status is TrainingStatus.RUNNING

    def test_the_message_is_one_line_that_fits_an_event(self) -> None:
        read = read_face(answer(200, result("failed", message="a\n" + "b" * 100_000)), ACCESS)
        assert read.message is not None
        assert read.message.startswith("a\\nbbb")
        assert len(read.message) < 1000

    @pytest.mark.parametrize(
        "body", [b"", HTML, b'{"status": "succ', b"[" * 100_000], ids=["no", "html", "cut", "deep"]
    )
    def test_one_that_is_not_json_is_the_services_trouble(self, body: bytes) -> None:
        with pytest.raises(Unavailable):
            read_face(answer(200, body), ACCESS)

    @pytest.mark.parametrize(
        "body",
        [
            None,
            [],
            {},
            {"status": 1},
        ],
        ids=str,
    )
    def test_one_of_another_shape_was_not_foreseen(self, body: Any) -> None:
        with pytest.raises(UnexpectedResponse):
            read_face(answer(200, body), ACCESS)


class TestFaceErrors:
    @pytest.mark.parametrize("code", ["PersonGroupNotTrained", "LargePersonGroupNotTrained", "LargeFaceListNotTrained"])
    @pytest.mark.parametrize("status", [400, 404])
    def test_a_group_that_was_never_trained_has_not_started(self, code: str, status: int) -> None:
        assert read_face(answer(status, error(code)), ACCESS) == NOT_TRAINED
        assert NOT_TRAINED.status is TrainingStatus.NOT_STARTED

    @pytest.mark.parametrize("code", ["PersonGroupNotFound", "LargePersonGroupNotFound", "LargeFaceListNotFound"])
    @pytest.mark.parametrize("status", [400, 404, 500])
    def test_a_group_that_does_not_exist_is_about_this_watch_alone(self, code: str, status: int) -> None:
        with pytest.raises(NotFound) as caught:
            read_face(answer(status, error(code)), ACCESS)
        assert (caught.value.code, caught.value.message) == (code, "why")

    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (401, gateway_error(401), AccessDenied),
            (401, HTML, AccessDenied),
            (403, gateway_error(403), AccessDenied),
            (403, b"", AccessDenied),
            (404, gateway_error(404), AccessDenied),
            (404, error("NotFound"), AccessDenied),
            (404, {}, AccessDenied),
            (404, [], AccessDenied),
            (404, HTML, Unavailable),
            (404, b"", Unavailable),
            (408, b"", Unavailable),
            (409, error("ConcurrentOperationConflict"), Unavailable),
            (429, gateway_error(429), RateLimited),
            (429, HTML, RateLimited),
            (400, HTML, Unavailable),
            (500, error("InternalServerError"), Unavailable),
            (500, b"", Unavailable),
            (502, HTML, Unavailable),
            (503, HTML, Unavailable),
            (503, error("ServiceUnavailable"), Unavailable),
            (504, b"", Unavailable),
            (400, error("BadArgument"), UnexpectedResponse),
            (400, gateway_error(400, "Please provide a custom subdomain for token authentication."), AccessDenied),
            (400, error("UnsupportedApiVersion"), AccessDenied),
            (403, error("UnsupportedFeature", "missing approval for one or more features"), AccessDenied),
            (400, {"error": None}, UnexpectedResponse),
            (418, error("Teapot"), UnexpectedResponse),
            (302, {}, UnexpectedResponse),
            (302, b"", Unavailable),
        ],
    )
    def test_an_answer_tells_whose_fault_it_is(self, status: int, body: Any, expected: type[ApiError]) -> None:
        with pytest.raises(ApiError) as caught:
            read_face(answer(status, body), ACCESS)
        assert type(caught.value) is expected
        if expected is AccessDenied:
            assert f"; look at {ACCESS}" in str(caught.value)

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_retry_after_is_taken(self, status: int) -> None:
        with pytest.raises((Unavailable, RateLimited)) as caught:
            read_face(answer(status, HTML, retry_after="5"), ACCESS)
        assert isinstance(caught.value, Unavailable | RateLimited)
        assert caught.value.retry_after_seconds == 5

    def test_the_text_of_an_error_is_one_line(self) -> None:
        with pytest.raises(UnexpectedResponse, match=r"^Face responded with 418 a\\nb: why$"):
            read_face(answer(418, error("a\nb")), ACCESS)


def test_a_result_is_written_as_it_was_read() -> None:
    body = result("failed", lastActionDateTime="2026-01-02T12:00:00Z", message="no faces")
    written = TrainingResult.model_validate(body).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written == {**body, "createdDateTime": "2026-01-01T12:00:00Z"}


PROJECT, ITERATION = "c0ffee00-0000-4000-8000-000000000001", "beef0000-0000-4000-8000-00000000000a"
MODIFIED = datetime(2026, 1, 4, 12, tzinfo=UTC)


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


async def test_the_request_about_an_iteration_is_the_documented_one() -> None:
    api, sent = api_answering(answer(200, iteration("Training", trainedAt=None)))
    state = await poll_iteration(api, Target("customVisionIteration", ITERATION, PROJECT))

    (request,) = sent
    path = f"/customvision/v3.3/Training/projects/{PROJECT}/iterations/{ITERATION}"
    assert (request.method, str(request.url), request.content) == ("GET", ENDPOINT + path, b"")
    assert state.status is TrainingStatus.RUNNING


class TestIterationResult:
    @pytest.mark.parametrize("word", ["Completed", "completed"])
    def test_a_completed_one_is_a_success_at_the_time_when_it_was_trained(self, word: str) -> None:
        read = read_iteration(answer(200, iteration(word)), ACCESS)
        assert read.status is TrainingStatus.SUCCEEDED
        assert read.completed_at == read.succeeded_at == TRAINED
        assert (read.created_date_time, read.last_action_date_time) == (CREATED, MODIFIED)

    def test_a_failed_one_too_has_ended_then(self) -> None:
        read = read_iteration(answer(200, iteration("Failed")), ACCESS)
        assert read.status is TrainingStatus.FAILED
        assert read.completed_at == TRAINED
        assert read.last_successful_training_date_time is None

    @pytest.mark.parametrize("date", [None, "", "soon", "0001-01-01T00:00:00", 7])
    def test_without_a_date_that_can_be_read_it_has_ended_all_the_same(self, date: Any) -> None:
        for word in ("Completed", "Failed"):
            assert read_iteration(answer(200, iteration(word, trainedAt=date)), ACCESS).is_complete

    @pytest.mark.parametrize("word", ["Training", "New", "Queued", ""])
    def test_with_any_other_word_it_goes_on(self, word: str) -> None:
        read = read_iteration(answer(200, iteration(word)), ACCESS)
        assert not read.is_complete
        assert read.completed_at is None

    @pytest.mark.parametrize("body", [None, [], {}, {"status": None}, {"status": 1}, "Completed"], ids=str)
    def test_one_of_another_shape_was_not_foreseen(self, body: Any) -> None:
        with pytest.raises(UnexpectedResponse):
            read_iteration(answer(200, body), ACCESS)

    @pytest.mark.parametrize("body", [b"", HTML, b'{"status": "Comp'])
    def test_one_that_is_not_json_is_the_services_trouble(self, body: bytes) -> None:
        with pytest.raises(Unavailable):
            read_iteration(answer(200, body), ACCESS)


class TestIterationErrors:
    @pytest.mark.parametrize("code", ["NotFoundIteration", "NotFoundProject"])
    @pytest.mark.parametrize("status", [400, 404, 500])
    def test_what_does_not_exist_is_about_this_watch_alone(self, code: str, status: int) -> None:
        with pytest.raises(NotFound) as caught:
            read_iteration(answer(status, {"code": code, "message": "why"}), ACCESS)
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
            read_iteration(answer(status, body), ACCESS)
        assert not isinstance(caught.value, NotFound)
