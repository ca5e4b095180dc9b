"""The app settings, read from the environment into one typed object.

A setting's name is the field's name in capitals. An error names the setting and not its value, which may be a secret.
Storage follows the Functions convention: `AzureWebJobsStorage` is a connection string; without one the app's identity
is used, and `AzureWebJobsStorage__queueServiceUri` or `…__accountName` says for which account.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urlsplit
from urllib.request import getproxies

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from shared import setting_types as types
from shared.clouds import cloud_of
from shared.errors import SettingsError
from shared.redaction import hide

STORAGE = "AzureWebJobsStorage"
FUNCTION_TIMEOUT_SECONDS = 600.0  # as host.json has it: an invocation must end by itself before

_READ_BY_THE_HOST = {"metadata_updates_queue": "", "training_poll_schedule": " "}
"""Settings that the bindings name, and what the host takes off around them."""

_SECRETS_OF_LIBRARIES = ("IDENTITY_HEADER", "MSI_SECRET", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD")

_NEXT_LINE = ";\n  "
_REGIONAL = (".api.cognitive.microsoft.com", ".api.cognitive.microsoft.us", ".api.cognitive.azure.cn")
_OF_THE_HOST = re.compile(
    r"AzureWebJobs(?!Storage)|AzureWebJobsStorage__(credential|tenantId|blob|table|file)", re.IGNORECASE
)
"""What resembles a setting of the app without being meant as one."""


def poison_of(queue: str) -> str:
    """The name of a queue's dead-letter queue, which the host gives it (see "Poison messages" in its documentation)."""
    return f"{queue}-poison"


