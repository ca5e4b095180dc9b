"""The parts of the app, put together once per process."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from shared.batching.batcher import Batcher
from shared.clouds import cloud_of
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.distributed_rate_limit import Permits
from shared.limits.local_pacing import EvenSpacing
from shared.messages.update import MetadataLimits
from shared.messages.watch import Api
from shared.metadata_updates import MetadataUpdates
from shared.permit_replenishment import PermitReplenisher
from shared.services.authentication import Authentication, IdentityAuthentication, KeyAuthentication, new_credential
from shared.services.custom_vision import MAX_IMAGES_PER_CALL, CustomVisionClient
from shared.services.events import EventGridTopic, EventPublisher, new_topic
from shared.services.face import FaceClient
from shared.services.http import MAX_CONNECTIONS, JsonApi, new_client
from shared.services.iterations import IterationClient
from shared.services.permits import PermitQueue, SharedLimit
from shared.services.queues import Queues
from shared.settings import poison_of, resembling
from shared.telemetry import OFF, Telemetry
from shared.training_watches import Service, TrainingWatches

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from pydantic import SecretStr

    from shared.batching.batcher import Send
    from shared.messages.update import BatchKey
    from shared.messages.watch import Target
    from shared.settings import Settings

log = logging.getLogger(__name__)

STARVATION_SHARE_OF_MAX_WAIT = 1 / 8
"""An update may be passed over in favour of fuller batches for this share of the time after which it would give up."""

CONNECTIONS_KEPT_FOR_FACE = 16

CUSTOM_VISION_KEY = "CUSTOM_VISION_TRAINING_KEY"
CUSTOM_VISION_ACCESS = f"{CUSTOM_VISION_KEY} and CUSTOM_VISION_ENDPOINT"
QUIET = {
    "azure.core.pipeline.policies.http_logging_policy": logging.WARNING,
    "azure.identity": logging.ERROR,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
}
"""Loggers that tell of every request or token, and how much they may: at ten calls a second and a thousand messages,
one would see nothing else. What keeps a token away is told by who asked for it, without the secrets that the endpoint's
answer may repeat. No more of `azure` is silenced: from Python 3.13 on, the worker's own logger is `azure.functions`."""


def project_of(call: BatchKey | Target) -> str:
    """What a call to Custom Vision is about, in the words of a log line."""
    return f"project {call.project_id}"


def new_batcher(
    send: Send[BatchKey],
    admission: Admission,
    *,
    linger_seconds: float,
    max_wait_seconds: float,
    telemetry: Telemetry = OFF,
) -> Batcher[BatchKey]:
    """Build a batcher for Custom Vision's calls."""
    return Batcher(
        send,
        admission,
        scope_of=project_of,
        batch_size=MAX_IMAGES_PER_CALL,
        linger_seconds=linger_seconds,
        max_wait_seconds=max_wait_seconds,
        starvation_seconds=max_wait_seconds * STARVATION_SHARE_OF_MAX_WAIT,
        max_in_flight=MAX_CONNECTIONS - CONNECTIONS_KEPT_FOR_FACE,
        around=telemetry.shared_call,
    )


