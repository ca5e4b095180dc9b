"""The parts of the app, put together once per process."""

import asyncio
import logging
import os
from functools import partial

from azure.core.credentials_async import AsyncTokenCredential

from shared.batching.batcher import Batcher, Send
from shared.clouds import cloud_of
from shared.limits.admission import Admission
from shared.limits.distributed_rate_limit import Permits
from shared.limits.local_pacing import EvenSpacing
from shared.messages.update import BatchKey, MetadataLimits, left_of
from shared.messages.watch import Api, Target
from shared.metadata_updates import MetadataUpdates
from shared.permit_replenishment import replenish_permits
from shared.services.authentication import new_credential
from shared.services.custom_vision import MAX_IMAGES_PER_CALL, update_image_metadata
from shared.services.events import EventGridTopic, EventPublisher, new_topic
from shared.services.http import MAX_CONNECTIONS, new_client, new_json_api
from shared.services.permit_queue import PermitQueue, SharedLimit
from shared.services.queues import Queue, new_queue_service
from shared.services.training_status import poll_face, poll_iteration
from shared.settings import Settings, poison_of, resembling
from shared.telemetry import OFF, Telemetry
from shared.training_watches import Service, TrainingWatches

log = logging.getLogger(__name__)

QUIET = {
    "azure.core.pipeline.policies.http_logging_policy": logging.WARNING,
    "azure.identity": logging.ERROR,
    "azure.storage": logging.ERROR,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
}
"""Loggers that write a line for each request or token, and the level from which their lines are kept. Not `azure` as a
whole: from Python 3.13 on, the worker's own logger is `azure.functions`."""


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
        starvation_seconds=max_wait_seconds / 8,
        max_in_flight=MAX_CONNECTIONS - 16,  # which are kept for polling
        around=telemetry.shared_call,
        left_of=left_of,
    )


class App:
    """Builds everything from the settings. Nothing connects to anything before it is used, but for telemetry."""

    def __init__(self, settings: Settings, telemetry: Telemetry = OFF) -> None:
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
        for unknown, known in resembling(os.environ):
            log.warning("%s is no setting of this app and is ignored: is %s meant?", unknown, known)
        self._settings = settings
        self._telemetry = telemetry
        self._credentials: dict[str | None, AsyncTokenCredential] = {}
        self._http = new_client()
        is_by_key = settings.storage_connection_string is not None
        self._queues = new_queue_service(settings, None if is_by_key else self._identity(settings.storage_client_id))
        self._topic: EventGridTopic | None = None
        if settings.event_grid_topic_endpoint is not None:
            access = settings.event_grid_topic_key or self._identity()
            audience = cloud_of(settings.event_grid_topic_endpoint).event_grid
            self._topic = new_topic(settings.event_grid_topic_endpoint, access, audience)
        events_queue = None if settings.events_queue is None else self._queue(settings.events_queue)
        events = EventPublisher(events_queue, self._topic, telemetry)

        api = Api.CUSTOM_VISION
        custom_vision = new_json_api(settings, api, self._http, self._identity, telemetry)
        permits = Permits(settings.custom_vision_calls_per_second)
        permit_queue = PermitQueue(self._queues.get_queue_client(settings.permits_queue))
        self.replenish_permits = partial(replenish_permits, permit_queue, permits.number, permits.lease_seconds)
        limit = SharedLimit(permits, permit_queue, settings.custom_vision_endpoint)
        admission = Admission(api, limit)
        self._batcher = new_batcher(
            partial(update_image_metadata, custom_vision),
            admission,
            linger_seconds=settings.linger_seconds,
            max_wait_seconds=settings.max_wait_seconds,
            telemetry=telemetry,
        )
        observe, breakers = telemetry.observe, admission.breakers
        observe("vision_relay.images.in_process", "{image}", "Images waiting or on the wire.", self._batcher.__len__)
        observe("vision_relay.limit.share", "1", "This instance's share of the limit.", lambda: permits.share, api)
        observe(
            "vision_relay.circuit_breaker.open", "{breaker}", "Open circuit breakers.", lambda: len(breakers.open), api
        )
        self.metadata_updates = MetadataUpdates(
            self._batcher,
            self._queue(poison_of(settings.metadata_updates_queue)),
            events,
            source=settings.custom_vision_endpoint,
            publish_updated=settings.publish_updated_events,
            limits=MetadataLimits(
                settings.max_metadata_pairs,
                settings.max_metadata_key_characters,
                settings.max_metadata_value_characters,
            ),
            telemetry=telemetry,
            queue=settings.metadata_updates_queue,
        )

        face = new_json_api(settings, Api.FACE, self._http, self._identity, telemetry)
        trainings = {
            Api.FACE: Service(
                partial(poll_face, face, settings.face_api_version),
                Admission(Api.FACE, EvenSpacing(settings.face_calls_per_second)),
                settings.face_calls_per_second,
                source=settings.face_endpoint,
            ),
            Api.CUSTOM_VISION: Service(
                partial(poll_iteration, custom_vision),
                admission,
                settings.custom_vision_calls_per_second,
                source=settings.custom_vision_endpoint,
                scope_of=project_of,
            ),
        }
        self.training_watches = TrainingWatches(
            self._queue(settings.training_watches_queue),
            self._queue(poison_of(settings.training_watches_queue)),
            trainings,
            events,
            source=settings.custom_vision_endpoint,
            lease_seconds=settings.watch_lease_seconds,
            max_wait_seconds=settings.max_wait_seconds,
            most=settings.watches_per_tick,
            telemetry=telemetry,
        )

    async def aclose(self) -> None:
        """Close all connections, those of the identity too."""
        await self._batcher.aclose()
        await self._http.aclose()
        await self._queues.close()
        if self._topic is not None:
            await self._topic.client.close()
        for credential in self._credentials.values():
            await credential.close()
        await asyncio.to_thread(self._telemetry.shutdown)

    def _queue(self, name: str) -> Queue:
        return Queue(self._queues.get_queue_client(name), self._settings.message_encoding)

    def _identity(self, client_id: str | None = None) -> AsyncTokenCredential:
        """One credential for each identity, so that its tokens are asked for once."""
        if client_id not in self._credentials:
            self._credentials[client_id] = new_credential(client_id)
        return self._credentials[client_id]
