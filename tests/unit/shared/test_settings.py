"""App settings: each that is wrong or missing is named in one line, and its value is never told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from azure.storage.queue import QueueServiceClient

from shared.errors import SettingsError
from shared.messages.update import PAGE_LIMITS
from shared.redaction import without_secrets
from shared.settings import STORAGE, Settings, resembling, setting_names

SECRET = "bWFya2VkLXNlY3JldA=="
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=made;AccountKey={SECRET};EndpointSuffix=core.windows.net"
AZURITE = (
    f"DefaultEndpointsProtocol=http;AccountName=made;AccountKey={SECRET};QueueEndpoint=http://127.0.0.1:10001/made;"
)
VAULT = "@Microsoft.KeyVault(SecretUri=https://vault.vault.azure.net/secrets/marked)"
SAS = "QueueEndpoint=https://made.queue.core.windows.net;SharedAccessSignature="
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
READ_BY_THE_HOST = ("METADATA_UPDATES_QUEUE", "TRAINING_POLL_SCHEDULE")


def load(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> Settings:
    """Load good settings with these changes; None takes one away."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in {**GOOD, **changes}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    return Settings.load()


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
        assert settings.message_encoding == "base64"
        assert settings.face_key is None

    @pytest.mark.parametrize("value", ["none", "None", "NONE"])
    def test_the_encoding_is_taken_in_any_case(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        assert load(monkeypatch, MESSAGE_ENCODING=value).message_encoding == "none"

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

    def test_a_key_or_an_endpoint_is_meant_without_what_stands_around_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for around in (" {}", "{}\n", "\t{}\r\n", "\ufeff{}", "{}\u00a0", "\u200b{} "):
            around_all = {name: around.format(value) for name, value in GOOD.items() if name not in READ_BY_THE_HOST}
            assert load(monkeypatch, **around_all) == load(monkeypatch)

    @pytest.mark.parametrize("name", READ_BY_THE_HOST)
    @pytest.mark.parametrize("around", ["{}\n", "\t{}", "{}\u00a0", "\ufeff{}", "{} \n"])
    def test_what_the_host_reads_too_is_read_as_it_stands(
        self, monkeypatch: pytest.MonkeyPatch, name: str, around: str
    ) -> None:
        assert "has a blank or a line break around it" in why_not(monkeypatch, **{name: around.format(GOOD[name])})

    def test_the_host_takes_blanks_off_a_schedule_and_leaves_them_at_a_queues_name(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(monkeypatch, TRAINING_POLL_SCHEDULE=f" {GOOD['TRAINING_POLL_SCHEDULE']} ")
        why_not(monkeypatch, METADATA_UPDATES_QUEUE=f"{GOOD['METADATA_UPDATES_QUEUE']} ")

    @pytest.mark.parametrize("blank", [" ", "\n", "\u200b"])
    def test_a_blank_one_is_not_set(self, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
        assert load(monkeypatch, FACE_KEY=blank).face_key is None
        assert why_not(monkeypatch, FACE_ENDPOINT=blank) == "FACE_ENDPOINT: is missing"

    @pytest.mark.parametrize("schedule", ["*/15 * * * * *", "0 */5 * * * *", "0,30 * * * * 1-5", "0 0 9 * * Mon-Fri"])
    def test_a_schedule_is_ncrontab(self, monkeypatch: pytest.MonkeyPatch, schedule: str) -> None:
        assert load(monkeypatch, TRAINING_POLL_SCHEDULE=schedule).training_poll_schedule == schedule

    def test_the_metadata_limits_are_the_pages_and_can_be_raised_to_the_files(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = load(monkeypatch)
        limits = ("max_metadata_pairs", "max_metadata_key_characters", "max_metadata_value_characters")
        assert tuple(getattr(settings, name) for name in limits) == PAGE_LIMITS == (10, 128, 256)
        raised = dict(zip(map(str.upper, limits), ("50", "256", "512"), strict=True))
        assert [getattr(load(monkeypatch, **raised), name) for name in limits] == [50, 256, 512]


class TestEvents:
    TOPIC = "https://topic.westeurope-1.eventgrid.azure.net"

    def test_they_go_to_the_queue_unless_told_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch)
        assert (settings.events_queue, settings.event_grid_topic_endpoint) == ("training-events", None)

    @pytest.mark.parametrize("path", ["", "/", "/api/events", "/api/events/"])
    def test_they_go_to_a_topic_beside_it(self, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        settings = load(monkeypatch, EVENT_GRID_TOPIC_ENDPOINT=self.TOPIC + path)
        assert (settings.events_queue, settings.event_grid_topic_endpoint) == (
            "training-events",
            self.TOPIC + "/api/events",
        )

    @pytest.mark.parametrize("empty", ["", " "])
    def test_they_go_to_a_topic_instead_of_it(self, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
        settings = load(monkeypatch, EVENTS_QUEUE=empty, EVENT_GRID_TOPIC_ENDPOINT=self.TOPIC)
        assert settings.events_queue is None

    def test_they_must_go_somewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        line = why_not(monkeypatch, EVENTS_QUEUE="")
        assert line == "EVENTS_QUEUE: is empty and EVENT_GRID_TOPIC_ENDPOINT is not set: events must go somewhere"

    def test_a_topics_key_without_the_topic_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        line = why_not(monkeypatch, EVENT_GRID_TOPIC_KEY="marked-topic-key")
        assert line == "EVENT_GRID_TOPIC_ENDPOINT: is missing, although EVENT_GRID_TOPIC_KEY is set"


class TestTogether:
    """Settings that are good one by one and can never work together."""

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"LINGER_SECONDS": "50", "MAX_WAIT_SECONDS": "40"}, "LINGER_SECONDS: must be less than MAX_WAIT_SECONDS"),
            ({"LINGER_SECONDS": "50", "HOLD_SECONDS": "40"}, "LINGER_SECONDS: must be less than MAX_WAIT_SECONDS"),
            ({"MAX_WAIT_SECONDS": "31"}, "MAX_WAIT_SECONDS: must be at least 31.1, which one call may take: 1 (LINGER"),
            ({"HOLD_SECONDS": "31"}, "MAX_WAIT_SECONDS: must be at least 31.1, which one call may take: 1 (LINGER"),
            ({"API_TIMEOUT_SECONDS": "240"}, "MAX_WAIT_SECONDS: must be at least 241.1, which one call may take"),
            (
                {"FACE_CALLS_PER_SECOND": "0.001"},
                "MAX_WAIT_SECONDS: must be at least 1030, which one call may take: 0 (LINGER_SECONDS) + 1000 "
                "(1 / FACE_CALLS_PER_SECOND)",
            ),
            ({"CUSTOM_VISION_CALLS_PER_SECOND": "1e-9"}, "MAX_WAIT_SECONDS: must be at least 1e+09"),
            ({"WATCH_LEASE_SECONDS": "30"}, "WATCH_LEASE_SECONDS: must be more than API_TIMEOUT_SECONDS (30)"),
        ],
        ids=str,
    )
    def test_what_waits_longer_than_it_may_is_told(
        self, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], told: str
    ) -> None:
        assert why_not(monkeypatch, **changes).startswith(told)

    @pytest.mark.parametrize(
        "changes",
        [
            {"MAX_WAIT_SECONDS": "31.1"},
            {"FACE_CALLS_PER_SECOND": "0.33"},
            {"LINGER_SECONDS": "0", "API_TIMEOUT_SECONDS": "1", "MAX_WAIT_SECONDS": "1.1", "WATCH_LEASE_SECONDS": "2"},
        ],
        ids=str,
    )
    def test_what_fits_is_taken(self, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]) -> None:
        assert load(monkeypatch, **changes)

    @pytest.mark.parametrize(
        ("key", "endpoint"),
        [
            ("CUSTOM_VISION_TRAINING_KEY", "https://westeurope.api.cognitive.microsoft.com/"),
            ("FACE_KEY", "https://virginia.api.cognitive.microsoft.us"),
            ("FACE_KEY", "https://chinaeast2.api.cognitive.azure.cn"),
        ],
    )
    def test_a_regional_endpoint_takes_no_identity(
        self, monkeypatch: pytest.MonkeyPatch, key: str, endpoint: str
    ) -> None:
        name = "FACE_ENDPOINT" if key == "FACE_KEY" else "CUSTOM_VISION_ENDPOINT"
        assert load(monkeypatch, **{name: endpoint})
        line = why_not(monkeypatch, **{name: endpoint, key: None})
        assert line.startswith(f"{key}: is missing, and a regional endpoint takes no identity")

    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({STORAGE: None, f"{STORAGE}__queueServiceUri": "http://127.0.0.1:1/a"}, f"{STORAGE}__queueServiceUri"),
            ({"EVENT_GRID_TOPIC_ENDPOINT": "http://127.0.0.1:1"}, "EVENT_GRID_TOPIC_ENDPOINT"),
        ],
        ids=str,
    )
    def test_no_token_goes_over_http(
        self, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], name: str
    ) -> None:
        line = why_not(monkeypatch, **changes)
        assert line.startswith(f"{name}: must be https")

    def test_all_that_is_wrong_is_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(SettingsError) as caught:
            load(monkeypatch, EVENTS_QUEUE="", MAX_WAIT_SECONDS="10", **{STORAGE: None})
        names = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
        assert set(names) == {STORAGE, "EVENTS_QUEUE", "MAX_WAIT_SECONDS"}


