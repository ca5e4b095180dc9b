"""Talking to an API: what is sent, what is read at most, and what counts as no answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from shared.errors import AccessDenied, RateLimited, Unavailable
from shared.services.authentication import COGNITIVE_SERVICES_SCOPE, IdentityAuthentication
from shared.services.http import (
    MAX_ANSWER_BYTES,
    MAX_RETRY_AFTER_SECONDS,
    JsonApi,
    ServiceError,
    new_client,
    raise_for_gateway,
    retry_after_seconds,
)
from tests.unit.shared.answers import ENDPOINT, KEY, TIMEOUT_SECONDS, Dripping, answer, api_answering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with new_client(TIMEOUT_SECONDS) as client:
        yield client


class TestRequest:
    async def test_the_key_stands_in_its_header_and_the_path_is_used_as_it_is(self, client: httpx.AsyncClient) -> None:
        seen: list[httpx.Request] = []

        def handler(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(200, content=b"{}")

        assert (await api_answering(handler, client).call("GET", "/a/b?c=d,e")).status == 200
        (request,) = seen
        assert str(request.url) == f"{ENDPOINT}/a/b?c=d,e"
        assert request.headers["Api-Key"] == KEY
        assert "Content-Type" not in request.headers

    async def test_a_body_is_sent_as_json(self, client: httpx.AsyncClient) -> None:
        def handler(request: httpx.Request) -> httpx.Response:
            assert request.headers["Content-Type"] == "application/json"
            return httpx.Response(200, content=request.content)

        assert (await api_answering(handler, client).call("POST", "/", b'{"a": 1}')).json() == {"a": 1}

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_is_an_answer_and_is_not_followed(self, client: httpx.AsyncClient, status: int) -> None:
        seen: list[str] = []

        def handler(request: httpx.Request) -> httpx.Response:
            seen.append(request.url.host)
            return httpx.Response(status, headers={"Location": "https://elsewhere.example/"})

        assert (await api_answering(handler, client).call("POST", "/", b"{}")).status == status
        assert seen == ["api.example"]


class TestNoAnswer:
    @pytest.mark.parametrize(
        "error",
        [
            httpx.ConnectError("refused"),
            httpx.ConnectTimeout("slow"),
            httpx.ReadTimeout("slow"),
            httpx.WriteError("reset"),
            httpx.ReadError(""),
            httpx.RemoteProtocolError("peer closed connection"),
            httpx.PoolTimeout("full"),
            httpx.InvalidURL("odd"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_a_broken_connection_or_a_time_out_means_unavailable(
        self, client: httpx.AsyncClient, error: Exception
    ) -> None:
        def handler(request: httpx.Request) -> httpx.Response:
            raise error

        with pytest.raises(Unavailable, match=f"^The service cannot be reached: {type(error).__name__}"):
            await api_answering(handler, client).call("GET", "/")

    async def test_an_answer_of_1_mib_is_read(self, client: httpx.AsyncClient) -> None:
        api = api_answering(lambda _: httpx.Response(200, content=b"x" * MAX_ANSWER_BYTES), client)
        assert len((await api.call("GET", "/")).body) == MAX_ANSWER_BYTES

    async def test_an_answer_over_1_mib_is_refused(self, client: httpx.AsyncClient) -> None:
        api = api_answering(lambda _: httpx.Response(200, content=b"x" * (MAX_ANSWER_BYTES + 1)), client)
        with pytest.raises(Unavailable, match="more than 1 MiB"):
            await api.call("GET", "/")

    async def test_an_endless_answer_without_a_length_is_refused_as_soon_as_it_is_over_1_mib(
        self, client: httpx.AsyncClient
    ) -> None:
        endless = Dripping(b"x" * 65_536)
        api = api_answering(lambda _: httpx.Response(200, stream=endless), client)
        with pytest.raises(Unavailable, match="more than 1 MiB"):
            await api.call("GET", "/")
        assert endless.sent == MAX_ANSWER_BYTES // 65_536 + 1

    @pytest.mark.looptime
    async def test_an_answer_that_drips_ends_at_the_time_out_of_the_whole_call(
        self, client: httpx.AsyncClient, looptime: int
    ) -> None:
        api = api_answering(lambda _: httpx.Response(200, stream=Dripping(b" ", pause=1.0)), client)
        with pytest.raises(Unavailable, match=r"^The service did not answer within 30 s$"):
            await api.call("GET", "/")
        assert looptime == TIMEOUT_SECONDS


class TestSecrets:
    @pytest.mark.parametrize(
        "error",
        [httpx.ConnectError("refused"), httpx.LocalProtocolError(f"Illegal header value b'{KEY}\\n'")],
        ids=["refused connection", "illegal header"],
    )
    async def test_no_error_tells_the_key(self, client: httpx.AsyncClient, error: Exception) -> None:
        def handler(request: httpx.Request) -> httpx.Response:
            raise error

        with pytest.raises(Unavailable) as caught:
            await api_answering(handler, client).call("GET", "/")
        assert caught.value.__suppress_context__
        assert KEY not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"

    async def test_neither_do_the_objects_that_hold_it(self, client: httpx.AsyncClient) -> None:
        api = api_answering(lambda _: httpx.Response(200), client)
        assert KEY not in f"{api!r} {api._auth!r} {vars(api._auth)}"


class FakeCredential:
    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == (COGNITIVE_SERVICES_SCOPE,)
        if self._error is not None:
            raise self._error
        return AccessToken("marked-token", 0)


class TestIdentity:
    async def test_its_token_is_sent(self) -> None:
        auth = IdentityAuthentication(FakeCredential(), "FACE_KEY")  # type: ignore[arg-type]
        assert await auth.headers() == {"Authorization": "Bearer marked-token"}

    async def test_without_a_token_the_error_names_the_setting_that_would_do_instead(self, client: Any) -> None:
        auth = IdentityAuthentication(FakeCredential(ClientAuthenticationError("no\nidentity")), "FACE_KEY")  # type: ignore[arg-type]
        with pytest.raises(AccessDenied, match=r"no token .*\(no\\nidentity\).* FACE_KEY$"):
            await JsonApi(client, ENDPOINT, auth, "Face", 1.0).call("GET", "/")

    async def test_a_token_that_nobody_can_be_asked_for_is_waited_for(self) -> None:
        auth = IdentityAuthentication(FakeCredential(ServiceRequestError("unreachable")), "FACE_KEY")  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match="unreachable"):
            await auth.headers()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("600", 600),
        ("601", MAX_RETRY_AFTER_SECONDS),
        ("9" * 400, MAX_RETRY_AFTER_SECONDS),
        ("Sat, 31 Jan 2026 12:00:09 GMT", 9),
        ("Saturday, 31-Jan-26 12:00:09 GMT", 9),
        ("Sat, 31 Jan 2026 12:00:09 -0000", 9),
        ("Sat, 31 Jan 2026 13:00:09 +0100", 9),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_SECONDS),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("-1", None),
        ("²", None),
        ("Sat, 31 Jan 99999 12:00:09 GMT", None),
        ("Sat, 31 Jan 2026 12:00:09 +99999999999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


class TestGateway:
    @pytest.mark.parametrize("status", [401, 403])
    def test_who_is_not_let_in_is_told_the_setting(self, status: int) -> None:
        with pytest.raises(AccessDenied, match=f"^Face answered {status}; look at FACE_KEY$"):
            raise_for_gateway(answer(status), "Face", "FACE_KEY")

    @pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (408, Unavailable)])
    def test_too_many_and_too_slow_say_when_to_come_back(
        self, status: int, error: type[RateLimited | Unavailable]
    ) -> None:
        with pytest.raises(error) as caught:
            raise_for_gateway(answer(status, retry_after="3"), "Face", "FACE_KEY")
        assert isinstance(caught.value, RateLimited | Unavailable)
        assert caught.value.retry_after_seconds == 3

    @pytest.mark.parametrize("status", [200, 207, 302, 400, 404, 500, 503])
    def test_the_rest_is_the_services_own_to_explain(self, status: int) -> None:
        raise_for_gateway(answer(status), "Face", "FACE_KEY")


class TestServiceError:
    @pytest.mark.parametrize("body", [None, [], "text", 1, {}, {"code": 1, "message": []}, {"code": None}])
    def test_a_body_of_another_shape_has_neither_code_nor_message(self, body: Any) -> None:
        assert ServiceError.read(body) == ServiceError("", "")

    def test_code_and_message_are_each_one_line_and_not_long(self) -> None:
        error = ServiceError.read({"code": "A\nB" + "c" * 1000, "message": "d\r\n\x1b[31m" + "e" * 1000})
        assert error.code.startswith("A\\nBccc")
        assert error.message.startswith("d\\r\\n\\x1b[31meee")
        assert len(error.code) < 100
        assert len(error.message) < 600


class TestJson:
    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"<html>", b"\xff", b'{"a":', b"[" * 100_000, b"1" * 100_000],
        ids=["empty", "truncated", "html", "not UTF-8", "cut", "deep", "huge"],
    )
    def test_a_body_that_is_not_json_is_a_value_error(self, body: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  # the class is all that is promised
            answer(200, body).json()

    def test_json_is_read(self) -> None:
        assert answer(200, json.dumps({"a": "ü"}).encode()).json() == {"a": "ü"}
