"""Decides what becomes of a message of the updates queue.

Returning lets the host delete the message, raising puts it back into its queue:

=====================================  ==================================================================
the message                            the invocation
=====================================  ==================================================================
all images applied                     returns
some image to be tried again           raises; the message comes back and sends what it still lacks
otherwise some image refused           publishes an event, dead-letters the refused ones, then returns
not a valid message                    publishes an event, dead-letters it with what is wrong, then returns
a placeholder without its content      returns
has waited for the maximum             leaves the batcher and raises
an error that nobody foresaw           raises; from the fifth delivery on a dead letter, then returns
=====================================  ==================================================================
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from shared.batching.batcher import Batcher
from shared.batching.outcome_types import NotApplied, Refused, Retry
from shared.errors import InvalidMessage, MessageAbandoned, RelayError
from shared.messages import dead_letter
from shared.messages.cloud_event import EventType, new_event
from shared.messages.dead_letter import Failure, Reason
from shared.messages.event_data import RejectedData, UpdatedData
from shared.messages.placeholder import is_placeholder
from shared.messages.update import UPDATE, BatchKey, MetadataLimits, MetadataUpdate
from shared.messages.validation import read_message
from shared.services.events import EventPublisher
from shared.services.queues import Queue
from shared.telemetry import OFF, Processing, Telemetry
from shared.text import named, one_line

log = logging.getLogger(__name__)

DEAD_LETTER_BUG_FROM_DEQUEUE = 5
"""Four more chances are enough for a passing cause; a message that breaks our code must not come back for ever."""

MAX_ERROR = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A queue message as the host hands it over. `dequeue_count` includes this delivery."""

    id: str
    body: bytes
    dequeue_count: int


@dataclass(frozen=True)
class MetadataUpdates:
    """Handles the messages of the updates queue. `source`: as events name it. `queue`: as `telemetry` names it."""

    batcher: Batcher[BatchKey]
    poison: Queue
    events: EventPublisher
    source: str
    publish_updated: bool
    limits: MetadataLimits | None = None
    telemetry: Telemetry = OFF
    queue: str = "image-metadata-updates"

    async def handle(self, delivery: Delivery) -> None:
        """See the module. Raises `MessageAbandoned` where the message has to come back, and whatever went wrong."""
        update = None
        redrives = 0
        with Processing(self.telemetry, self.queue) as processing:
            try:
                update, redrives = read_message(UPDATE, delivery.body, self.limits)
                processing.read(update.traceparent, len(update.image_ids))
                not_applied = await self.batcher.submit(update.key, update.image_ids, processing.span, delivery.id)
                refused = sum(isinstance(outcome, Refused) for outcome in not_applied.values())
                processing.outcomes(refused, len(not_applied) - refused)
                if self.publish_updated and not not_applied:
                    await self._publish_update(delivery, update, processing)
            except InvalidMessage as error:
                if not is_placeholder(delivery.body):
                    processing.read(error.traceparent, 0)
                    failure = _failure(delivery, Reason.INVALID, "InvalidMessage", str(error), error.redrives)
                    await self._dead_letter(delivery, error, failure, processing)
            except RelayError:
                raise
            except Exception as error:
                if delivery.dequeue_count < DEAD_LETTER_BUG_FROM_DEQUEUE:
                    log.exception("message %s will be delivered again", one_line(delivery.id))  # the host says nothing
                    raise
                failure = _failure(delivery, Reason.ERROR, type(error).__name__, one_line(error, MAX_ERROR), redrives)
                unread = InvalidMessage(text=delivery.body.decode("utf-8", "backslashreplace"))
                await self._dead_letter(delivery, update or unread, failure, processing)
            else:
                if not_applied:
                    await self._dead_letter(delivery, update, _refusal(delivery, not_applied, redrives), processing)
        self.batcher.forget(delivery.id)

    async def _publish_update(self, delivery: Delivery, update: MetadataUpdate, processing: Processing) -> None:
        data = UpdatedData(
            message_id=delivery.id,
            project_id=update.project_id,
            correlation_id=update.correlation_id,
            images=len(update.image_ids),
        )
        traceparent = processing.onward(update.traceparent)
        await self._publish(EventType.METADATA_UPDATED, data, datetime.now(UTC), traceparent)

    async def _dead_letter(
        self, delivery: Delivery, message: MetadataUpdate | InvalidMessage, failure: Failure, processing: Processing
    ) -> None:
        """Publish the event of a failure, then write its dead letter.

        If that fails, the next delivery repeats the event under its id. The other order could leave two dead letters.
        """
        processing.dead_lettered(failure.reason)
        data = RejectedData(
            message_id=delivery.id,
            project_id=None if isinstance(message, InvalidMessage) else message.project_id,
            correlation_id=message.correlation_id,
            reason=failure.reason,
            code=failure.code,
            message=one_line(failure.message, MAX_ERROR),
            images=len(failure.images),
        )
        traceparent = processing.onward(message.traceparent)
        await self._publish(EventType.METADATA_REJECTED, data, failure.at, traceparent)
        if isinstance(message, InvalidMessage):
            letters = [dead_letter.of_text(message.text, failure)]
        else:
            letters = dead_letter.of_update(message, failure)
        for letter in letters:
            await self.poison.send(letter)
        log.warning(
            "message %s is dead-lettered, %s: %s",
            named(delivery.id, message.correlation_id),
            failure.reason,
            one_line(f"{failure.code} {failure.message}".rstrip()),
        )

    async def _publish(
        self, kind: EventType, data: UpdatedData | RejectedData, time: datetime, traceparent: str | None
    ) -> None:
        event = new_event(
            kind,
            source=self.source,
            subject=f"messages/{data.message_id}" if data.project_id is None else f"projects/{data.project_id}",
            identity=data.message_id,
            time=time,
            data=data.to_dict(),
            traceparent=traceparent,
        )
        await self.events.publish(event)


def _failure(delivery: Delivery, reason: Reason, code: str, message: str, redrives: int) -> Failure:
    return Failure(reason, code, message, datetime.now(UTC), delivery.dequeue_count, redrives=redrives)


def _refusal(delivery: Delivery, not_applied: Mapping[str, NotApplied], redrives: int) -> Failure:
    """What is wrong with an update whose images were refused, if none of them has to be tried again."""
    refused: dict[str, Refused] = {}
    for image_id, outcome in not_applied.items():
        if isinstance(outcome, Retry):
            why = f"message {delivery.id}: image {image_id}: {outcome.reason}"
            raise MessageAbandoned(f"{why}; it will be delivered again")
        refused[image_id] = outcome
    first, *others = dict.fromkeys(refused.values())
    failure = _failure(delivery, Reason.REFUSED, "Various" if others else first.code, first.message, redrives)
    return replace(failure, images={image_id: one.code for image_id, one in refused.items()})