class Settings(BaseModel):
    """Everything that can be set. Without a key, the app's managed identity is used."""

    model_config = ConfigDict(frozen=True, alias_generator=AliasGenerator(validation_alias=str.upper))

    storage_connection_string: Annotated[types.ConnectionString | None, Field(validation_alias=STORAGE)] = None
    storage_queue_service_uri: Annotated[
        types.QueueService | None, Field(validation_alias=f"{STORAGE}__queueServiceUri")
    ] = None
    storage_account_name: Annotated[types.AccountName | None, Field(validation_alias=f"{STORAGE}__accountName")] = None
    storage_client_id: Annotated[str | None, Field(validation_alias=f"{STORAGE}__clientId")] = None

    metadata_updates_queue: types.QueueName
    training_watches_queue: types.QueueName
    events_queue: types.QueueName | None = "training-events"
    """None, set as an empty text: events go to the Event Grid topic only."""
    permits_queue: types.QueueName = "custom-vision-permits"
    training_poll_schedule: types.Schedule
    """Read by the host, for the timer trigger; here only so that a missing or wrong one is told with the others."""

    event_grid_topic_endpoint: types.TopicEndpoint | None = None
    event_grid_topic_key: types.Key | None = None

    custom_vision_endpoint: types.Endpoint
    custom_vision_training_key: types.Key | None = None
    custom_vision_calls_per_second: types.CallsPerSecond = 10.0

    face_endpoint: types.Endpoint
    face_key: types.Key | None = None
    face_api_version: types.ApiVersion = "v1.2"
    face_calls_per_second: types.CallsPerSecond = 10.0

    cognitive_services_audience: types.Audience | None = None

    max_metadata_pairs: Annotated[int, Field(ge=1, le=50)] = 10
    max_metadata_key_characters: Annotated[int, Field(ge=1, le=256)] = 128
    max_metadata_value_characters: Annotated[int, Field(ge=1, le=512)] = 256
    """The operation's page says the defaults, the published OpenAPI file of the same version says the upper bounds."""

    linger_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    max_wait_seconds: Annotated[
        float,
        Field(gt=0, lt=FUNCTION_TIMEOUT_SECONDS, validation_alias=AliasChoices("MAX_WAIT_SECONDS", "HOLD_SECONDS")),
    ] = 240.0
    """`HOLD_SECONDS` is the name that it had first."""
    api_timeout_seconds: Annotated[float, Field(ge=1, le=300)] = 30.0
    watch_lease_seconds: Annotated[int, Field(ge=1, le=24 * 3600)] = 600
    watches_per_tick: Annotated[int, Field(ge=1, le=100_000)] = 5000
    publish_updated_events: bool = False
    message_encoding: Annotated[Literal["base64", "none"], BeforeValidator(str.lower)] = "base64"
    """Of all messages that the app writes. What it reads is recognised."""

    applicationinsights_connection_string: types.ApplicationInsights | None = None
    otel_exporter_otlp_endpoint: types.Collector | None = None

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment. Raises `SettingsError` with a line for each that is wrong.

        Names are taken in any case. What is empty is not set, except for the events queue: there is none then.
        """
        known = {name.lower(): name for name in setting_names()}
        given: dict[str, str | None] = {}
        for variable, value in os.environ.items():
            name = known.get(variable.lower())
            is_empty = not value.strip(types.INVISIBLE)
            if name is not None and (not is_empty or name == "EVENTS_QUEUE"):
                given[name] = None if is_empty else value
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            lines = [_line(item) for item in error.errors(include_url=False)]
        else:
            hide(*settings.secrets)
            return settings
        raise SettingsError(f"the app settings cannot be used:\n  {_NEXT_LINE.join(lines)}")

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        meant = types.as_meant(value)
        taken_off = _READ_BY_THE_HOST.get(info.field_name or "")
        if taken_off is not None and value.strip(taken_off) != meant:
            raise ValueError("has a blank or a line break around it: take it off, since the Functions host does not")
        return meant

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems = [*self._places(), *self._queues(), *self._times(), *self._identities(), *_wrong_proxies()]
        if problems:
            raise ValueError(_NEXT_LINE.join(problems))
        return self

    def _places(self) -> Iterator[str]:
        if self.storage_connection_string is None and self.storage_endpoint is None:
            yield (
                f"{STORAGE}: is missing: set a connection string, or {STORAGE}__queueServiceUri for the app's identity"
            )
        if self.events_queue is None and self.event_grid_topic_endpoint is None:
            yield "EVENTS_QUEUE: is empty and EVENT_GRID_TOPIC_ENDPOINT is not set: events must go somewhere"
        if self.event_grid_topic_key is not None and self.event_grid_topic_endpoint is None:
            yield "EVENT_GRID_TOPIC_ENDPOINT: is missing, although EVENT_GRID_TOPIC_KEY is set"

    def _queues(self) -> Iterator[str]:
        """Events in a queue that is read as updates, say, would become dead letters, each with an event of its own."""
        read = (self.metadata_updates_queue, self.training_watches_queue)
        names = (*read, *map(poison_of, read), self.events_queue, self.permits_queue)
        if len(set(names)) < len(names):
            yield (
                "METADATA_UPDATES_QUEUE, TRAINING_WATCHES_QUEUE, EVENTS_QUEUE, PERMITS_QUEUE: must be four queues, "
                "none of them the dead-letter queue (-poison) of another"
            )

    def _times(self) -> Iterator[str]:
        if self.linger_seconds >= self.max_wait_seconds:
            yield "LINGER_SECONDS: must be less than MAX_WAIT_SECONDS: each update would be sent away before it is sent"
            return
        setting, rate, linger = max(
            ("CUSTOM_VISION_CALLS_PER_SECOND", self.custom_vision_calls_per_second, self.linger_seconds),
            ("FACE_CALLS_PER_SECOND", self.face_calls_per_second, 0.0),
            key=lambda limit: limit[2] + 1 / limit[1],
        )
        needed = linger + 1 / rate + self.api_timeout_seconds
        if needed > self.max_wait_seconds:
            yield (
                f"MAX_WAIT_SECONDS: must be at least {needed:.4g}, which one call may take: {linger:g} "
                f"(LINGER_SECONDS) + {1 / rate:.4g} (1 / {setting}) + {self.api_timeout_seconds:g} "
                "(API_TIMEOUT_SECONDS); raise it, or change those"
            )
        if self.watch_lease_seconds <= self.api_timeout_seconds:
            yield (
                f"WATCH_LEASE_SECONDS: must be more than API_TIMEOUT_SECONDS ({self.api_timeout_seconds:g}): a watch "
                "would be somebody else's again before Face has responded"
            )

    def _identities(self) -> Iterator[str]:
        """Where no token of the identity is ever taken."""
        for key, endpoint, setting in (
            (self.custom_vision_training_key, self.custom_vision_endpoint, "CUSTOM_VISION_TRAINING_KEY"),
            (self.face_key, self.face_endpoint, "FACE_KEY"),
        ):
            if key is None and (urlsplit(endpoint).hostname or "").endswith(_REGIONAL):
                yield (
                    f"{setting}: is missing, and a regional endpoint takes no identity: set it, or give the resource a "
                    "custom subdomain and set that as the endpoint"
                )
        if self.storage_connection_string is None and (self.storage_endpoint or "").startswith("http:"):
            yield f"{STORAGE}__queueServiceUri: must be https: no token is sent over http"
        topic = self.event_grid_topic_endpoint or ""
        if self.event_grid_topic_key is None and topic.startswith("http:"):
            yield "EVENT_GRID_TOPIC_ENDPOINT: must be https without EVENT_GRID_TOPIC_KEY: no token is sent over http"

    @property
    def storage_endpoint(self) -> str | None:
        """The URL of the queue service that the app's identity may use."""
        if self.storage_queue_service_uri is not None:
            return self.storage_queue_service_uri
        if self.storage_account_name is not None:
            return f"https://{self.storage_account_name}.queue.{cloud_of(self.custom_vision_endpoint).storage}"
        return None

    def audience_of(self, endpoint: str) -> str:
        """Whom the identity's tokens for this Custom Vision or Face resource are for."""
        return self.cognitive_services_audience or cloud_of(endpoint).cognitive_services

    @property
    def secrets(self) -> list[str]:
        """Every secret that the app knows, those that only libraries read too."""
        found = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        if self.storage_connection_string is not None:
            fields = types.connection_fields(self.storage_connection_string.get_secret_value())
            signature = fields.get("sharedaccesssignature", "")
            found += [fields.get("accountkey", ""), signature, *parse_qs(signature).get("sig", [])]
        found += [os.environ.get(name, "") for name in _SECRETS_OF_LIBRARIES]
        found += [urlsplit(url).password or "" for url in _proxies().values()]
        return [secret for secret in found if secret]


