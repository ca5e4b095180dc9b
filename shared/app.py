"""The parts of the app, put together once per process."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from shared.batching.batcher import Batcher
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.pace import Pace
from shared.metadata_updates import MetadataUpdates
from shared.services.authentication import Authentication, IdentityAuthentication, KeyAuthentication, new_credential
from shared.services.custom_vision import MAX_IMAGES_PER_CALL, CustomVisionClient
from shared.services.events import EventPublisher
from shared.services.face import FaceClient
from shared.services.http import MAX_CONNECTIONS, JsonApi, new_client
from shared.services.queues import Queues
from shared.settings import poison_of
from shared.text import redact
from shared.training_watches import TrainingWatches

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from pydantic import SecretStr

    from shared.batching.batcher import Send
    from shared.messages.update import BatchKey
    from shared.settings import Settings

STARVATION_SHARE_OF_HOLD = 1 / 8
"""An update may be passed over in favour of fuller batches for this share of the time after which it would give up."""

CONNECTIONS_KEPT_FOR_FACE = 16

ONE_LINE_A_REQUEST = ("azure.core.pipeline.policies.http_logging_policy", "azure.identity", "httpx")
"""Loggers that tell of every request or token at INFO: at ten calls a second and a thousand messages, one would see
nothing else. No more of `azure` is silenced: from Python 3.13 on, the worker's own logger is `azure.functions`."""

ALONE = 1.0
"""The timer runs in one instance at a time, so Face's rate is shared with nobody and needs no careful start."""


def new_batcher(
    send: Send[BatchKey], admission: Admission, *, linger_seconds: float, max_wait_seconds: float
) -> Batcher[BatchKey]:
    """Build a batcher for Custom Vision's calls."""
    return Batcher(
        send,
        admission,
        scope_of=lambda key: f"project {key.project_id}",
        batch_size=MAX_IMAGES_PER_CALL,
        linger_seconds=linger_seconds,
        max_wait_seconds=max_wait_seconds,
        starvation_seconds=max_wait_seconds * STARVATION_SHARE_OF_HOLD,
        max_in_flight=MAX_CONNECTIONS - CONNECTIONS_KEPT_FOR_FACE,
    )


class App:
    """Builds everything from the settings. Nothing connects to anything before it is used."""

    def __init__(self, settings: Settings) -> None:
        for name in ONE_LINE_A_REQUEST:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._settings = settings
        self._http = new_client(settings.api_timeout_seconds)
        self._queues = Queues(
            settings, self._identity(settings.storage_client_id) if _uses_identity(settings) else None
        )
        self._events = EventPublisher(self._queues[settings.events_queue])
        self._batcher = self._build_batcher()
        self.metadata_updates = self._build_metadata_updates()
        self.training_watches = self._build_training_watches()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._batcher.aclose()
        await self._http.aclose()
        await self._queues.aclose()

    def _build_batcher(self) -> Batcher[BatchKey]:
        settings = self._settings
        key_setting = "CUSTOM_VISION_TRAINING_KEY"
        auth = self._auth("Training-key", settings.custom_vision_training_key, key_setting)
        api = self._api(settings.custom_vision_endpoint, auth, "Custom Vision")
        client = CustomVisionClient(api, f"{key_setting} and CUSTOM_VISION_ENDPOINT")
        admission = Admission("Custom Vision", Pace(settings.custom_vision_calls_per_second), CircuitBreaker())
        return new_batcher(
            client.update_image_metadata,
            admission,
            linger_seconds=settings.linger_seconds,
            max_wait_seconds=settings.max_wait_seconds,
        )

    def _build_metadata_updates(self) -> MetadataUpdates:
        settings = self._settings
        return MetadataUpdates(
            self._batcher,
            self._queues[poison_of(settings.metadata_updates_queue)],
            self._events,
            source=settings.custom_vision_endpoint,
            publish_updated=settings.publish_updated_events,
            redact=functools.partial(redact, settings.secrets),
        )

    def _build_training_watches(self) -> TrainingWatches:
        settings = self._settings
        auth = self._auth("Ocp-Apim-Subscription-Key", settings.face_key, "FACE_KEY")
        api = self._api(settings.face_endpoint, auth, "Face")
        return TrainingWatches(
            self._queues[settings.training_watches_queue],
            self._queues[poison_of(settings.training_watches_queue)],
            FaceClient(api, settings.face_api_version, "FACE_KEY and FACE_ENDPOINT"),
            Admission("Face", Pace(settings.face_calls_per_second, start_share=ALONE), CircuitBreaker()),
            self._events,
            source=settings.face_endpoint,
            lease_seconds=settings.watch_lease_seconds,
            max_wait_seconds=settings.max_wait_seconds,
            most=settings.watches_per_tick,
        )

    def _api(self, endpoint: str, auth: Authentication, service: str) -> JsonApi:
        return JsonApi(self._http, endpoint, auth, service, self._settings.api_timeout_seconds)

    def _auth(self, header: str, key: SecretStr | None, setting: str) -> Authentication:
        return (
            KeyAuthentication(header, key) if key is not None else IdentityAuthentication(self._identity(None), setting)
        )

    @functools.cache  # noqa: B019  # an app lives as long as its process
    def _identity(self, client_id: str | None) -> AsyncTokenCredential:
        return new_credential(client_id)


def _uses_identity(settings: Settings) -> bool:
    return settings.storage_connection_string is None
