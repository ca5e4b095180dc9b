"""No secret leaves the process, in whichever text of whichever client."""

from __future__ import annotations

import html
import json
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from pydantic import SecretStr

from shared.batching.outcome_types import Retry
from shared.messages.cloud_event import EventType, new_event
from shared.messages.update import BatchKey
from shared.messages.watch import Target
from shared.permit_replenishment import replenish_permits
from shared.redaction import hide, hide_token, redacted, without_secrets
from shared.services.authentication import identity_authentication, key_authentication
from shared.services.custom_vision import update_image_metadata
from shared.services.events import EventGridTopic, EventPublisher
from shared.services.permit_queue import PermitQueue
from shared.services.queues import Queue, Received
from shared.services.training_status import poll_face, poll_iteration
from shared.text import one_line
from tests.unit.shared.answers import answer, client_answering, new_api

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from shared.services.http import JsonApi

SECRET = 'Marked/secret+with="odd"&characters=='
TOKEN = "marked-token-of-the-identity"
IMAGE = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"
PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"


def told(secret: str) -> str:
    return f"you sent {secret}, {quote(secret, safe='')} in a URL, {html.escape(secret)} in XML, {json.dumps(secret)}"


ECHO = told(SECRET) + told(TOKEN)


class TestWhatIsRegistered:
    @pytest.mark.parametrize("register", [hide, hide_token])
    def test_it_is_found_in_every_spelling(self, register: Callable[[str], None]) -> None:
        register(SECRET)
        assert "odd" not in without_secrets(told(SECRET))

    @pytest.mark.parametrize(
        "spelling",
        [
            pytest.param(lambda secret: quote(secret, safe="").lower(), id="a URL in lower case"),
            pytest.param(lambda secret: quote(quote(secret, safe=""), safe=""), id="a URL within a URL"),
            pytest.param(lambda secret: json.dumps(secret).replace("+", "\\u002B").replace("&", "\\u0026"), id=".NET"),
            pytest.param(lambda secret: json.dumps(secret).replace("/", "\\/"), id="PHP"),
            pytest.param(lambda secret: json.dumps(json.dumps(secret)), id="JSON within JSON"),
            pytest.param(lambda secret: json.dumps(html.escape(quote(secret, safe="="))), id="a URL in XML in JSON"),
            pytest.param(lambda secret: html.escape(html.escape(secret)), id="XML within XML"),
            pytest.param(lambda secret: secret.replace("+", "&#x2B;").replace('"', "&#34;"), id="numbers in XML"),
            pytest.param(repr, id="Python"),
        ],
    )
    def test_so_it_is_where_a_library_escapes_more_or_less(self, spelling: Callable[[str], str]) -> None:
        secret = SECRET.replace("Marked", "marked").replace("odd", "p\u00e4\U0001f511")
        hide(secret)
        assert (
            without_secrets(f"a {spelling(secret)} b").replace("'", "").replace('"', "").replace("\\", "")
            == "a [secret] b"
        )

    def test_a_secret_within_another_leaves_no_rest(self) -> None:
        hide("marked-key", "AccountName=a;Value=marked-key;")
        assert without_secrets("AccountName=a;Value=marked-key; marked-key") == "[secret] [secret]"

    def test_the_newest_tokens_are_known_and_the_settings_always(self) -> None:
        hide("of-the-settings")
        for number in range(1000):
            hide_token(f"token-{number:04}")
        assert without_secrets("of-the-settings token-0000 token-0999") == "[secret] token-0000 [secret]"

    def test_a_word_is_no_secret(self) -> None:
        hide("", "none", "a")
        assert redacted("none of a kind") == "none of a kind"

    def test_a_line_is_redacted_before_it_is_cut(self) -> None:
        hide("marked-secret")
        assert "mark" not in one_line("x" * 5 + "marked-secret", 10)