def _proxies() -> dict[str, str]:
    return {
        f"{kind.upper()}_PROXY": url if "://" in url else f"http://{url}"
        for kind, url in getproxies().items()
        if kind in ("http", "https", "all")
    }


def _wrong_proxies() -> Iterator[str]:
    for name, url in _proxies().items():
        try:
            types.split_http_url(url)
        except ValueError:
            yield f"{name}: must be the URL of an HTTP proxy, such as http://PROXY:3128; not SOCKS"


def setting_names() -> list[str]:
    """The names of all app settings."""
    aliases = [info.validation_alias for info in Settings.model_fields.values()]
    return [str(name) for alias in aliases for name in (alias.choices if isinstance(alias, AliasChoices) else [alias])]


def resembling(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Of these names, those that are no app setting but resemble one, each with the setting that may be meant."""
    known = {_letters(name): name for name in setting_names()}
    exact = {name.lower() for name in known.values()}
    for name in names:
        if name.lower() not in exact and not _OF_THE_HOST.match(name):
            for closest in difflib.get_close_matches(_letters(name), known, n=1, cutoff=0.73):
                yield name, known[closest]


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _line(item: ErrorDetails) -> str:
    """Name the setting; what is wrong with several together names them itself."""
    what = "is missing" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
    return f"{item['loc'][0]}: {what}" if item["loc"] else what
