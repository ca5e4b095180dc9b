"""App settings: each that is wrong or missing is named in one line, and its value is never told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from azure.storage.queue import QueueServiceClient

from shared.errors import SettingsError
from shared.settings import STORAGE, Settings, load_settings

SECRET = "bWFya2VkLXNlY3JldA=="
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=made;AccountKey={SECRET};EndpointSuffix=core.windows.net"
AZURITE = (
    f"DefaultEndpointsProtocol=http;AccountName=made;AccountKey={SECRET};QueueEndpoint=http://127.0.0.1:10001/made;"
)
GOOD = {
    STORAGE: CONNECTION,
    "METADATA_UPDATES_QUEUE": "image-metadata-updates",
    "TRAINING_WATCHES_QUEUE": "training-watches",
    "TRAINING_POLL_SCHEDULE": "*/15 * * * * *",
    "CUSTOM_VISION_ENDPOINT": "https://vision.cognitiveservices.azure.com/",
    "CUSTOM_VISION_TRAINING_KEY": "marked-vision-key",
    "FACE_ENDPOINT": "https://face.cognitiveservices.azure.com",
    "FACE_KEY": "marked-face-key",
}


def load(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> Settings:
    """Load good settings with these changes; None takes one away."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in {**GOOD, **changes}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    return load_settings()


def why_not(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> str:
    """The one line that tells what is wrong."""
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **changes)
    first, *lines = str(caught.value).splitlines()
    assert first == "the app settings cannot be used:"
    assert len(lines) == 1
    for value in changes.values():
        assert value is None or len(value) < 10 or "UseDevelopment" in value or value not in str(caught.value)
    assert caught.value.__context__ is None, "pydantic's error tells the value"
    return lines[0].strip()


