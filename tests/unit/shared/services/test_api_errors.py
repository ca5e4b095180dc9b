"""Statuses that mean the same for every service. The services' codes: see their own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import AccessDenied, NotFound, RateLimited, SharedFieldsRefused, Unavailable
from shared.services.api_errors import ErrorBody, custom_vision_error, face_error, read_error
from tests.unit.shared.answers import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from shared.errors import ApiError

NAMES: dict[Callable[[httpx.Response, str], ApiError], str] = {face_error: "Face", custom_vision_error: "Custom Vision"}


@pytest.mark.parametrize("error_of", NAMES)
class TestStatuses:
    @pytest.mark.parametrize("status", [401, 403])
    def test_who_is_not_let_in_is_told_the_setting(
        self, error_of: Callable[[httpx.Response, str], ApiError], status: int
    ) -> None:
        error = error_of(answer(status), "THE_KEY")
        assert isinstance(error, AccessDenied)
        assert str(error) == f"{NAMES[error_of]} responded with {status}; look at THE_KEY"

    @pytest.mark.parametrize(
        "sentence",
        [
            "Access denied due to Virtual Network/Firewall rules.",
            "Out of call volume quota. Quota will be replenished in 3 days.",
            "Invalid request: missing approval for one or more features: Identification,Verification. Please apply for "
            "access at https://aka.ms/facerecognition",
        ],
    )
    @pytest.mark.parametrize("status", [401, 403])
    def test_the_services_own_sentence_is_told(
        self, error_of: Callable[[httpx.Response, str], ApiError], status: int, sentence: str
    ) -> None:
        for body in (
            {"error": {"code": str(status), "message": sentence}},
            {"error": sentence},
            {"code": "Forbidden", "message": sentence},
            {"statusCode": status, "message": sentence},
        ):
            error = error_of(answer(status, body), "THE_KEY")
            assert isinstance(error, AccessDenied)
            assert str(error).startswith(f"{NAMES[error_of]} responded with {status}")
            assert str(error).endswith(f"; look at THE_KEY; it says: {sentence}")

    @pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (408, Unavailable)])
    def test_too_many_and_too_slow_say_when_to_come_back(
        self, error_of: Callable[[httpx.Response, str], ApiError], status: int, kind: type[ApiError]
    ) -> None:
        found = error_of(answer(status, retry_after="3"), "THE_KEY")
        assert type(found) is kind
        assert found.retry_after_seconds == 3

    @pytest.mark.parametrize("code", ["PersonGroupNotFound", "NotFoundProject"])
    @pytest.mark.parametrize("status", [401, 403, 408, 429])
    def test_they_mean_it_whatever_the_body_says(
        self, error_of: Callable[[httpx.Response, str], ApiError], status: int, code: str
    ) -> None:
        assert type(error_of(answer(status, {"code": code}), "")) is type(error_of(answer(status), ""))


@pytest.mark.parametrize("status", [302, 400, 404, 409, 500, 503])
def test_the_rest_is_the_services_own_to_explain(status: int) -> None:
    assert isinstance(face_error(answer(status, {"code": "PersonGroupNotFound"}), ""), NotFound)
    assert isinstance(custom_vision_error(answer(status, {"code": "NotFoundProject"}), ""), SharedFieldsRefused)


def test_a_body_that_a_proxy_wrote_is_told() -> None:
    error = face_error(answer(502, b"<html>"), "")
    assert str(error) == "Face responded with 502 with a body that is not JSON"


class TestErrorBody:
    @pytest.mark.parametrize("body", [None, [], "text", 1, {}, {"code": 1, "message": []}, {"code": None}])
    def test_a_body_of_another_shape_has_neither_code_nor_message(self, body: Any) -> None:
        assert read_error(answer(400, body)) == ErrorBody()

    @pytest.mark.parametrize("body", [{"error": None}, {"error": []}, {"error": {"code": 400}}, {"statusCode": 400}])
    def test_the_gateway_is_known_by_its_form(self, body: Any) -> None:
        assert read_error(answer(400, body)).of_gateway

    def test_code_and_message_are_each_one_line_and_not_long(self) -> None:
        error = read_error(answer(400, {"code": "A\nB" + "c" * 1000, "message": "d\r\n\x1b[31m" + "e" * 1000}))
        assert error.code.startswith("A\\nBccc")
        assert error.message.startswith("d\\r\\n\\x1b[31meee")
        assert (len(error.code), len(error.message)) == (80 + len("…"), 500 + len("…"))

    @pytest.mark.parametrize("body", [b"", b"<html>", b'{"code":', b"[" * 100_000])
    def test_one_that_is_not_json_says_nothing(self, body: bytes) -> None:
        assert read_error(answer(400, body)) == ErrorBody(is_json=False)
