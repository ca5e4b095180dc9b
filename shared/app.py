"""The parts of the app, put together once per process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.batching.batcher import Batcher
from shared.clouds import cloud_of
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.pace import Pace
from shared.messages.update import MetadataLimits
from shared.metadata_updates import MetadataUpdates
from shared.services.authentication import Authentication, IdentityAuthentication, KeyAuthentication, new_credential
from shared.services.custom_vision import MAX_IMAGES_PER_CALL, CustomVisionClient
from shared.services.events import EventGridTopic, EventPublisher, new_topic
from shared.services.face import FaceClient
from shared.services.http import MAX_CONNECTIONS, HttpClient, JsonApi
from shared.services.queues import Queues
from shared.settings import poison_of
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

QUIET = {"azure.core.pipeline.policies.http_logging_policy": logging.WARNING, "azure.identity": logging.ERROR}
"""Loggers that tell of every request or token, and how much they may: at ten calls a second and a thousand messages,
one would see nothing else. What keeps a token away is told by who asked for it, without the secrets that the endpoint's
answer may repeat. No more of `azure` is silenced: from Python 3.13 on, the worker's own logger is `azure.functions`."""

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
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
        self._settings = settings
        self._credentials: dict[str | None, AsyncTokenCredential] = {}
        self._http = HttpClient()
        self._queues = Queues(
            settings, self._identity(settings.storage_client_id) if _uses_identity(settings) else None
        )
        self._topic = self._build_topic()
        self._events = EventPublisher(
            self._queues[settings.events_queue] if settings.events_queue is not None else None, self._topic
        )
        self._batcher = self._build_batcher()
        self.metadata_updates = self._build_metadata_updates()
        self.training_watches = self._build_training_watches()

    async def aclose(self) -> None:
        """Close all connections, those of the identity too."""
        await self._batcher.aclose()
        await self._http.aclose()
        await self._queues.aclose()
        if self._topic is not None:
            await self._topic.aclose()
        for credential in self._credentials.values():
            await credential.close()

    def _build_topic(self) -> EventGridTopic | None:
        settings = self._settings
        endpoint = settings.event_grid_topic_endpoint
        if endpoint is None:
            return None
        access = settings.event_grid_topic_key or self._identity()
        return new_topic(endpoint, access, cloud_of(endpoint).event_grid, settings.redact)

    def _build_batcher(self) -> Batcher[BatchKey]:
        settings = self._settings
        key_setting = "CUSTOM_VISION_TRAINING_KEY"
        auth = self._auth(
            settings.custom_vision_endpoint, "Training-key", settings.custom_vision_training_key, key_setting
        )
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
            redact=settings.redact,
            limits=MetadataLimits(
                settings.max_metadata_pairs,
                settings.max_metadata_key_characters,
                settings.max_metadata_value_characters,
            ),
        )

    def _build_training_watches(self) -> TrainingWatches:
        settings = self._settings
        auth = self._auth(settings.face_endpoint, "Ocp-Apim-Subscription-Key", settings.face_key, "FACE_KEY")
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
        return JsonApi(
            self._http.exchange, endpoint, auth, service, self._settings.api_timeout_seconds, self._settings.redact
        )

    def _auth(self, endpoint: str, header: str, key: SecretStr | None, setting: str) -> Authentication:
        if key is not None:
            return KeyAuthentication(header, key)
        settings = self._settings
        return IdentityAuthentication(self._identity(), settings.audience_of(endpoint), setting, settings.redact)

    def _identity(self, client_id: str | None = None) -> AsyncTokenCredential:
        """One credential for each identity, so that its tokens are asked for once."""
        if client_id not in self._credentials:
            self._credentials[client_id] = new_credential(client_id)
        return self._credentials[client_id]


def _uses_identity(settings: Settings) -> bool:
    return settings.storage_connection_string is None
