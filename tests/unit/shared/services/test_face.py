"""What Face is asked, and what each of its answers means for the group that was asked about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import AccessDenied, ApiError, NotFound, RateLimited, Unavailable, UnexpectedAnswer
from shared.messages.watch import GroupKind
from shared.services.face import NOT_TRAINED, FaceClient, TrainingResult, TrainingStatus, read_answer
from tests.unit.shared.answers import ENDPOINT, HTML, answer, api_answering, gateway_error

ACCESS = "THE_KEY and THE_ENDPOINT"
CREATED, ACTED, TRAINED = (datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2, 3))


def result(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "createdDateTime": "2026-01-01T12:00:00.000Z", **more}


def error(code: str, message: str = "why") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class TestRequest:
    @pytest.mark.parametrize(
        ("kind", "path"),
        [
            (GroupKind.PERSON_GROUP, "/face/v1.2/persongroups/my_group-1/training"),
            (GroupKind.LARGE_PERSON_GROUP, "/face/v1.2/largepersongroups/my_group-1/training"),
            (GroupKind.LARGE_FACE_LIST, "/face/v1.2/largefacelists/my_group-1/training"),
        ],
    )
    async def test_it_is_the_documented_one(self, kind: GroupKind, path: str) -> None:
        api, sent = api_answering(answer(200, result("running")))
        state = await FaceClient(api, "v1.2", ACCESS).training(kind, "my_group-1")

        (request,) = sent
        assert (request.method, request.url, request.body) == ("GET", ENDPOINT + path, None)
        assert state.status is TrainingStatus.RUNNING


class TestResult:
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
        read = read_answer(answer(200, body), ACCESS)
        assert (read.is_complete, read.completed_at) == (is_complete, completed_at)
        assert read.created_date_time == CREATED

    def test_an_unknown_field_does_no_harm(self) -> None:
        assert read_answer(answer(200, result("running", progress=0.5)), ACCESS).status is TrainingStatus.RUNNING

    def test_the_message_is_one_line_that_fits_an_event(self) -> None:
        read = read_answer(answer(200, result("failed", message="a\n" + "b" * 100_000)), ACCESS)
        assert read.message is not None
        assert read.message.startswith("a\\nbbb")
        assert len(read.message) < 1000

    @pytest.mark.parametrize(
        "body", [b"", HTML, b'{"status": "succ', b"[" * 100_000], ids=["no", "html", "cut", "deep"]
    )
    def test_one_that_is_not_json_is_the_services_trouble(self, body: bytes) -> None:
        with pytest.raises(Unavailable):
            read_answer(answer(200, body), ACCESS)

    @pytest.mark.parametrize(
        "body",
        [
            None,
            [],
            {},
            result("paused"),
            result("succeeded", lastSuccessfulTrainingDateTime="yesterday"),
            {"status": 1},
        ],
        ids=str,
    )
    def test_one_of_another_shape_was_not_foreseen(self, body: Any) -> None:
        with pytest.raises(UnexpectedAnswer):
            read_answer(answer(200, body), ACCESS)


class TestErrors:
    @pytest.mark.parametrize("code", ["PersonGroupNotTrained", "LargePersonGroupNotTrained", "LargeFaceListNotTrained"])
    @pytest.mark.parametrize("status", [400, 404])
    def test_a_group_that_was_never_trained_has_not_started(self, code: str, status: int) -> None:
        assert read_answer(answer(status, error(code)), ACCESS) == NOT_TRAINED
        assert NOT_TRAINED.status is TrainingStatus.NOT_STARTED

    @pytest.mark.parametrize("code", ["PersonGroupNotFound", "LargePersonGroupNotFound", "LargeFaceListNotFound"])
    @pytest.mark.parametrize("status", [400, 404, 500])
    def test_a_group_that_does_not_exist_is_about_this_watch_alone(self, code: str, status: int) -> None:
        with pytest.raises(NotFound) as caught:
            read_answer(answer(status, error(code)), ACCESS)
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
            (400, error("BadArgument"), UnexpectedAnswer),
            (400, gateway_error(400, "Please provide a custom subdomain for token authentication."), AccessDenied),
            (400, error("UnsupportedApiVersion"), AccessDenied),
            (403, error("UnsupportedFeature", "missing approval for one or more features"), AccessDenied),
            (400, {"error": None}, UnexpectedAnswer),
            (418, error("Teapot"), UnexpectedAnswer),
            (302, {}, UnexpectedAnswer),
            (302, b"", Unavailable),
        ],
    )
    def test_an_answer_tells_whose_fault_it_is(self, status: int, body: Any, expected: type[ApiError]) -> None:
        with pytest.raises(ApiError) as caught:
            read_answer(answer(status, body), ACCESS)
        assert type(caught.value) is expected
        if expected is AccessDenied:
            assert f"; look at {ACCESS}" in str(caught.value)

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_retry_after_is_taken(self, status: int) -> None:
        with pytest.raises((Unavailable, RateLimited)) as caught:
            read_answer(answer(status, HTML, retry_after="5"), ACCESS)
        assert isinstance(caught.value, Unavailable | RateLimited)
        assert caught.value.retry_after_seconds == 5

    def test_the_text_of_an_error_is_one_line(self) -> None:
        with pytest.raises(UnexpectedAnswer, match=r"^Face answered 418 a\\nb: why$"):
            read_answer(answer(418, error("a\nb")), ACCESS)


def test_a_result_is_written_as_it_was_read() -> None:
    body = result("failed", lastActionDateTime="2026-01-02T12:00:00Z", message="no faces")
    written = TrainingResult.model_validate(body).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written == {**body, "createdDateTime": "2026-01-01T12:00:00Z"}
