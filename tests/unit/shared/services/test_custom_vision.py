"""What Custom Vision is asked, and what each of its answers means for the images of the call."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from shared.batching.outcomes import APPLIED, ImageOutcome, Refused, Retry
from shared.errors import (
    AccessDenied,
    ApiError,
    CallRefused,
    RateLimited,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedAnswer,
)
from shared.messages.update import BatchKey
from shared.services.custom_vision import MAX_IMAGES_PER_CALL, CustomVisionClient, read_answer
from shared.services.http import new_client
from tests.unit.shared.answers import ENDPOINT, HTML, answer, api_answering, gateway_error
from tests.unit.shared.conftest import image, images

ACCESS = "THE_KEY and THE_ENDPOINT"
PROJECT = "c0ffee00-0000-4000-8000-000000000001"


def error(code: str, message: str = "why") -> dict[str, str]:
    return {"code": code, "message": message}


def summary(*entries: dict[str, Any], successful: bool = False) -> dict[str, Any]:
    return {"isBatchSuccessful": successful, "images": list(entries)}


def entry(number: int, status: Any = "OK", **more: Any) -> dict[str, Any]:
    return {"imageId": str(image(number)), "status": status, **more}


class TestRequest:
    async def test_it_is_the_documented_one(self) -> None:
        seen: list[httpx.Request] = []

        def handler(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(200, json=summary(*(entry(number) for number in range(64)), successful=True))

        async with new_client(1) as http:
            client = CustomVisionClient(api_answering(handler, http), ACCESS)
            key = BatchKey(PROJECT, frozenset({"place": "Zürich ⛰", "a": "1"}.items()))
            outcomes = await client.update_image_metadata(key, images(MAX_IMAGES_PER_CALL))

        (request,) = seen
        ids = ",".join(images(64))
        path = f"/customvision/v3.3/Training/projects/{PROJECT}/images/metadata"
        assert request.method == "POST"
        assert str(request.url) == f"{ENDPOINT}{path}?imageIds={ids}"
        assert json.loads(request.content) == {"a": "1", "place": "Zürich ⛰"}
        assert request.headers["Content-Type"] == "application/json"
        assert outcomes == dict.fromkeys(images(64), APPLIED)


NOT_FOUND = Refused("ErrorImageNotFound")
UNKNOWN = Retry("status ErrorUnknown")


class TestSummary:
    @pytest.mark.parametrize("status", [200, 207])
    @pytest.mark.parametrize(
        ("entries", "outcomes"),
        [
            ([entry(1)], {1: APPLIED}),
            ([entry(1, metadata={"k": "v"})], {1: APPLIED}),
            ([entry(1, metadata=None)], {1: APPLIED}),
            ([entry(1, "ErrorImageNotFound")], {1: NOT_FOUND}),
            ([entry(1, "ErrorLimitExceed")], {1: Refused("ErrorLimitExceed")}),
            ([entry(1, "ErrorUnknown")], {1: UNKNOWN}),
            ([entry(1, "ErrorOfNextYear")], {1: Retry("status ErrorOfNextYear")}),
            ([entry(1, "ok")], {1: Retry("status ok")}),
            ([entry(1, None)], {1: Retry("status None")}),
            ([entry(1, "a\nb")], {1: Retry("status a\\nb")}),
            (
                [entry(2, "ErrorUnknown"), entry(3), entry(1, "ErrorImageNotFound")],
                {1: NOT_FOUND, 2: UNKNOWN, 3: APPLIED},
            ),
            ([entry(2)], {2: APPLIED}),
            ([], {}),
        ],
        ids=[
            "OK",
            "with its metadata",
            "metadata null",
            "not found",
            "limit",
            "unknown",
            "a new word",
            "another case",
            "no word",
            "a line break",
            "another order",
            "an image missing",
            "all missing",
        ],
    )
    def test_each_image_has_the_outcome_that_its_status_says(
        self, status: int, entries: list[dict[str, Any]], outcomes: dict[int, ImageOutcome]
    ) -> None:
        read = read_answer(answer(status, summary(*entries)), ACCESS)
        assert read == {image(number): outcome for number, outcome in outcomes.items()}

    def test_ids_are_the_same_in_capitals(self) -> None:
        upper = {"imageId": image(0xBEEF).upper(), "status": "OK"}
        assert read_answer(answer(200, summary(upper)), ACCESS) == {image(0xBEEF): APPLIED}

    @pytest.mark.parametrize("status", [200, 207])
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            HTML,
            json.dumps(summary(entry(1), entry(2))).encode()[:-9],
            b"[" * 100_000,
            None,
            [],
            {},
            {"images": None},
            {"images": 1},
            {"images": "abc"},
            {"images": {"imageId": PROJECT}},
            {"images": [None]},
            {"images": [{"imageId": 1, "status": "OK"}]},
            {"images": [{"imageId": "x", "status": "OK"}]},
            {"images": [{"status": "OK"}]},
            {"images": [{"imageId": PROJECT}]},
            {"images": [{"imageId": PROJECT, "status": ["OK"]}]},
        ],
        ids=str,
    )
    def test_one_that_cannot_be_read_is_the_services_trouble(self, status: int, body: Any) -> None:
        with pytest.raises(Unavailable, match=f"answered {status} with a body that cannot be read"):
            read_answer(answer(status, body), ACCESS)


ROWS: list[tuple[int, Any, type[ApiError]]] = [
    # what all messages of the batch have in common
    (404, error("NotFoundProject"), SharedFieldsRefused),
    (400, error("BadRequestImageMetadataKey"), SharedFieldsRefused),
    (400, error("BadRequestImageMetadataValue"), SharedFieldsRefused),
    (500, error("NotFoundProject"), SharedFieldsRefused),  # the documentation lists all codes under 500
    (500, error("BadRequestImageMetadataValue"), SharedFieldsRefused),
    (418, error("NotFoundProject"), SharedFieldsRefused),
    # perhaps one image's fault
    (400, error("BadRequest"), CallRefused),
    (400, error("BadRequestInvalidIds"), CallRefused),
    (400, error("BadRequestOfNextYear"), CallRefused),
    (404, error("NotFound"), CallRefused),
    (404, error("NotFoundImage"), CallRefused),
    (500, error("NotFoundImage"), CallRefused),
    (500, error("BadRequestInvalidIds"), CallRefused),
    # the configuration's, or the key was just rotated
    (401, gateway_error(401), AccessDenied),
    (401, b"", AccessDenied),
    (401, HTML, AccessDenied),
    (403, gateway_error(403), AccessDenied),
    (403, error("ForbiddenUser"), AccessDenied),
    (403, error("BadRequestInvalidIds"), AccessDenied),
    (400, error("ForbiddenDRMode"), AccessDenied),
    (500, error("Forbidden"), AccessDenied),
    (404, error("NotFoundApimSubscription"), AccessDenied),
    (404, gateway_error(404), AccessDenied),
    (404, {"code": "404", "message": "Resource not found"}, AccessDenied),
    (404, b"", AccessDenied),
    (404, HTML, AccessDenied),
    # the service's
    (408, b"", Unavailable),
    (429, gateway_error(429), RateLimited),
    (429, b"", RateLimited),
    (500, error("ErrorUnknown"), Unavailable),
    (500, b"", Unavailable),
    (500, {}, Unavailable),
    (502, HTML, Unavailable),
    (503, HTML, Unavailable),
    (503, b"", Unavailable),
    (504, HTML, Unavailable),
    (504, b"", Unavailable),
    (599, error("UnheardOf"), Unavailable),
    (400, error("ErrorExporterInvalidPlatform"), Unavailable),
    (409, error("Conflict"), Unavailable),
    (409, error("ConflictInvalid"), Unavailable),
    (400, error("Conflict"), Unavailable),
    (400, HTML, Unavailable),
    (400, b'{"code": "BadRequ', Unavailable),
    (302, b"", Unavailable),
    (204, b"", Unavailable),
    # nobody foresaw it
    (400, gateway_error(400), UnexpectedAnswer),
    (400, {}, UnexpectedAnswer),
    (400, [], UnexpectedAnswer),
    (400, {"code": 1, "message": 2}, UnexpectedAnswer),
    (409, {}, UnexpectedAnswer),
    (415, error("UnsupportedMediaType"), UnexpectedAnswer),
    (418, error("Teapot"), UnexpectedAnswer),
    (302, {}, UnexpectedAnswer),
]


class TestErrors:
    @pytest.mark.parametrize(("status", "body", "expected"), ROWS)
    def test_an_answer_tells_whose_fault_it_is(self, status: int, body: Any, expected: type[ApiError]) -> None:
        with pytest.raises(ApiError) as caught:
            read_answer(answer(status, body), ACCESS)
        assert type(caught.value) is expected

    @pytest.mark.parametrize(("status", "body"), [row[:2] for row in ROWS if row[2] is AccessDenied])
    def test_who_is_not_let_in_is_told_the_settings(self, status: int, body: Any) -> None:
        with pytest.raises(AccessDenied, match=f"answered {status}.*look at {ACCESS}$"):
            read_answer(answer(status, body), ACCESS)

    @pytest.mark.parametrize("code", ["NotFoundProject", "BadRequestInvalidIds"])
    def test_a_refusal_carries_code_and_message(self, code: str) -> None:
        with pytest.raises((SharedFieldsRefused, CallRefused)) as caught:
            read_answer(answer(400, error(code, "line 1\nline 2")), ACCESS)
        assert isinstance(caught.value, SharedFieldsRefused | CallRefused)
        assert (caught.value.code, caught.value.message) == (code, "line 1\\nline 2")
        assert str(caught.value) == f"{code}: line 1\\nline 2"

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    @pytest.mark.parametrize(("header", "at_least"), [("5", 5), ("Fri, 31 Dec 9999 23:59:59 GMT", 600)])
    def test_retry_after_is_taken_in_both_forms(self, status: int, header: str, at_least: float) -> None:
        with pytest.raises((Unavailable, RateLimited)) as caught:
            read_answer(answer(status, HTML, retry_after=header), ACCESS)
        assert isinstance(caught.value, Unavailable | RateLimited)
        assert caught.value.retry_after_seconds == at_least

    def test_without_retry_after_none_is_made_up(self) -> None:
        with pytest.raises(Unavailable) as caught:
            read_answer(answer(503), ACCESS)
        assert caught.value.retry_after_seconds is None