class App:
    """Builds everything from the settings. Nothing connects to anything before it is used, but for telemetry."""

    def __init__(self, settings: Settings, telemetry: Telemetry = OFF) -> None:
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
        self._settings = settings
        self._telemetry = telemetry
        for unknown, known in resembling(os.environ):
            log.warning("%s is no setting of this app and is ignored: is %s meant?", unknown, known)
        self._credentials: dict[str | None, AsyncTokenCredential] = {}
        self._http = new_client()
        self._queues = Queues(
            settings, self._identity(settings.storage_client_id) if _uses_identity(settings) else None
        )
        self._topic = self._build_topic()
        self._events = EventPublisher(
            self._queues[settings.events_queue] if settings.events_queue is not None else None,
            self._topic,
            telemetry,
        )
        self._custom_vision = self._build_custom_vision()
        permits = Permits(settings.custom_vision_calls_per_second)
        permit_queue = PermitQueue(self._queues.client(settings.permits_queue))
        limit = SharedLimit(permits, permit_queue, settings.custom_vision_endpoint)
        self._custom_vision_admission = Admission(Api.CUSTOM_VISION, limit, CircuitBreaker())
        self._batcher = self._build_batcher()
        self._observe(limit)
        self.metadata_updates = self._build_metadata_updates()
        self.training_watches = self._build_training_watches()
        self.permit_replenisher = PermitReplenisher(permit_queue, permits)

    async def aclose(self) -> None:
        """Close all connections, those of the identity too."""
        await self._batcher.aclose()
        await self._http.aclose()
        await self._queues.aclose()
        if self._topic is not None:
            await self._topic.aclose()
        for credential in self._credentials.values():
            await credential.close()
        await asyncio.to_thread(self._telemetry.shutdown)

    def _observe(self, limit: SharedLimit) -> None:
        """Let what has a state be looked at when metrics are collected, so that it costs no message anything."""
        api = {"vision_relay.api": Api.CUSTOM_VISION.value}
        admission, batcher = self._custom_vision_admission, self._batcher
        observe = self._telemetry.observe
        observe(
            "vision_relay.images.in_process", "{image}", "Images that wait or are on the wire.", batcher.__len__, {}
        )
        observe(
            "vision_relay.limit.share",
            "1",
            "Part of the shared limit that this instance holds.",
            lambda: limit.share,
            api,
        )
        about = "Circuit breakers that are open: the service's, and those of projects."
        observe("vision_relay.circuit_breaker.open", "{breaker}", about, lambda: admission.open_breakers, api)

    def _build_topic(self) -> EventGridTopic | None:
        settings = self._settings
        endpoint = settings.event_grid_topic_endpoint
        if endpoint is None:
            return None
        access = settings.event_grid_topic_key or self._identity()
        return new_topic(endpoint, access, cloud_of(endpoint).event_grid)

    def _build_custom_vision(self) -> JsonApi:
        auth = self._auth(
            self._settings.custom_vision_endpoint,
            "Training-key",
            self._settings.custom_vision_training_key,
            CUSTOM_VISION_KEY,
        )
        return self._api(self._settings.custom_vision_endpoint, auth, Api.CUSTOM_VISION)

    def _build_batcher(self) -> Batcher[BatchKey]:
        settings = self._settings
        return new_batcher(
            CustomVisionClient(self._custom_vision, CUSTOM_VISION_ACCESS).update_image_metadata,
            self._custom_vision_admission,
            linger_seconds=settings.linger_seconds,
            max_wait_seconds=settings.max_wait_seconds,
            telemetry=self._telemetry,
        )

    def _build_metadata_updates(self) -> MetadataUpdates:
        settings = self._settings
        return MetadataUpdates(
            self._batcher,
            self._queues[poison_of(settings.metadata_updates_queue)],
            self._events,
            source=settings.custom_vision_endpoint,
            publish_updated=settings.publish_updated_events,
            limits=MetadataLimits(
                settings.max_metadata_pairs,
                settings.max_metadata_key_characters,
                settings.max_metadata_value_characters,
            ),
            telemetry=self._telemetry,
            queue=settings.metadata_updates_queue,
        )

    def _build_training_watches(self) -> TrainingWatches:
        settings = self._settings
        return TrainingWatches(
            self._queues[settings.training_watches_queue],
            self._queues[poison_of(settings.training_watches_queue)],
            {Api.FACE: self._build_face(), Api.CUSTOM_VISION: self._build_iterations()},
            self._events,
            source=settings.custom_vision_endpoint,
            lease_seconds=settings.watch_lease_seconds,
            max_wait_seconds=settings.max_wait_seconds,
            most=settings.watches_per_tick,
            telemetry=self._telemetry,
        )

    def _build_face(self) -> Service:
        settings = self._settings
        auth = self._auth(settings.face_endpoint, "Ocp-Apim-Subscription-Key", settings.face_key, "FACE_KEY")
        api = self._api(settings.face_endpoint, auth, Api.FACE)
        return Service(
            FaceClient(api, settings.face_api_version, "FACE_KEY and FACE_ENDPOINT").poll,
            Admission(Api.FACE, EvenSpacing(settings.face_calls_per_second), CircuitBreaker()),
            settings.face_calls_per_second,
            source=settings.face_endpoint,
        )

    def _build_iterations(self) -> Service:
        settings = self._settings
        return Service(
            IterationClient(self._custom_vision, CUSTOM_VISION_ACCESS).poll,
            self._custom_vision_admission,
            settings.custom_vision_calls_per_second,
            source=settings.custom_vision_endpoint,
            scope_of=project_of,
        )

    def _api(self, endpoint: str, auth: Authentication, service: str) -> JsonApi:
        return JsonApi(
            self._http,
            endpoint,
            auth,
            service,
            self._settings.api_timeout_seconds,
            self._telemetry,
        )

    def _auth(self, endpoint: str, header: str, key: SecretStr | None, setting: str) -> Authentication:
        if key is not None:
            return KeyAuthentication(header, key)
        settings = self._settings
        return IdentityAuthentication(self._identity(), settings.audience_of(endpoint), setting)

    def _identity(self, client_id: str | None = None) -> AsyncTokenCredential:
        """One credential for each identity, so that its tokens are asked for once."""
        if client_id not in self._credentials:
            self._credentials[client_id] = new_credential(client_id)
        return self._credentials[client_id]


def _uses_identity(settings: Settings) -> bool:
    return settings.storage_connection_string is None
