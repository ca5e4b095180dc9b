"""Reads the app's settings, from the environment or a settings file. Only what a command needs may not be missing."""

from __future__ import annotations

import json
import os
from pathlib import Path

from shared.errors import SettingsError
from shared.messages.update import MetadataLimits
from shared.messages.watch import Api
from shared.setting_types import Endpoint, QueueName, Schedule
from shared.settings import Settings

SETTINGS_FILE = Path("local.settings.json")
SETTINGS_FILE_VARIABLE = "VISION_RELAY_SETTINGS"


class OpsSettings(Settings):
    """The app's settings, with default names for the queues. The endpoints of the APIs may be missing."""

    metadata_updates_queue: QueueName = "image-metadata-updates"
    training_watches_queue: QueueName = "training-watches"
    training_poll_schedule: Schedule = ""
    custom_vision_endpoint: Endpoint = ""
    face_endpoint: Endpoint = ""

    @property
    def metadata_limits(self) -> MetadataLimits:
        """The limits of an image's metadata."""
        return MetadataLimits(
            self.max_metadata_pairs, self.max_metadata_key_characters, self.max_metadata_value_characters
        )

    def endpoint_of(self, api: Api) -> str:
        """The endpoint of an API; empty if the settings do not name it."""
        return self.face_endpoint if api is Api.FACE else self.custom_vision_endpoint


def load_ops_settings(file: Path | None) -> OpsSettings:
    """Read the settings. Raises `SettingsError` with a line for each that is wrong.

    The environment goes before the file, as with the Functions host. Without `file`, the file is the one that
    VISION_RELAY_SETTINGS names, or `local.settings.json` in this folder.
    """
    for name, value in _read_file(_chosen(file)).items():
        if not os.environ.get(name):
            os.environ[name] = value
    try:
        return OpsSettings.load()
    except SettingsError as error:
        raise SettingsError(f"{error}\n{where_from(file)}") from None


def where_from(file: Path | None) -> str:
    """Name the places that settings are read from."""
    chosen = _chosen(file)
    if chosen is not None:
        return f"settings come from the environment and {chosen}"
    return (
        f"settings come from the environment; there is no {SETTINGS_FILE} here, and neither --settings nor "
        f"{SETTINGS_FILE_VARIABLE} names another file"
    )


def _chosen(file: Path | None) -> Path | None:
    named = file or os.environ.get(SETTINGS_FILE_VARIABLE)
    return Path(named) if named else SETTINGS_FILE if SETTINGS_FILE.exists() else None


def _read_file(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{file}: not JSON: {error}") from None
    values = document.get("Values") if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise SettingsError(f'{file}: has no "Values" with the settings in it')
    if document.get("IsEncrypted") is True:
        raise SettingsError(f"{file}: is encrypted; decrypt it with: func settings decrypt")
    return {name: str(value) for name, value in values.items()}