class TestGood:
    def test_they_are_read_into_types(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch, CUSTOM_VISION_CALLS_PER_SECOND="2.5", PUBLISH_UPDATED_EVENTS="true")
        assert settings.custom_vision_endpoint == "https://vision.cognitiveservices.azure.com", "no final slash"
        assert settings.custom_vision_calls_per_second == 2.5
        assert settings.publish_updated_events is True
        assert settings.face_key is not None
        assert settings.face_key.get_secret_value() == "marked-face-key"

    def test_what_is_not_set_has_its_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch, FACE_CALLS_PER_SECOND="", FACE_KEY=None)
        assert settings.events_queue == "training-events"
        assert settings.face_calls_per_second == 10
        assert settings.face_api_version == "v1.2"
        assert settings.linger_seconds == 1
        assert settings.max_wait_seconds == 240
        assert settings.face_key is None

    def test_the_sample_can_be_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sample = Path(__file__).parents[3] / "local.settings.sample.json"
        values = json.loads(sample.read_text())["Values"]
        assert load(monkeypatch, **{**dict.fromkeys(GOOD), **values, STORAGE: AZURITE})

    @pytest.mark.parametrize(
        "endpoint",
        [
            "https://vision.cognitiveservices.azure.com",
            "https://host:8443/base/path/",
            "http://127.0.0.1:7080",
            "http://127.9.9.9",
            "http://localhost:7080/",
            "http://[::1]:7080",
        ],
    )
    def test_an_endpoint_is_https_or_loopback(self, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
        assert load(monkeypatch, FACE_ENDPOINT=endpoint).face_endpoint == endpoint.rstrip("/")


class TestWrong:
    @pytest.mark.parametrize(
        "name",
        [
            "METADATA_UPDATES_QUEUE",
            "TRAINING_WATCHES_QUEUE",
            "TRAINING_POLL_SCHEDULE",
            "CUSTOM_VISION_ENDPOINT",
            "FACE_ENDPOINT",
        ],
    )
    @pytest.mark.parametrize("value", [None, ""])
    def test_a_missing_one_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
        assert why_not(monkeypatch, **{name: value}) == f"{name}: is missing"

    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("METADATA_UPDATES_QUEUE", "Image_Updates", "string should match pattern"),
            ("METADATA_UPDATES_QUEUE", "double--hyphen", "string should match pattern"),
            ("EVENTS_QUEUE", "ab", "string should have at least 3 characters"),
            ("TRAINING_WATCHES_QUEUE", "q" * 57, "string should have at most 56 characters"),
            ("CUSTOM_VISION_ENDPOINT", "http://vision.example", "must be https"),
            ("FACE_ENDPOINT", "http://10.0.0.1", "must be https"),
            ("FACE_ENDPOINT", "http://localhost.example", "must be https"),
            ("FACE_ENDPOINT", "http://127.0.0.1.example", "must be https"),
            ("FACE_ENDPOINT", "face.example", "must be a url such as"),
            ("FACE_ENDPOINT", "ftp://face.example", "must be a url such as"),
            ("FACE_ENDPOINT", "https://", "must be a url such as"),
            ("FACE_ENDPOINT", "https://[::1", "is not a url"),
            ("FACE_ENDPOINT", "https://face.example:65536", "must have a port"),
            ("FACE_ENDPOINT", "https://face.example/\n", "is not a url"),
            ("FACE_ENDPOINT", "https://user:pw@face.example", "must not carry a user"),
            ("FACE_ENDPOINT", "https://face.example?a=b", "must not carry a user, a query"),
            ("FACE_ENDPOINT", "https://face.example/?", "must not carry a user, a query"),
            ("FACE_ENDPOINT", "https://face.example/#", "must not carry a user, a query or a fragment"),
            ("FACE_KEY", "marked key", "must be one word of ascii characters"),
            ("FACE_KEY", "marked-key\n", "must be one word of ascii characters"),
            ("CUSTOM_VISION_TRAINING_KEY", "schlüssel", "must be one word of ascii characters"),
            ("FACE_API_VERSION", "v1.2/../..", "string should match pattern"),
            ("FACE_CALLS_PER_SECOND", "0", "input should be greater than 0"),
            ("FACE_CALLS_PER_SECOND", "-1", "input should be greater than 0"),
            ("FACE_CALLS_PER_SECOND", "ten", "input should be a valid number"),
            ("CUSTOM_VISION_CALLS_PER_SECOND", "nan", "input should be"),
            ("CUSTOM_VISION_CALLS_PER_SECOND", "inf", "input should be less than or equal to 10000"),
            ("LINGER_SECONDS", "-0.1", "input should be greater than or equal to 0"),
            ("LINGER_SECONDS", "nan", "input should be"),
            ("LINGER_SECONDS", "61", "input should be less than or equal to 60"),
            ("MAX_WAIT_SECONDS", "600", "input should be less than 600"),
            ("WATCH_LEASE_SECONDS", "1.5", "input should be a valid integer"),
            ("PUBLISH_UPDATED_EVENTS", "perhaps", "input should be a valid boolean"),
        ],
    )
    def test_a_wrong_one_is_named_and_its_value_is_not_told(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
    ) -> None:
        line = why_not(monkeypatch, **{name: value})
        assert line.lower().startswith(f"{name.lower()}: {told}")
        assert line.startswith(name)

    @pytest.mark.parametrize(
        ("name", "queue"),
        [
            ("EVENTS_QUEUE", GOOD["METADATA_UPDATES_QUEUE"]),
            ("EVENTS_QUEUE", f"{GOOD['TRAINING_WATCHES_QUEUE']}-poison"),
            ("TRAINING_WATCHES_QUEUE", GOOD["METADATA_UPDATES_QUEUE"]),
            ("TRAINING_WATCHES_QUEUE", f"{GOOD['METADATA_UPDATES_QUEUE']}-poison"),
        ],
    )
    def test_a_queue_has_one_role(self, monkeypatch: pytest.MonkeyPatch, name: str, queue: str) -> None:
        line = why_not(monkeypatch, **{name: queue})
        assert line.startswith("METADATA_UPDATES_QUEUE, TRAINING_WATCHES_QUEUE, EVENTS_QUEUE: must be three queues")

    def test_all_of_them_are_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(SettingsError) as caught:
            load(monkeypatch, FACE_ENDPOINT=None, MAX_WAIT_SECONDS="x", EVENTS_QUEUE="X")
        assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
            "EVENTS_QUEUE",
            "FACE_ENDPOINT",
            "MAX_WAIT_SECONDS",
        ]