class TestWhatLooksLikeASecret:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("https://a/q?sv=1&sig=abc%2Bd%3D&se=2", "https://a/q?sv=1&sig=[secret]&se=2"),
            ("sv%3D1%26sig%3Dabc", "sv%3D1%26sig%3D[secret]"),
            ("AccountName=a;AccountKey=abc==;x", "AccountName=a;AccountKey=[secret];x"),
            ("Endpoint=sb://a;SharedAccessKey=abc=;x", "Endpoint=sb://a;SharedAccessKey=[secret];x"),
            ("Authorization: Bearer abcdefghijklmnop.q", "Authorization: Bearer [secret]"),
            ("'Authorization': 'SharedKey a:abc='", "'Authorization': 'SharedKey a:[secret]'"),
            ("{'Training-key': 'abc'}", "{'Training-key': '[secret]'}"),
            ("Ocp-Apim-Subscription-Key: abc", "Ocp-Apim-Subscription-Key: [secret]"),
            ("at http://me:abc@proxy:3128", "at http://me:[secret]@proxy:3128"),
            ("token eyJhbGciOiJ.eyJzdWIiOiI.c2ln is old", "token [secret] is old"),
        ],
    )
    def test_it_is_redacted_unregistered(self, text: str, left: str) -> None:
        assert redacted(text) == left

    @pytest.mark.parametrize(
        "text",
        [
            "look at CUSTOM_VISION_TRAINING_KEY and CUSTOM_VISION_ENDPOINT",
            "set FACE_KEY: ManagedIdentityCredential: no identity",
            "has a SharedAccessSignature without its signature (sig=)",
            "Bearer authentication is needed",
            "https://account.queue.core.windows.net:443/queue",
            '{"metadata":{"design":"big=1"}}',
        ],
    )
    def test_other_words_stay(self, text: str) -> None:
        assert redacted(text) == text

    @pytest.mark.parametrize(
        "part",
        [
            "-eyJ",
            "eyJ",
            "eyJaaaaaaaa.",
            "://",
            "://a:",
            "://:a",
            "Bearer ",
            "Bearer a",
            "sig",
            "sig=",
            "SharedKey a",
            " ",
        ],
    )
    def test_no_text_of_a_message_takes_long(self, part: str) -> None:
        began = time.process_time()
        redacted(part * (65_536 // len(part)))
        assert time.process_time() - began < 1

    def test_in_the_data_of_others_it_stays(self) -> None:
        """A dead letter is redriven: a producer's value must come back as it was."""
        assert (
            without_secrets('{"metadata":{"link":"https://a/?sig=abc"}}')
            == '{"metadata":{"link":"https://a/?sig=abc"}}'
        )


class Echoing:
    """The library's client of a queue or a topic: refuses everything with an error that repeats the secrets."""

    queue_name = "queue"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: Any, **__: Any) -> None:
            raise self._error

        return refuse

    def receive_messages(self, **_: Any) -> Any:
        return self

    async def by_page(self) -> Any:
        if self._error:
            raise self._error
        yield


class Credential:
    async def get_token(self, *_: str, **__: Any) -> Any:
        from azure.core.credentials import AccessToken

        return AccessToken(TOKEN, 0)


class NoToken:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def get_token(self, *_: str, **__: Any) -> Any:
        raise self._error


def errors() -> list[Exception]:
    chained = HttpResponseError(ECHO)
    chained.__cause__ = ServiceRequestError(ECHO)
    return [
        chained,
        ServiceRequestError(ECHO),
        OSError(ECHO),
        ValueError(ECHO),
        UnicodeDecodeError("a", b"", 0, 1, ECHO),
    ]


def answers() -> list[httpx.Response]:
    bodies: list[Any] = [
        {"code": "BadRequest" + SECRET, "message": ECHO},
        {"code": "NotFoundProject", "message": ECHO},
        {"error": {"code": "BadArgument", "message": ECHO}},
        {"error": {"code": "PersonGroupNotFound", "message": ECHO}},
        {"statusCode": 401, "message": ECHO},
        {"status": SECRET, "message": ECHO},
        {"images": [{"imageId": IMAGE, "status": ECHO}]},
        ECHO,
        ECHO.encode(),
    ]
    return [
        answer(status, body) for status in (200, 207, 400, 401, 403, 404, 408, 409, 418, 429, 500) for body in bodies
    ]


def apis(outcome: httpx.Response | Exception) -> list[JsonApi]:
    key = key_authentication("Training-key", SecretStr(SECRET))
    identity = identity_authentication(Credential(), "https://a", "FACE_KEY")  # type: ignore[arg-type]
    return [new_api(client_answering(outcome)[0], authentication) for authentication in (key, identity)]


def uses_of_an_api(api: JsonApi) -> list[Callable[[], Awaitable[Any]]]:
    update = BatchKey(PROJECT, frozenset({("k", "v")}))
    return [
        lambda: update_image_metadata(api, update, [IMAGE]),
        lambda: poll_face(api, "v1.0", Target("personGroup", "g")),
        lambda: poll_iteration(api, Target("iteration", IMAGE, PROJECT)),
    ]


def uses_of_azure(error: Exception) -> list[Callable[[], Awaitable[Any]]]:
    queue = Queue(Echoing(error))  # type: ignore[arg-type]
    received = Received("id", "receipt", b"", 1, None)
    topic = EventGridTopic(Echoing(error), "")  # type: ignore[arg-type]
    event = new_event(
        EventType.METADATA_UPDATED, source="https://a", subject="s", identity="i", time=None, data={"k": "v"}
    )

    permits = PermitQueue(Echoing(error))  # type: ignore[arg-type]
    return [
        lambda: replenish_permits(permits, 10, 10),
        lambda: queue.receive(1, 1),
        lambda: queue.send("text"),
        lambda: queue.put_back(received, "text"),
        lambda: queue.rewrite(received, "text", 1),
        lambda: queue.delete(received),
        lambda: EventPublisher(queue).publish(event),
        lambda: EventPublisher(None, topic).publish(event),
        identity_authentication(NoToken(error), "https://a", "FACE_KEY"),  # type: ignore[arg-type]
        identity_authentication(NoToken(ClientAuthenticationError(ECHO)), "https://a", "FACE_KEY"),  # type: ignore[arg-type]
    ]


async def leaving(use: Callable[[], Awaitable[Any]]) -> str:
    """What is to be seen of its outcome outside: the error with its traceback and causes, or the reason to retry."""
    try:
        outcome = await use()
    except Exception as error:
        return "".join(traceback.format_exception(error))
    return (
        " ".join(one.reason for one in outcome.values() if isinstance(one, Retry)) if isinstance(outcome, dict) else ""
    )


@pytest.mark.looptime
async def test_no_error_of_any_client_tells_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hide(SECRET)
    await identity_authentication(Credential(), "https://a", "FACE_KEY")()  # type: ignore[arg-type]
    outcomes: list[httpx.Response | Exception] = [*errors(), *answers()]
    uses = [use for outcome in outcomes for api in apis(outcome) for use in uses_of_an_api(api)]
    uses += [use for error in errors() for use in uses_of_azure(error)]
    text = "\n".join([await leaving(use) for use in uses]) + caplog.text
    assert "[secret]" in text
    assert "odd" not in text
    assert TOKEN not in text
    assert quote(SECRET, safe="") not in text


async def test_no_message_and_no_event_tells_a_registered_secret() -> None:
    hide(SECRET)
    sent: list[str] = []

    class Client(Echoing):
        async def send_message(self, text: str, **_: Any) -> None:
            sent.append(text)

        async def update_message(self, *_: Any, content: str, **__: Any) -> Any:
            sent.append(content)
            return Received("", "", b"", 1, None)

        async def send(self, events: list[Any]) -> None:
            sent.extend(json.dumps(event.data) for event in events)

    client = Client(OSError())
    queue, received = Queue(client), Received("id", "receipt", b"", 1, None)  # type: ignore[arg-type]
    event = new_event(
        EventType.METADATA_UPDATED, source="https://a", subject="s", identity="i", time=None, data={"k": SECRET}
    )
    await EventPublisher(queue, EventGridTopic(client, "")).publish(event)  # type: ignore[arg-type]
    await queue.send(json.dumps({"k": SECRET}))
    await queue.put_back(received, json.dumps({"k": SECRET}))
    await queue.rewrite(received, json.dumps({"k": SECRET}), 1)
    assert len(sent) == 5
    assert all("[secret]" in text and "odd" not in text for text in sent)
