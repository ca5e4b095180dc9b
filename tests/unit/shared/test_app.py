"""The parts of the app together: what they silence, and what they do not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest_asyncio

from shared.app import QUIET, App
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

SETTINGS = {
    "AzureWebJobsStorage": "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:1/a",
    "METADATA_UPDATES_QUEUE": "updates",
    "TRAINING_WATCHES_QUEUE": "watches",
    "TRAINING_POLL_SCHEDULE": "*/15 * * * * *",
    "CUSTOM_VISION_ENDPOINT": "http://127.0.0.1:1",
    "CUSTOM_VISION_TRAINING_KEY": "key",
    "FACE_ENDPOINT": "http://127.0.0.1:1",
    "FACE_KEY": "key",
}


@pytest_asyncio.fixture
async def app(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> AsyncIterator[App]:
    caplog.set_level(logging.INFO)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    app = App(Settings.load())
    yield app
    await app.aclose()


async def test_what_tells_of_every_request_is_silenced(app: App) -> None:
    assert not any(logging.getLogger(name).isEnabledFor(logging.INFO) for name in QUIET)
    assert all(logging.getLogger(name).isEnabledFor(logging.ERROR) for name in QUIET)


async def test_the_workers_own_logger_and_the_rest_of_azure_are_not(app: App) -> None:
    for name in ("azure", "azure.functions", "azure.functions.decorators", "azure.core"):
        assert logging.getLogger(name).isEnabledFor(logging.INFO), name


async def test_a_setting_that_resembles_one_of_the_app_is_told_once_and_with_both_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {**SETTINGS, "LINGER_SECOND": "marked-value"}.items():
        monkeypatch.setenv(name, value)
    app = App(Settings.load())
    assert caplog.messages == ["LINGER_SECOND is no setting of this app and is ignored: is LINGER_SECONDS meant?"]
    await app.aclose()


async def test_identities_are_asked_for_once_each_and_closed_with_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Recorded] = []

    class Recorded:
        def __init__(self, client_id: str | None) -> None:
            self.client_id = client_id
            self.closed = False
            made.append(self)

        async def get_token(self, *scopes: str) -> None:
            raise AssertionError(scopes)

        async def close(self) -> None:
            self.closed = True

    monkeypatch.setattr("shared.app.new_credential", Recorded)
    keyless = {
        **SETTINGS,
        "AzureWebJobsStorage": "",
        "AzureWebJobsStorage__accountName": "made",
        "AzureWebJobsStorage__clientId": "of-storage",
        "CUSTOM_VISION_TRAINING_KEY": "",
        "FACE_KEY": "",
        "EVENT_GRID_TOPIC_ENDPOINT": "https://topic.westeurope-1.eventgrid.azure.net/api/events",
    }
    for name, value in keyless.items():
        monkeypatch.setenv(name, value)
    app = App(Settings.load())
    assert {one.client_id for one in made} == {None, "of-storage"}
    assert len(made) == 2
    await app.aclose()
    assert all(one.closed for one in made)


async def test_the_connections_to_the_topic_are_closed_with_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("topic")

    endpoint = "https://topic.westeurope-1.eventgrid.azure.net/api/events"
    for name, value in {
        **SETTINGS,
        "EVENT_GRID_TOPIC_ENDPOINT": endpoint,
        "EVENT_GRID_TOPIC_KEY": "made",
    }.items():
        monkeypatch.setenv(name, value)
    app = App(Settings.load())
    assert app._topic is not None
    monkeypatch.setattr(app._topic.client, "close", close)
    await app.aclose()
    assert closed == ["topic"]