class TestStorage:
    @pytest.mark.parametrize(
        "connection",
        [
            CONNECTION,
            AZURITE,
            "QueueEndpoint=https://made.queue.core.windows.net;SharedAccessSignature=sv=2024&sig=x%3D",
            f"accountname=made;accountkey={SECRET}",
        ],
    )
    def test_a_connection_string_will_do(self, monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
        settings = load(monkeypatch, **{STORAGE: connection})
        assert settings.storage_connection_string is not None
        assert settings.storage_connection_string.get_secret_value() == connection
        assert settings.storage_endpoint is None

    @pytest.mark.parametrize("connection", ["UseDevelopmentStorage=true", " usedevelopmentstorage=TRUE; "])
    def test_an_emulator_needs_no_key_since_the_libraries_know_it(
        self, monkeypatch: pytest.MonkeyPatch, connection: str
    ) -> None:
        settings = load(monkeypatch, **{STORAGE: connection})
        assert settings.storage_connection_string is not None
        secret = settings.storage_connection_string.get_secret_value()
        assert QueueServiceClient.from_connection_string(secret).account_name == "devstoreaccount1"

    @pytest.mark.parametrize(
        ("name", "value", "endpoint"),
        [
            (f"{STORAGE}__queueServiceUri", "https://q.example/", "https://q.example"),
            (f"{STORAGE}__accountName", "made", "https://made.queue.core.windows.net"),
        ],
    )
    def test_so_will_the_identity(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, endpoint: str) -> None:
        settings = load(monkeypatch, **{STORAGE: None, name: value, f"{STORAGE}__clientId": "some-client"})
        assert settings.storage_connection_string is None
        assert settings.storage_endpoint == endpoint
        assert settings.storage_client_id == "some-client"

    @pytest.mark.parametrize(
        ("connection", "told"),
        [
            ("secret", "is not a connection string: it has neither AccountKey nor SharedAccessSignature"),
            ("AccountName=made;AccountKey=", "is not a connection string: it has neither AccountKey nor"),
            (f"AccountKey={SECRET}", "is not a connection string: it has neither AccountName nor QueueEndpoint"),
            (CONNECTION.replace("https", "http"), "must say DefaultEndpointsProtocol=https"),
            (AZURITE.replace("127.0.0.1", "storage.example"), "must be https"),
        ],
    )
    def test_one_that_cannot_work_is_told(self, monkeypatch: pytest.MonkeyPatch, connection: str, told: str) -> None:
        line = why_not(monkeypatch, **{STORAGE: connection})
        assert line.startswith(f"{STORAGE}: {told}")
        assert SECRET not in line

    def test_storage_is_somewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert why_not(monkeypatch, **{STORAGE: None}).startswith(f"{STORAGE}: is missing: set a connection string, or")

    @pytest.mark.parametrize(
        ("name", "value"),
        [(f"{STORAGE}__queueServiceUri", "http://q.example"), (f"{STORAGE}__accountName", "a/b")],
    )
    def test_the_parts_of_the_identity_are_named_as_they_are_set(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        assert why_not(monkeypatch, **{STORAGE: None, name: value}).startswith(f"{name}: ")


class TestSecrets:
    def test_none_is_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch)
        shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
        for secret in settings.secrets:
            assert secret not in shown

    def test_all_are_known_to_who_redacts_texts_the_longest_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load(monkeypatch).secrets == [CONNECTION, SECRET, "marked-vision-key", "marked-face-key"]
        without_keys = load(
            monkeypatch,
            **{STORAGE: None, f"{STORAGE}__accountName": "made", "FACE_KEY": None, "CUSTOM_VISION_TRAINING_KEY": None},
        )
        assert without_keys.secrets == []
