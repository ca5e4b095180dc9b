"""What each app setting may be: the types of `shared.settings`. Their errors never quote the value."""

import base64
import ipaddress
import re
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from shared.schedule import check_schedule

TOPIC_PATH = "/api/events"
DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"
"""An emulator at its usual port, with the account and key that the Storage libraries know by themselves."""

INVISIBLE = " \t\r\n\f\v\u00a0\u200b\u2060\ufeff"
"""What is copied along with a value and cannot be seen."""

_REFERENCE = re.compile(r"@Microsoft\.(KeyVault|AppConfiguration)\(", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"<[^<>]*>|\{[^{}]*\}|%[A-Za-z_]+%|://NAME\b")


def as_meant(value: str) -> str:
    """Take off the blanks and line breaks around a value. Raises `ValueError` for what nobody means as a value."""
    value = value.strip(INVISIBLE)
    if _REFERENCE.match(value):
        raise ValueError(
            "is a reference that was not resolved. Usual reasons: the app's identity may not read the secret (role Key "
            "Vault Secrets User), a user-assigned identity is not named in keyVaultReferenceIdentity, the vault's "
            "firewall, or a wrong name of vault or secret; the portal shows which, beside the setting"
        )
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`":
        raise ValueError("stands in quotes: take them off")
    if _PLACEHOLDER.search(value):
        raise ValueError("still has a placeholder, such as <name>: put the real value there")
    return value


def split_http_url(url: str, such_as: str = "https://NAME.cognitiveservices.azure.com") -> SplitResult:
    """Take a URL apart. Raises `ValueError` unless it is one of HTTP, with a host and a port that can be."""
    if not url.isprintable() or " " in url:
        raise ValueError("has a blank or a line break in it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("is not a URL, or its port is not from 1 to 65535")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError(f"must be a URL such as {such_as}")
    return parts


def _split_https_url(url: str) -> SplitResult:
    """Take apart a URL that is called with a key or a token: a host and at most a path."""
    parts = split_http_url(url)
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("must not carry a user, a query or a fragment")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must be https: http would send the key in the clear (it is taken for loopback only)")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _endpoint(url: str) -> str:
    path = _split_https_url(url).path
    if re.search(r"^/(face|customvision)(/|$)|/(face|customvision)/v\d", path, re.IGNORECASE):
        raise ValueError("must end before the API's own path (/face/…, /customvision/…), which the app adds")
    return url.rstrip("/")


def _queue_service(url: str) -> str:
    parts = _split_https_url(url)
    host = parts.hostname or ""
    if re.search(r"\.(blob|table|file|dfs|web)\.", host):
        raise ValueError("must be the account's queue service, such as https://ACCOUNT.queue.core.windows.net")
    if ".queue." in host and parts.path.strip("/"):
        raise ValueError("must end before the name of a queue")
    return url.rstrip("/")


def _topic_endpoint(url: str) -> str:
    """Add the path, which the portal shows and other places leave out."""
    if _split_https_url(url).path.rstrip("/") not in ("", TOPIC_PATH):
        raise ValueError(
            f"must be the topic's endpoint, such as https://TOPIC.REGION-1.eventgrid.azure.net{TOPIC_PATH}"
        )
    return url.rstrip("/").removesuffix(TOPIC_PATH) + TOPIC_PATH


def _audience(url: str) -> str:
    """An audience, also given as the scope that is made from it."""
    _split_https_url(url)
    return url.rstrip("/").removesuffix("/.default")


def _collector(url: str) -> str:
    """The URL of a collector of OTLP over HTTP. Inside a cluster http is usual."""
    path = split_http_url(url, "http://COLLECTOR:4318").path
    if "@" in url or "?" in url or "#" in url:
        raise ValueError("must not carry a user, a query or a fragment; OTEL_EXPORTER_OTLP_HEADERS says who may send")
    if re.search(r"/v1/(traces|metrics|logs)/?$", path):
        raise ValueError("must end before /v1/traces and the like, which are added")
    return url.rstrip("/")


def _application_insights(connection_string: str) -> str:
    if not connection_fields(connection_string).get("instrumentationkey"):
        raise ValueError("is not a connection string of Application Insights: it has no InstrumentationKey")
    return connection_string


def _key(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", secret.get_secret_value()):
        raise ValueError("must be one word of ASCII characters, without a blank or a line break in it")
    return secret


def connection_fields(connection_string: str) -> dict[str, str]:
    """Take a connection string apart. Names are lower-case in the result: Azure takes any case."""
    parts = (part.partition("=") for part in connection_string.split(";"))
    return {name.strip().lower(): text.strip() for name, _, text in parts}


def _connection_string(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if value.replace(" ", "").rstrip(";").lower() == DEVELOPMENT_STORAGE.lower():
        return SecretStr(DEVELOPMENT_STORAGE)
    if "\n" in value or "\r" in value:
        raise ValueError("has a line break in it")
    fields = connection_fields(value)
    key, signature = fields.get("accountkey", ""), fields.get("sharedaccesssignature", "")
    if not key and not signature:
        raise ValueError("is not a connection string: it has neither AccountKey nor SharedAccessSignature")
    if not fields.get("accountname") and not fields.get("queueendpoint"):
        raise ValueError("is not a connection string: it has neither AccountName nor QueueEndpoint")
    if "queueendpoint" in fields:
        _queue_service(fields["queueendpoint"])
    elif fields.get("defaultendpointsprotocol", "https").lower() != "https":
        raise ValueError("must say DefaultEndpointsProtocol=https: http would send messages in the clear")
    try:
        base64.b64decode(key, validate=True)
    except ValueError:
        raise ValueError("has an AccountKey that is not Base64: it was not copied whole, or is not the key") from None
    if signature:
        _check_shared_access_signature(signature)
    return secret


def _check_shared_access_signature(signature: str) -> None:
    fields = parse_qs(signature.removeprefix("?"))
    if "sig" not in fields:
        raise ValueError("has a SharedAccessSignature without its signature (sig=)")
    try:
        expiry = datetime.fromisoformat(fields["se"][0])
    except (KeyError, ValueError):  # a stored policy may say it
        return
    if expiry.replace(tzinfo=expiry.tzinfo or UTC) <= datetime.now(UTC):
        raise ValueError(f"has a SharedAccessSignature that has expired ({expiry.date()})")


Key = Annotated[SecretStr, AfterValidator(_key)]
ConnectionString = Annotated[SecretStr, AfterValidator(_connection_string)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
QueueService = Annotated[str, AfterValidator(_queue_service)]
TopicEndpoint = Annotated[str, AfterValidator(_topic_endpoint)]
Audience = Annotated[str, AfterValidator(_audience)]
ApplicationInsights = Annotated[str, AfterValidator(_application_insights)]
"""No secret, says its documentation: it tells where to send, and is in every web page that is measured."""

Collector = Annotated[str, AfterValidator(_collector)]
Schedule = Annotated[str, AfterValidator(check_schedule)]
QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](-?[a-z0-9])*$", min_length=3, max_length=56)]
"""Storage allows 63 characters; 7 are kept for the `-poison` that a dead-letter queue's name adds."""

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{3,24}$")]
ApiVersion = Annotated[str, StringConstraints(pattern=r"^v[0-9]+\.[0-9]+(-[a-z]+\.[0-9]+)?$")]
CallsPerSecond = Annotated[float, Field(gt=0, le=10_000)]
