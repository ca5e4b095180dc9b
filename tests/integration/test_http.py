"""The app's HTTP client against servers that answer as they please."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from shared.batching.outcome_types import APPLIED
from shared.errors import Unavailable
from shared.redaction import hide
from shared.services import custom_vision
from shared.services.authentication import key_authentication
from shared.services.http import MAX_RESPONSE_BYTES, JsonApi, new_client, retry_after_seconds
from tests.unit.shared.conftest import image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
TIMEOUT_SECONDS = 5.0


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@dataclass
class Server:
    """Answers every request with these bytes, and keeps the requests' heads."""

    answer: bytes
    endless: bytes = b""
    reset: bool = False
    heads: list[str] = field(default_factory=list)
    sent: int = 0
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.heads.append(head)
                await reader.readexactly(_length(head))
                if self.reset:
                    writer.transport.abort()
                    return
                writer.write(self.answer)
                await writer.drain()
                while self.endless:
                    writer.write(self.endless)
                    self.sent += len(self.endless)
                    await writer.drain()
                if not self.answer or b"connection: close" in self.answer:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def _length(head: str) -> int:
    lines = [line.partition(":") for line in head.lower().splitlines()]
    return next((int(value) for name, _, value in lines if name == "content-length"), 0)


@asynccontextmanager
async def serving(answer: bytes, endless: bytes = b"", *, reset: bool = False) -> AsyncIterator[Server]:
    server = Server(answer, endless, reset)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


def http(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@asynccontextmanager
async def api(address: str, timeout_seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[JsonApi]:
    async with new_client() as client:
        key = key_authentication("Training-key", SecretStr("made"))
        yield JsonApi(client, address, key, "The service", "THE_KEY", timeout_seconds)


OK = b'{"images": [{"imageId": "%s", "status": "OK"}]}' % image(1).encode()


class TestAnswers:
    @pytest.mark.parametrize("status", [b"503 r\xe9essayez", b"503", b"503 ", "503 später".encode(), b"503 \xff\xfe"])
    async def test_a_reason_phrase_need_not_be_utf_8(self, status: bytes) -> None:
        async with serving(http(b"", status, b"Retry-After: 7")) as server, api(server.address) as asked:
            answer = await asked.call("POST", "/", b"{}")
        assert (answer.status_code, retry_after_seconds(answer)) == (503, 7)

    async def test_neither_need_a_header(self) -> None:
        async with serving(http(OK, b"200 OK", b"X-Region: Z\xfcrich")) as server, api(server.address) as asked:
            answer = await asked.call("POST", "/", b"{}")
        assert custom_vision.read_response(answer, [image(1)], "") == {image(1): APPLIED}

    @pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"deflate", b"br", b"identity, gzip"])
    async def test_one_that_is_compressed_though_nobody_asked_is_refused(self, encoding: bytes) -> None:
        """A little of it could be 256 MiB once it is unpacked."""
        answer = http(gzip.compress(OK), b"200 OK", b"Content-Encoding: " + encoding)
        async with serving(answer) as server, api(server.address) as asked:
            with pytest.raises(Unavailable, match="an encoding nobody asked for: "):
                await asked.call("POST", "/", b"{}")
        assert "\r\naccept-encoding: identity\r\n" in server.heads[0].lower()

    async def test_one_that_says_it_is_not_is_read(self) -> None:
        answer = http(OK, b"200 OK", b"Content-Encoding: identity")
        async with serving(answer) as server, api(server.address) as asked:
            assert (await asked.call("POST", "/", b"{}")).content == OK

    @pytest.mark.parametrize("size", [MAX_RESPONSE_BYTES, MAX_RESPONSE_BYTES + 1])
    async def test_1_mib_is_the_most_that_is_read(self, size: int) -> None:
        async with serving(http(b" " * size)) as server, api(server.address) as asked:
            if size <= MAX_RESPONSE_BYTES:
                assert len((await asked.call("GET", "/")).content) == size
            else:
                with pytest.raises(Unavailable, match="more than 1 MiB"):
                    await asked.call("GET", "/")

    async def test_an_endless_one_is_left_soon_after_1_mib(self) -> None:
        part = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        async with serving(head, part) as server, api(server.address) as asked:
            with pytest.raises(Unavailable, match="more than 1 MiB"):
                await asked.call("GET", "/")
            assert server.sent < 16 * MAX_RESPONSE_BYTES

    async def test_a_path_is_sent_as_it_is(self) -> None:
        async with serving(http(OK)) as server, api(server.address) as asked:
            await asked.call("GET", "/a%2Fb/%7E~?ids=1,2%2C3&x=%20+")
        assert server.heads[0].startswith("GET /a%2Fb/%7E~?ids=1,2%2C3&x=%20+ HTTP/1.1\r\n")

    @pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 See", b"307 Same", b"308 Same"])
    async def test_a_redirect_is_not_followed(self, status: bytes) -> None:
        async with serving(http(OK)) as elsewhere:
            answer = http(b"", status, b"Location: " + elsewhere.address.encode())
            async with serving(answer) as server, api(server.address) as asked:
                assert (await asked.call("GET", "/")).status_code == int(status[:3])
            assert not elsewhere.heads


