"""Calling an API: what is sent, what counts as no answer, what an answer's errors say. Real HTTP: see integration."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.redaction import hide
from shared.services.api_errors import read_error
from shared.services.authentication import key_authentication
from shared.services.http import MAX_RESPONSE_BYTES, MAX_RETRY_AFTER_SECONDS, new_client, read_json, retry_after_seconds
from tests.unit.shared.answers import (
    ANYTHING,
    ENDPOINT,
    KEY,
    TIMEOUT_SECONDS,
    answer,
    api_answering,
    new_api,
)


class TestRequest:
    async def test_the_key_stands_in_its_header_and_the_path_is_used_as_it_is(self) -> None:
        api, sent = api_answering(answer(200, b"{}"))
        assert (await api.call("GET", "/a/b?c=d,e")).status_code == 200
        (request,) = sent
        assert (request.method, str(request.url), request.content) == ("GET", f"{ENDPOINT}/a/b?c=d,e", b"")
        assert request.headers["Api-Key"] == KEY
        assert "Content-Type" not in request.headers

    async def test_a_body_is_sent_as_json(self) -> None:
        api, sent = api_answering(answer(200, b"{}"))
        await api.call("POST", "/", b'{"a": 1}')
        (request,) = sent
        assert request.content == b'{"a": 1}'
        assert request.headers["Content-Type"] == "application/json"

    @pytest.mark.parametrize("status", [200, 302, 401, 418, 503])
    async def test_an_answer_of_any_status_is_an_answer(self, status: int) -> None:
        api, _ = api_answering(answer(status))
        assert (await api.call("POST", "/", b"{}")).status_code == status


class TestNoAnswer:
    @pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
    async def test_whatever_goes_wrong_in_a_library_is_no_answer_and_nobodys_fault(self, error: Exception) -> None:
        api, _ = api_answering(error)
        with pytest.raises(Unavailable, match=f"^The service cannot be reached: {type(error).__name__}") as caught:
            await api.call("GET", "/")
        assert str(caught.value).isprintable()
        assert caught.value.__suppress_context__

    async def test_a_response_that_is_too_long_is_refused(self) -> None:
        api, _ = api_answering(answer(200, b" " * (MAX_RESPONSE_BYTES + 1)))
        with pytest.raises(Unavailable, match=r"^The service responded with more than 1 MiB$"):
            await api.call("GET", "/")

    @pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt()], ids=repr)
    async def test_who_cancels_is_obeyed(self, error: BaseException) -> None:
        api, _ = api_answering(error)
        with pytest.raises(type(error)):
            await api.call("GET", "/")

    @pytest.mark.looptime
    async def test_a_call_ends_at_its_time_out(self, looptime: int) -> None:
        async def never(_: httpx.Request) -> httpx.Response:
            await asyncio.sleep(1e6)
            raise AssertionError

        key = key_authentication("Api-Key", SecretStr(KEY))
        client = httpx.AsyncClient(transport=httpx.MockTransport(never))
        api = new_api(client, key)
        with pytest.raises(Unavailable, match=r"^The service did not respond within 30 s$"):
            await api.call("GET", "/")
        assert looptime == TIMEOUT_SECONDS


ECHO = f"you sent {KEY}, and again {KEY}"


class TestSecrets:
    @pytest.mark.parametrize("error", [OSError(ECHO), ValueError(f"Illegal header value b'{KEY}\\n'")], ids=repr)
    async def test_no_error_tells_the_key(self, error: Exception) -> None:
        api, _ = api_answering(error)
        with pytest.raises(Unavailable) as caught:
            await api.call("GET", "/")
        assert caught.value.__suppress_context__
        assert KEY not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"

    async def test_neither_do_the_objects_that_hold_it(self) -> None:
        api, _ = api_answering(answer(200))
        assert KEY not in f"{api!r} {api.authentication!r} {vars(api.authentication)}"

    async def test_a_key_that_the_service_repeats_is_redacted(self) -> None:
        api, _ = api_answering(answer(400, {"code": f"Bad{KEY}", "message": ECHO}))
        error = read_error(await api.call("GET", "/"))
        assert (error.code, error.message) == ("Bad[secret]", "you sent [secret], and again [secret]")

    async def test_it_is_redacted_before_the_text_is_cut(self) -> None:
        api, _ = api_answering(answer(400, {"code": "a" * 75 + KEY, "message": "b" * 495 + KEY}))
        error = read_error(await api.call("GET", "/"))
        assert KEY[:4] not in error.code + error.message

    async def test_so_is_every_secret_among_the_settings(self) -> None:
        api, _ = api_answering(answer(400, {"message": "sig=other-secret"}))
        hide("other-secret")
        assert read_error(await api.call("GET", "/")).message == "sig=[secret]"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("600", 600),
        ("601", 600),
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
    """A date is compared with the service's clock, not with ours."""
    given = {} if header is None else {"retry_after": header}
    assert retry_after_seconds(answer(429, date="Sat, 31 Jan 2026 12:00:00 GMT", **given)) == seconds


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_without_the_services_clock_a_date_is_compared_with_ours(date: str | None) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    wait = retry_after_seconds(answer(429, retry_after=until, **({} if date is None else {"date": date})))
    assert wait is not None
    assert 50 < wait <= 60


class TestJson:
    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"<html>", b"\xff", b'{"a":', b"[" * 100_000, b"1" * 100_000],
        ids=["empty", "truncated", "html", "not UTF-8", "cut", "deep", "huge"],
    )
    def test_a_body_that_is_not_json_is_a_value_error(self, body: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  # the class is all that is promised
            read_json(answer(200, body))

    def test_json_is_read(self) -> None:
        assert read_json(answer(200, json.dumps({"a": "ü"}).encode())) == {"a": "ü"}


async def test_the_pool_has_a_connection_for_each_call_on_its_way_and_keeps_it_for_half_a_minute() -> None:
    client = new_client()
    pool = client._transport._pool  # type: ignore[attr-defined]
    assert (pool._max_connections, pool._max_keepalive_connections, pool._keepalive_expiry) == (64, 64, 30.0)
    assert client.timeout == httpx.Timeout(None, connect=10.0)  # `JsonApi` bounds the whole call
    assert not client.follow_redirects
    await client.aclose()


@pytest.mark.parametrize(("size", "is_read"), [(2**20, True), (2**20 + 1, False)])
async def test_a_response_may_have_a_mebibyte(size: int, *, is_read: bool) -> None:
    api, _ = api_answering(httpx.Response(200, content=b"x" * size))
    with nullcontext() if is_read else pytest.raises(Unavailable, match="responded with more than 1 MiB"):
        assert len((await api.call("GET", "/")).content) == size
