"""The app settings: local.settings.json under the environment, and `%NAME%` in triggers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.host.errors import HostStartError

SETTINGS_FILE = "local.settings.json"
OWN_SETTINGS = ("LOCAL_HOST_LEASE_SECONDS", "LOCAL_HOST_DRAIN_SECONDS", "LOCAL_HOST_SHOW_DROPPED")
"""They are this host's alone: the app does not see them, and does not take them for misspelt ones of its own."""

TRUE_VALUES = {"1", "true"}

_PERCENT_NAME = re.compile(r"%([^%]+)%")


@dataclass(frozen=True)
class LocalOptions:
    """What can be set of this host alone.

    lease_seconds   `LOCAL_HOST_LEASE_SECONDS`: how long a received message stays invisible without renewal; the Azure
                    host knows only ten minutes
    drain_seconds   `LOCAL_HOST_DRAIN_SECONDS`: how long invocations may go on after the host was asked to stop
    show_dropped    `LOCAL_HOST_SHOW_DROPPED`: write the log lines that Azure would drop too, marked
    """

    lease_seconds: int = 600
    drain_seconds: int = 10
    show_dropped: bool = False


def read_settings_file(file: Path) -> dict[str, str]:
    """Return `Values` of a local.settings.json. Raises HostStartError."""
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HostStartError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise HostStartError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Values", {}), dict):
        raise HostStartError(f"{file} must be an object with an object `Values`")
    if document.get("IsEncrypted"):
        raise HostStartError(f"{file} is encrypted; decrypt it with `func settings decrypt`")
    values: dict[str, object] = document.get("Values", {})
    for name, value in values.items():
        if not isinstance(value, str):
            raise HostStartError(f"{file}: the value of {name} must be a string")
    return {name: str(value) for name, value in values.items()}


def load_settings(app_root: Path, file: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Overlay the settings file with the environment, which wins as it does in Core Tools.

    Without `file` the app root's local.settings.json is read if there is one. Raises HostStartError.
    """
    chosen = file or app_root / SETTINGS_FILE
    if file is None and not chosen.exists():
        return dict(environment)
    return {**read_settings_file(chosen), **environment}


def resolve(text: str, settings: Mapping[str, str]) -> str:
    """Replace each `%NAME%` by the setting of that name. Raises HostStartError if there is none."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not settings.get(name):
            raise HostStartError(f"the setting {name}, which a trigger refers to as %{name}%, is not set")
        return settings[name]

    return _PERCENT_NAME.sub(value, text)


def is_disabled(function_name: str, settings: Mapping[str, str]) -> bool:
    """Whether `AzureWebJobs.<function>.Disabled` switches the function off."""
    return settings.get(f"AzureWebJobs.{function_name}.Disabled", "").lower() in TRUE_VALUES


def local_options(settings: Mapping[str, str]) -> LocalOptions:
    """Read what can be set of this host alone. Raises HostStartError."""
    lease, drain, show_dropped = OWN_SETTINGS
    return LocalOptions(
        lease_seconds=_whole_number(settings, lease, LocalOptions.lease_seconds, least=1),
        drain_seconds=_whole_number(settings, drain, LocalOptions.drain_seconds, least=0),
        show_dropped=settings.get(show_dropped, "").lower() in TRUE_VALUES,
    )


def thread_count(settings: Mapping[str, str]) -> int | None:
    """Threads for `def` functions, None for Python's own default. Raises HostStartError."""
    name = "PYTHON_THREADPOOL_THREAD_COUNT"
    return _whole_number(settings, name, 0, least=1) if settings.get(name) else None


def _whole_number(settings: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = settings.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise HostStartError(f"the setting {name} must be a whole number of at least {least}, not '{text}'")
    return int(text)