class TestNoAnswer:
    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/9.9 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            http(OK + b"more", b"200 OK")[:-10] + b"",
        ],
        ids=[
            "closed",
            "TLS",
            "SSH",
            "no status",
            "no such version",
            "no header",
            "no length",
            "a huge header",
            "no chunk",
            "never whole",
        ],
    )
    async def test_what_is_no_http_is_no_answer(self, answer: bytes) -> None:
        async with serving(answer) as server, api(server.address, timeout_seconds=0.5) as asked:
            with pytest.raises(Unavailable) as caught:
                custom_vision.read_response(await asked.call("GET", "/"), [image(1)], "")
        assert str(caught.value).isprintable()

    async def test_neither_is_a_connection_that_is_reset(self) -> None:
        async with serving(b"", reset=True) as server, api(server.address) as asked:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await asked.call("GET", "/")

    @pytest.mark.parametrize(
        "address", ["http://127.0.0.1:1", "http://no-such-host.invalid", "http://" + "a" * 64 + ".b"]
    )
    async def test_neither_is_a_host_that_is_not_there(self, address: str) -> None:
        async with api(address) as asked:
            with pytest.raises(Unavailable):
                await asked.call("GET", "/")


class TestState:
    async def test_no_cookie_is_kept(self) -> None:
        answer = http(OK, b"200 OK", b"Set-Cookie: session=1; Path=/", b"Set-Cookie: big=" + b"x" * 2000)
        async with serving(answer) as server, api(server.address) as asked:
            for _ in range(3):
                await asked.call("POST", "/", b"{}")
        assert len(server.heads) == 3
        assert len({len(head) for head in server.heads}) == 1
        assert not any("cookie" in head.lower() for head in server.heads)


class TestProxy:
    @pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
    async def test_https_goes_through_the_proxy_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        async with serving(http(b"", b"403 Forbidden", b"connection: close")) as proxy:
            monkeypatch.setenv(name, proxy.address)
            async with api("https://vision.example") as asked:
                with pytest.raises(Unavailable, match="403"):
                    await asked.call("GET", "/")
        assert proxy.heads[0].startswith("CONNECT vision.example:443 HTTP/1.1\r\n")

    async def test_its_credentials_are_sent_and_not_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with serving(http(b"", b"407 Proxy Authentication Required", b"connection: close")) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.address.replace("//", "//me:marked@"))
            async with api("https://vision.example") as asked:
                hide("marked")
                with pytest.raises(Unavailable, match="407") as caught:
                    await asked.call("GET", "/")
        assert "\r\nproxy-authorization: basic bwu6bwfya2vk\r\n" in proxy.heads[0].lower()
        assert "marked" not in str(caught.value)

    async def test_so_does_http(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with serving(http(OK)) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.address)
            async with api("http://127.0.0.1:9") as asked:
                assert (await asked.call("GET", "/path")).content == OK
        assert proxy.heads[0].startswith("GET http://127.0.0.1:9/path HTTP/1.1\r\n")

    @pytest.mark.parametrize("excepted", ["127.0.0.1", "*", "other.example,127.0.0.1"])
    async def test_what_is_excepted_does_not(self, monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
        async with serving(http(b"")) as proxy, serving(http(OK)) as server:
            monkeypatch.setenv("HTTP_PROXY", proxy.address)
            monkeypatch.setenv("NO_PROXY", excepted)
            async with api(server.address) as asked:
                assert (await asked.call("GET", "/")).content == OK
        assert not proxy.heads
