"""Statuses that mean the same for every service. The services' codes: see their own tests."""

from __future__ import annotations

import pytest

from shared.errors import AccessDenied, RateLimited, Unavailable
from shared.services.api_errors import error_by_status
from tests.unit.shared.answers import answer


class TestStatuses:
    @pytest.mark.parametrize("status", [401, 403])
    def test_who_is_not_let_in_is_told_the_setting(self, status: int) -> None:
        error = error_by_status(answer(status), "Face", "FACE_KEY")
        assert isinstance(error, AccessDenied)
        assert str(error) == f"Face answered {status}; look at FACE_KEY"

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
    def test_the_services_own_sentence_is_told(self, status: int, sentence: str) -> None:
        for body in (
            {"error": {"code": str(status), "message": sentence}},
            {"error": sentence},
            {"code": "Forbidden", "message": sentence},
            {"statusCode": status, "message": sentence},
        ):
            error = error_by_status(answer(status, body), "Face", "FACE_KEY")
            assert isinstance(error, AccessDenied)
            assert str(error).startswith(f"Face answered {status}")
            assert str(error).endswith(f"; look at FACE_KEY; it says: {sentence}")

    @pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (408, Unavailable)])
    def test_too_many_and_too_slow_say_when_to_come_back(
        self, status: int, error: type[RateLimited | Unavailable]
    ) -> None:
        found = error_by_status(answer(status, retry_after="3"), "Face", "FACE_KEY")
        assert isinstance(found, error)
        assert found.retry_after_seconds == 3

    @pytest.mark.parametrize("status", [200, 207, 302, 400, 404, 500, 503])
    def test_the_rest_is_the_services_own_to_explain(self, status: int) -> None:
        assert error_by_status(answer(status), "Face", "FACE_KEY") is None
