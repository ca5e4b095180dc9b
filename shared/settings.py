"""The app settings, read once into one typed object.

A setting's name in the app is the field's name in capitals. What is wrong with a setting is told without its value,
which may be a secret. The storage connection follows the Functions convention: `AzureWebJobsStorage` is a connection
string, or `AzureWebJobsStorage__queueServiceUri` or `AzureWebJobsStorage__accountName` says where the app's identity
may go, with `AzureWebJobsStorage__clientId` for a user-assigned one.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, TypeVar

import httpx
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

STORAGE = "AzureWebJobsStorage"
MAX_CALLS_PER_SECOND = 10_000.0
FUNCTION_TIMEOUT_SECONDS = 600.0  # as host.json has it: an invocation must end by itself before
MAX_PORT = 65_535

DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"
"""An emulator at its usual port, with the account and key that the Storage libraries know by themselves."""

_DEVELOPMENT_STORAGE = DEVELOPMENT_STORAGE.lower()
_CONNECTION_SECRETS = ("accountkey", "sharedaccesssignature")


def _https_or_loopback(url: str) -> str:
    """Check an endpoint: https, or http on the loopback address; a host and at most a path. Drop a final slash."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("is not a URL") from None
    if not parsed.host or parsed.scheme not in ("http", "https"):
        raise ValueError("must be a URL such as https://NAME.cognitiveservices.azure.com")
    if parsed.port is not None and not 0 < parsed.port <= MAX_PORT:
        raise ValueError("must have a port from 1 to 65535, or none")
    if parsed.userinfo or "?" in url or "#" in url:
        raise ValueError("must not carry a user, a query or a fragment")
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise ValueError("must be https: http would send the key in the clear (it is taken for loopback only)")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _sendable(secret: SecretStr | None) -> SecretStr | None:
    """Check that a key can stand in a header. A line break copied with it is the usual reason why it cannot."""
    if secret is not None and not re.fullmatch(r"[\x21-\x7e]+", secret.get_secret_value()):
        raise ValueError("must be one word of ASCII characters, without a space or a line break")
    return secret


Key = Annotated[SecretStr | None, AfterValidator(_sendable)]
Endpoint = Annotated[str, AfterValidator(_https_or_loopback)]
QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](-?[a-z0-9])*$", min_length=3, max_length=56)]
"""Storage allows 63 characters; 7 are kept for the `-poison` that a dead-letter queue's name adds."""


def poison_of(queue: str) -> str:
    """The name of a queue's dead-letter queue, which the host gives it (see "Poison messages" in its documentation)."""
    return f"{queue}-poison"


CallsPerSecond = Annotated[float, Field(gt=0, le=MAX_CALLS_PER_SECOND)]


def _connection_fields(connection_string: str) -> dict[str, str]:
    """Take a connection string apart. Names are lower-case in the answer: Azure takes any case."""
    parts = (part.partition("=") for part in connection_string.split(";"))
    return {name.strip().lower(): text.strip() for name, _, text in parts}


def _usable_connection_string(secret: SecretStr | None) -> SecretStr | None:
    if secret is None:
        return None
    value = secret.get_secret_value()
    if value.replace(" ", "").rstrip(";").lower() == _DEVELOPMENT_STORAGE:
        return SecretStr(DEVELOPMENT_STORAGE)
    fields = _connection_fields(value)
    if not any(fields.get(name) for name in _CONNECTION_SECRETS):
        raise ValueError("is not a connection string: it has neither AccountKey nor SharedAccessSignature")
    if not fields.get("accountname") and not fields.get("queueendpoint"):
        raise ValueError("is not a connection string: it has neither AccountName nor QueueEndpoint")
    if "queueendpoint" in fields:
        _https_or_loopback(fields["queueendpoint"])
    elif fields.get("defaultendpointsprotocol", "https").lower() != "https":
        raise ValueError("must say DefaultEndpointsProtocol=https: http would send messages in the clear")
    return secret