class TestClouds:
    @pytest.mark.parametrize(
        ("endpoint", "audience", "storage"),
        [
            ("https://a.cognitiveservices.azure.com", "https://cognitiveservices.azure.com", "core.windows.net"),
            ("https://westus.api.cognitive.microsoft.com", "https://cognitiveservices.azure.com", "core.windows.net"),
            ("https://a.cognitiveservices.azure.us", "https://cognitiveservices.azure.us", "core.usgovcloudapi.net"),
            (
                "https://usgovvirginia.api.cognitive.microsoft.us",
                "https://cognitiveservices.azure.us",
                "core.usgovcloudapi.net",
            ),
            ("https://a.cognitiveservices.azure.cn", "https://cognitiveservices.azure.cn", "core.chinacloudapi.cn"),
            (
                "https://chinaeast2.api.cognitive.azure.cn",
                "https://cognitiveservices.azure.cn",
                "core.chinacloudapi.cn",
            ),
            ("https://gateway.example.us", "https://cognitiveservices.azure.com", "core.windows.net"),
            ("http://127.0.0.1:7080", "https://cognitiveservices.azure.com", "core.windows.net"),
        ],
    )
    def test_audience_and_storage_are_those_of_the_endpoints_cloud(
        self, monkeypatch: pytest.MonkeyPatch, endpoint: str, audience: str, storage: str
    ) -> None:
        account = {STORAGE: None, f"{STORAGE}__accountName": "made"}
        settings = load(monkeypatch, CUSTOM_VISION_ENDPOINT=endpoint, FACE_ENDPOINT=endpoint, **account)
        assert settings.audience_of(settings.custom_vision_endpoint) == audience
        assert settings.audience_of(settings.face_endpoint) == audience
        assert settings.storage_endpoint == f"https://made.queue.{storage}"

    @pytest.mark.parametrize("suffix", ["", "/", "/.default"])
    def test_the_audience_can_be_set(self, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
        settings = load(monkeypatch, COGNITIVE_SERVICES_AUDIENCE=f"https://audience.example{suffix}")
        assert settings.audience_of("https://a.cognitiveservices.azure.us") == "https://audience.example"


class TestUnknown:
    @pytest.mark.parametrize(
        ("unknown", "known"),
        [
            ("LINGER_SECOND", "LINGER_SECONDS"),
            ("CUSTOMVISION_ENDPOINT", "CUSTOM_VISION_ENDPOINT"),
            ("CUSTOM_VISION_TRAINING-KEY", "CUSTOM_VISION_TRAINING_KEY"),
            ("CUSTOM_VISION_KEY", "CUSTOM_VISION_TRAINING_KEY"),
            ("FACE_KEYS", "FACE_KEY"),
            ("FACE_RATE_PER_SECOND", "FACE_CALLS_PER_SECOND"),
            ("EVENT_QUEUE", "EVENTS_QUEUE"),
            ("EVENTGRID_TOPIC_ENDPOINT", "EVENT_GRID_TOPIC_ENDPOINT"),
            ("PUBLISH_UPDATE_EVENTS", "PUBLISH_UPDATED_EVENTS"),
            ("API_TIMEOUT", "API_TIMEOUT_SECONDS"),
            ("WATCHES_QUEUE", "TRAINING_WATCHES_QUEUE"),
            ("AzureWebJobsStorage_queueServiceUri", f"{STORAGE}__queueServiceUri"),
            ("AzureWebJobsStorage__queueServiceUrl", f"{STORAGE}__queueServiceUri"),
        ],
    )
    def test_one_that_resembles_a_setting_of_the_app_is_found(self, unknown: str, known: str) -> None:
        assert list(resembling([*GOOD, unknown])) == [(unknown, known)]

    def test_what_others_read_is_not_told(self) -> None:
        others = """
            APPLICATIONINSIGHTS_CONNECTION_STRING APPINSIGHTS_INSTRUMENTATIONKEY AZURE_CLIENT_ID AZURE_TENANT_ID
            AZURE_CLIENT_SECRET AZURE_FUNCTIONS_ENVIRONMENT AzureFunctionsJobHost__logging__logLevel__default
            AzureWebJobsDashboard AzureWebJobsFeatureFlags AzureWebJobsScriptRoot AzureWebJobsSecretStorageType
            AzureWebJobsStorage__blobServiceUri AzureWebJobsStorage__credential AzureWebJobsStorage__tableServiceUri
            AzureWebJobsStorage__blobServiceUri CONTAINER_NAME DEPLOYMENT_STORAGE_CONNECTION_STRING
            ENABLE_ORYX_BUILD FUNCTIONS_EXTENSION_VERSION FUNCTIONS_WORKER_PROCESS_COUNT FUNCTIONS_WORKER_RUNTIME
            HOME HOSTNAME HTTPS_PROXY HTTP_PROXY NO_PROXY IDENTITY_ENDPOINT IDENTITY_HEADER LANG MSI_ENDPOINT MSI_SECRET
            OTEL_EXPORTER_OTLP_ENDPOINT OTEL_SERVICE_NAME PATH PYTHONPATH PYTHON_ENABLE_DEBUG_LOGGING
            PYTHON_THREADPOOL_THREAD_COUNT REGION_NAME SCM_DO_BUILD_DURING_DEPLOYMENT SSL_CERT_FILE TZ
            WEBSITE_AUTH_ENCRYPTION_KEY WEBSITE_CONTENTAZUREFILECONNECTIONSTRING WEBSITE_CONTENTSHARE WEBSITE_HOSTNAME
            WEBSITE_INSTANCE_ID WEBSITE_MOUNT_ENABLED WEBSITE_OWNER_NAME WEBSITE_RESOURCE_GROUP WEBSITE_RUN_FROM_PACKAGE
            WEBSITE_SITE_NAME WEBSITE_SLOT_NAME WEBSITE_TIME_ZONE keyVaultReferenceIdentity
        """
        assert list(resembling(others.split())) == []
        assert list(resembling(setting_names())) == []
        assert list(resembling(map(str.lower, setting_names()))) == []


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
            ("FACE_ENDPOINT", "https://face.example:65536", "is not a url, or its port is not from 1 to 65535"),
            ("FACE_ENDPOINT", "https://face.example:0", "is not a url, or its port is not from 1 to 65535"),
            ("FACE_ENDPOINT", "https://face.\nexample", "has a blank or a line break in it"),
            ("FACE_ENDPOINT", "https://face .example", "has a blank or a line break in it"),
            ("FACE_ENDPOINT", "https://face.example/face/v1.0", "must end before the api's own path"),
            ("FACE_ENDPOINT", "https://face.example/face/v1.0/", "must end before the api's own path"),
            ("FACE_ENDPOINT", "https://face.example/face/", "must end before the api's own path"),
            ("FACE_ENDPOINT", "https://gateway.example/a/face/v1.2", "must end before the api's own path"),
            ("CUSTOM_VISION_ENDPOINT", "https://v.example/customvision/v3.3", "must end before the api's own path"),
            ("CUSTOM_VISION_ENDPOINT", "https://v.example/CustomVision/v3.3/Training/", "must end before the api's"),
            ("CUSTOM_VISION_ENDPOINT", "https://<name>.cognitiveservices.azure.com", "still has a placeholder"),
            ("CUSTOM_VISION_ENDPOINT", "https://{name}.cognitiveservices.azure.com", "still has a placeholder"),
            ("CUSTOM_VISION_ENDPOINT", "https://NAME.cognitiveservices.azure.com", "still has a placeholder"),
            ("FACE_KEY", "<your key, please>", "still has a placeholder"),
            ("METADATA_UPDATES_QUEUE", "%QUEUE_NAME%", "still has a placeholder"),
            ("FACE_KEY", '"marked-face-key"', "stands in quotes: take them off"),
            ("FACE_ENDPOINT", "'https://face.example'", "stands in quotes: take them off"),
            ("METADATA_UPDATES_QUEUE", '"image-metadata-updates"', "stands in quotes: take them off"),
            ("LINGER_SECONDS", '"1.000000000"', "stands in quotes: take them off"),
            ("FACE_KEY", VAULT, "is a reference that was not resolved. usual reasons: "),
            ("FACE_ENDPOINT", VAULT, "is a reference that was not resolved. usual reasons: "),
            ("EVENT_GRID_TOPIC_KEY", VAULT.lower(), "is a reference that was not resolved. usual reasons: "),
            ("CUSTOM_VISION_TRAINING_KEY", "@Microsoft.AppConfiguration(Endpoint=x)", "is a reference that was not"),
            ("TRAINING_POLL_SCHEDULE", "every 15 seconds", "must be ncrontab with six fields"),
            ("TRAINING_POLL_SCHEDULE", "5 * * *", "must be ncrontab with six fields"),
            (
                "TRAINING_POLL_SCHEDULE",
                "60 * * * * *",
                "must be ncrontab with six fields, such as",
            ),
            ("TRAINING_POLL_SCHEDULE", "0 0 0 31 2 *", "must fire in every year"),
            ("TRAINING_POLL_SCHEDULE", "00:00:15", "is a time span, which never fires"),
            ("EVENT_GRID_TOPIC_ENDPOINT", "https://t.example/api/eventz", "must be the topic's endpoint, such as"),
            ("EVENT_GRID_TOPIC_ENDPOINT", "t.region-1.eventgrid.azure.net", "must be a url such as"),
            ("EVENT_GRID_TOPIC_ENDPOINT", "http://t.example/api/events", "must be https"),
            ("COGNITIVE_SERVICES_AUDIENCE", "cognitiveservices.azure.us", "must be a url such as"),
            ("MAX_METADATA_PAIRS", "51", "input should be less than or equal to 50"),
            ("MAX_METADATA_KEY_CHARACTERS", "257", "input should be less than or equal to 256"),
            ("MAX_METADATA_VALUE_CHARACTERS", "513", "input should be less than or equal to 512"),
            ("MAX_METADATA_PAIRS", "0", "input should be greater than or equal to 1"),
            ("FACE_ENDPOINT", "https://user:pw@face.example", "must not carry a user"),
            ("FACE_ENDPOINT", "https://face.example?a=b", "must not carry a user, a query"),
            ("FACE_ENDPOINT", "https://face.example/?", "must not carry a user, a query"),
            ("FACE_ENDPOINT", "https://face.example/#", "must not carry a user, a query or a fragment"),
            ("FACE_KEY", "marked key", "must be one word of ascii characters"),
            ("FACE_KEY", "marked\nkey", "must be one word of ascii characters"),
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
            ("API_TIMEOUT_SECONDS", "0.5", "input should be greater than or equal to 1"),
            ("WATCH_LEASE_SECONDS", "1.5", "input should be a valid integer"),
            ("PUBLISH_UPDATED_EVENTS", "perhaps", "input should be a valid boolean"),
            ("MESSAGE_ENCODING", "utf-8", "input should be 'base64' or 'none'"),
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
            ("PERMITS_QUEUE", "training-events"),
        ],
    )
    def test_a_queue_has_one_role(self, monkeypatch: pytest.MonkeyPatch, name: str, queue: str) -> None:
        line = why_not(monkeypatch, **{name: queue})
        assert line.startswith(
            "METADATA_UPDATES_QUEUE, TRAINING_WATCHES_QUEUE, EVENTS_QUEUE, PERMITS_QUEUE: must be four queues"
        )

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

    @pytest.mark.parametrize(
        ("connection", "told"),
        [
            (CONNECTION.replace(SECRET, "marked-key-that-was-cut-of"), "has an AccountKey that is not Base64"),
            (CONNECTION.replace(SECRET, SECRET[:-1]), "has an AccountKey that is not Base64"),
            (CONNECTION.replace(SECRET, "schlüssel"), "has an AccountKey that is not Base64"),
            (CONNECTION.replace(SECRET, "<key>"), "still has a placeholder"),
            (CONNECTION.replace(SECRET, "bWFy a2Vk"), "has an AccountKey that is not Base64"),
            (CONNECTION.replace(SECRET, "bWFy\na2Vk"), "has a line break in it"),
            (f'"{CONNECTION}"', "stands in quotes: take them off"),
            (VAULT, "is a reference that was not resolved"),
            (
                f"{SAS}sv=2024&se=2021-01-01T00%3A00%3A00Z&sig=x%3D",
                "has a SharedAccessSignature that has expired (2021",
            ),
            (f"{SAS}sv=2024&se=2021-01-01&sig=x%3D", "has a SharedAccessSignature that has expired (2021-01-01)"),
            (f"{SAS}sv=2024", "has a SharedAccessSignature without its signature (sig=)"),
            (f"QueueEndpoint=https://made.blob.core.windows.net;AccountKey={SECRET}", "must be the account's queue"),
            (f"QueueEndpoint=https://made.queue.core.windows.net/q;AccountKey={SECRET}", "must end before the name of"),
        ],
    )
    def test_so_is_one_that_was_copied_badly(self, monkeypatch: pytest.MonkeyPatch, connection: str, told: str) -> None:
        line = why_not(monkeypatch, **{STORAGE: connection})
        assert line.startswith(f"{STORAGE}: {told}")
        assert "marked" not in line

    @pytest.mark.parametrize(
        "uri", ["https://made.blob.core.windows.net", "https://made.queue.core.windows.net/updates"]
    )
    def test_the_queue_services_uri_is_the_queue_services(self, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
        line = why_not(monkeypatch, **{STORAGE: None, f"{STORAGE}__queueServiceUri": uri})
        assert line.startswith(f"{STORAGE}__queueServiceUri: must ")

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


class TestProxies:
    @pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
    @pytest.mark.parametrize(
        "value",
        ["socks5://proxy.example:1080", "socks5h://me:marked@proxy.example", "proxy:with:many:colons", "http://"],
    )
    def test_one_that_the_http_client_cannot_use_stops_the_start(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        assert why_not(monkeypatch, **{name: value}).startswith(f"{name}: must be the URL of an HTTP proxy")

    @pytest.mark.parametrize("value", ["http://proxy.example:3128", "proxy.example:3128", "https://me:marked@proxy"])
    def test_an_http_proxy_is_taken(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        load(monkeypatch, HTTPS_PROXY=value, NO_PROXY="localhost,.example")


class TestSecrets:
    def test_none_is_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch)
        shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
        for secret in settings.secrets:
            assert secret not in shown

    def test_all_are_hidden_once_they_are_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        topic = {
            "EVENT_GRID_TOPIC_ENDPOINT": "https://topic.example",
            "EVENT_GRID_TOPIC_KEY": "marked-topic-key",
            "IDENTITY_HEADER": "marked-header",
            "AZURE_CLIENT_SECRET": "marked-client-secret",
            "HTTPS_PROXY": "http://me:marked-password@proxy.example:3128",
        }
        load(monkeypatch, **topic)
        for secret in (
            CONNECTION,
            SECRET,
            quote(SECRET, safe=""),
            "marked-vision-key",
            "marked-face-key",
            *(value for name, value in topic.items() if name not in ("EVENT_GRID_TOPIC_ENDPOINT", "HTTPS_PROXY")),
            "marked-password",
        ):
            assert without_secrets(f"<{secret}>") == "<[secret]>"

    def test_a_proxys_password_is_one_with_and_without_a_scheme(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load(monkeypatch, HTTPS_PROXY="me:marked-first@proxy:3128", HTTP_PROXY="http://me:marked-second@proxy:3128")
        assert without_secrets("marked-first marked-second") == "[secret] [secret]"

    def test_of_a_shared_access_signature_the_signature_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load(monkeypatch, **{STORAGE: f"{SAS}sv=2024&sig=marked%2Bsignature"})
        for told in ("sig=marked%2Bsignature", "sig=marked+signature"):
            assert without_secrets(told) == "sig=[secret]"

    def test_without_keys_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        identity = {STORAGE: None, f"{STORAGE}__accountName": "made"}
        keyless = load(monkeypatch, **identity, FACE_KEY=None, CUSTOM_VISION_TRAINING_KEY=None)
        assert keyless.secrets == []
