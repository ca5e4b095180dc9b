"""Decides what becomes of a message of the updates queue.

Returning lets the host delete the message, raising puts it back into its queue:

=====================================  ==================================================================
its images                             the invocation
=====================================  ==================================================================
all applied                            returns
at least one to be tried again         raises; the message comes back and sends what it still lacks
otherwise some refused                 writes one dead letter for the refused ones, then returns
not a valid message                    writes a dead letter with what is wrong with it, then returns
a placeholder without its content      returns
has waited for the maximum             leaves the batcher and raises
an error that nobody foresaw           raises; from the fifth delivery on a dead letter, then returns
=====================================  ==================================================================

`services.custom_vision` decides what a response means for an image, and `batching.outcomes` what the outcomes of its
images mean for a message.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.batching.outcomes import Abandon, Complete, DeadLetter, Refused, outcome_of_message
from shared.errors import InvalidMessage, MessageAbandoned, RelayError
from shared.messages import dead_letter, event_id
from shared.messages.cloud_event import EventType, new_event
from shared.messages.dead_letter import Failure, Reason
from shared.messages.event_data import RejectedData, UpdatedData
from shared.messages.placeholder import is_placeholder
from shared.messages.update import MetadataLimits, MetadataUpdate, read_update
from shared.telemetry import OFF, Processing, Telemetry
from shared.text import named, one_line

if TYPE_CHECKING:
    from shared.batching.batcher import Batcher
    from shared.batching.outcomes import MessageOutcome
    from shared.messages.update import BatchKey
    from shared.services.events import EventPublisher
    from shared.services.queues import Queue

log = logging.getLogger(__name__)

DEAD_LETTER_BUG_FROM_DEQUEUE = 5
"""From this delivery on, an error that nobody foresaw makes a dead letter: four more chances are enough for a passing
cause, and a message that breaks our code must not come back for ever."""

MAX_ERROR = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A queue message as the host hands it over. `dequeue_count` includes this delivery."""

    id: str
    body: bytes
    dequeue_count: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A message that becomes a dead letter: why, the update or else its text, and whatever it is known by."""

    failure: Failure
    update: MetadataUpdate | None
    correlation_id: str | None
    traceparent: str | None
    text: str


class MetadataUpdates:
    """Handles the messages of the updates queue. `source` is the Custom Vision resource's URL, for events.

    `limits` is how much metadata the service takes. `telemetry` knows the queue as `queue`.
    """

    def __init__(
        self,
        batcher: Batcher[BatchKey],
        poison: Queue,
        events: EventPublisher,
        *,
        source: str,
        publish_updated: bool,
        limits: MetadataLimits | None = None,
        telemetry: Telemetry = OFF,
        queue: str = "image-metadata-updates",
    ) -> None:
        self._batcher = batcher
        self._poison = poison
        self._events = events
        self._source = source
        self._publish_updated = publish_updated
        self._limits = limits
        self._telemetry = telemetry
        self._queue = queue

    async def handle(self, delivery: Delivery) -> None:
        """See the module. Raises `MessageAbandoned` where the message has to come back, and whatever went wrong."""
        with self._telemetry.processing(self._queue) as processing:
            failed = await self._apply(delivery, processing)
            if failed is not None:
                processing.dead_lettered(failed.failure.reason)
                await self._dead_letter(delivery, failed, processing)
        self._batcher.forget(delivery.id)

    async def _apply(self, delivery: Delivery, processing: Processing) -> Failed | None:
        """Apply the update of a message. Returns what has to become a dead letter, if anything."""
        update: MetadataUpdate | None = None
        redrives = 0
        try:
            update, redrives = read_update(delivery.body, self._limits)
            processing.read(update.traceparent, len(update.image_ids))
            not_applied = await self._batcher.submit(update.key, update.image_ids, processing.tag, delivery.id)
            refused = sum(isinstance(outcome, Refused) for outcome in not_applied.values()) if not_applied else 0
            processing.answered(refused, len(not_applied) - refused)
            outcome = outcome_of_message(not_applied)
            return await self._conclude(delivery, update, outcome, processing, redrives)
        except InvalidMessage as error:
            if is_placeholder(delivery.body):
                return None
            processing.read(error.traceparent, 0)
            failure = _failure(delivery, Reason.INVALID, "InvalidMessage", str(error), error.redrives)
            return Failed(failure, None, error.correlation_id, error.traceparent, error.text or "")
        except RelayError:
            raise
        except Exception as error:
            if delivery.dequeue_count < DEAD_LETTER_BUG_FROM_DEQUEUE:
                log.exception("message %s will be delivered again", one_line(delivery.id))  # the host says nothing
                raise
            failure = _failure(delivery, Reason.ERROR, type(error).__name__, one_line(error, MAX_ERROR), redrives)
            if update is None:
                return Failed(failure, None, None, None, delivery.body.decode("utf-8", "backslashreplace"))
            return _failed(failure, update)

    async def _conclude(
        self,
        delivery: Delivery,
        update: MetadataUpdate,
        outcome: MessageOutcome,
        processing: Processing,
        redrives: int = 0,
    ) -> Failed | None:
        """Return what has to become a dead letter, if anything. Raises `MessageAbandoned`."""
        match outcome:
            case Abandon(reason):
                raise MessageAbandoned(f"message {delivery.id}: {reason}; it will be delivered again")
            case DeadLetter(refused):
                first, *others = dict.fromkeys(refused.values())
                code = "Various" if others else first.code
                failure = _failure(delivery, Reason.REFUSED, code, first.message, redrives)
                images = {image_id: one.code for image_id, one in refused.items()}
                return _failed(replace(failure, images=images), update)
            case Complete():
                if self._publish_updated:
                    await self._publish_update(delivery, update, processing)
        return None

    async def _publish_update(self, delivery: Delivery, update: MetadataUpdate, processing: Processing) -> None:
        data = UpdatedData(
            message_id=delivery.id,
            project_id=update.project_id,
            correlation_id=update.correlation_id,
            images=len(update.image_ids),
        )
        traceparent = processing.onward(update.traceparent)
        await self._publish(EventType.METADATA_UPDATED, data, datetime.now(UTC), traceparent)

    async def _dead_letter(self, delivery: Delivery, failed: Failed, processing: Processing) -> None:
        """Publish the event of a failure, then write its dead letter.

        If the dead letter cannot be written, the next delivery repeats the event under its id. In the other order, the
        next delivery would write a second dead letter.
        """
        update, failure = failed.update, failed.failure
        data = RejectedData(
            message_id=delivery.id,
            project_id=update.project_id if update is not None else None,
            correlation_id=failed.correlation_id,
            reason=failure.reason,
            code=failure.code,
            message=one_line(failure.message, MAX_ERROR),
            images=len(failure.images),
        )
        traceparent = processing.onward(failed.traceparent)
        await self._publish(EventType.METADATA_REJECTED, data, failure.at, traceparent)
        letters = dead_letter.of_update(update, failure) if update else [dead_letter.of_text(failed.text, failure)]
        for letter in letters:
            await self._poison.send(letter)
        log.warning(
            "message %s is dead-lettered, %s: %s",
            named(delivery.id, failed.correlation_id),
            failure.reason,
            one_line(f"{failure.code} {failure.message}".rstrip()),
        )

    async def _publish(
        self, kind: EventType, data: UpdatedData | RejectedData, time: datetime, traceparent: str | None
    ) -> None:
        about = f"messages/{data.message_id}" if data.project_id is None else f"projects/{data.project_id}"
        event = new_event(
            kind,
            source=self._source,
            subject=about,
            identity=event_id.of_message(data.message_id),
            time=time,
            data=data.to_dict(),
            traceparent=traceparent,
        )
        await self._events.publish(event)


def _failed(failure: Failure, update: MetadataUpdate) -> Failed:
    return Failed(failure, update, update.correlation_id, update.traceparent, "")


def _failure(delivery: Delivery, reason: Reason, code: str, message: str, redrives: int) -> Failure:
    return Failure(reason, code, message, datetime.now(UTC), delivery.dequeue_count, redrives=redrives)