class Settings(BaseSettings):
    """Everything that can be set. Without a key, the app's managed identity is used."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    storage_connection_string: Annotated[
        SecretStr | None, AfterValidator(_usable_connection_string), Field(validation_alias=STORAGE)
    ] = None
    storage_queue_service_uri: Annotated[Endpoint | None, Field(validation_alias=f"{STORAGE}__queueServiceUri")] = None
    storage_account_name: Annotated[
        str | None,
        StringConstraints(pattern=r"^[a-z0-9]{3,24}$"),
        Field(validation_alias=f"{STORAGE}__accountName"),
    ] = None
    storage_client_id: Annotated[str | None, Field(validation_alias=f"{STORAGE}__clientId")] = None

    metadata_updates_queue: QueueName
    training_watches_queue: QueueName
    events_queue: QueueName = "training-events"
    training_poll_schedule: str
    """Read by the host, for the timer trigger; here only so that a missing one is told with the others."""

    custom_vision_endpoint: Endpoint
    custom_vision_training_key: Key = None
    custom_vision_calls_per_second: CallsPerSecond = 10.0

    face_endpoint: Endpoint
    face_key: Key = None
    face_api_version: Annotated[str, StringConstraints(pattern=r"^v[0-9]+\.[0-9]+(-[a-z]+\.[0-9]+)?$")] = "v1.2"
    face_calls_per_second: CallsPerSecond = 10.0

    linger_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    max_wait_seconds: Annotated[
        float,
        Field(gt=0, lt=FUNCTION_TIMEOUT_SECONDS, validation_alias=AliasChoices("MAX_WAIT_SECONDS", "HOLD_SECONDS")),
    ] = 240.0
    """`HOLD_SECONDS` is the name that it had first."""
    api_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 30.0
    watch_lease_seconds: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 600
    watches_per_tick: Annotated[int, Field(ge=1, le=100_000)] = 5000
    publish_updated_events: bool = False

    @model_validator(mode="after")
    def _storage_is_somewhere(self) -> Settings:
        if self.storage_connection_string is None and self.storage_endpoint is None:
            raise ValueError(
                f"{STORAGE}: is missing: set a connection string, or {STORAGE}__queueServiceUri for the app's identity"
            )
        return self

    @model_validator(mode="after")
    def _each_queue_has_one_role(self) -> Settings:
        """Events in a queue that is read as updates, say, would become dead letters, each with an event of its own."""
        read = (self.metadata_updates_queue, self.training_watches_queue)
        names = (*read, *map(poison_of, read), self.events_queue)
        if len(set(names)) < len(names):
            raise ValueError(
                "METADATA_UPDATES_QUEUE, TRAINING_WATCHES_QUEUE, EVENTS_QUEUE: must be three queues, "
                "none of them the dead-letter queue (-poison) of another"
            )
        return self

    @property
    def storage_endpoint(self) -> str | None:
        """The URL of the queue service that the app's identity may use."""
        if self.storage_queue_service_uri is not None:
            return self.storage_queue_service_uri
        if self.storage_account_name is not None:
            return f"https://{self.storage_account_name}.queue.core.windows.net"
        return None

    @property
    def secrets(self) -> list[str]:
        """Every secret among the settings, the longer first, for whoever has to keep them out of a text."""
        given = (self.custom_vision_training_key, self.face_key, self.storage_connection_string)
        found = [secret.get_secret_value() for secret in given if secret is not None]
        if self.storage_connection_string is not None:
            fields = _connection_fields(self.storage_connection_string.get_secret_value())
            found += [fields[name] for name in _CONNECTION_SECRETS if fields.get(name)]
        return sorted(found, key=len, reverse=True)


def load_settings() -> Settings:
    """Read the app settings from the environment. Raises `SettingsError` with a line for each that is wrong."""
    return read_settings(Settings)


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S]) -> S:
    """Read settings of this kind from the environment. Raises `SettingsError` with a line for each that is wrong."""
    try:
        return kind()
    except ValidationError as error:
        wrong = ";\n  ".join(_line(item) for item in error.errors(include_url=False))
    raise SettingsError(f"the app settings cannot be used:\n  {wrong}")


def _line(item: ErrorDetails) -> str:
    """Name the setting; what is wrong with several together names them itself."""
    return f"{_name(item['loc'])}: {_told(item)}" if item["loc"] else _told(item)


def _name(loc: tuple[int | str, ...]) -> str:
    name = str(loc[0])
    return STORAGE + name[len(STORAGE) :] if name.lower().startswith(STORAGE.lower()) else name.upper()


def _told(item: ErrorDetails) -> str:
    """Say what is wrong without saying the value."""
    if item["type"] == "missing":
        return "is missing"
    return item["msg"].removeprefix("Value error, ")
