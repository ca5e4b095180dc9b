"""What becomes of a message of the updates queue.

Returning lets the host delete the message, raising puts it back into its queue:

=====================================  ==================================================================
its images                             the invocation
=====================================  ==================================================================
all applied                            returns
at least one to be tried again         raises; the whole message comes back later
otherwise some refused                 writes one dead letter for the refused ones, then returns
not a valid message                    writes a dead letter with what is wrong with it, then returns
has waited for the maximum             leaves the batcher and raises
an error that nobody foresaw           raises; from the fifth delivery on a dead letter, then returns
=====================================  ==================================================================

What an answer of the service means for an image, `services.custom_vision` says; what the images' outcomes mean for
their message, `batching.outcomes`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from shared.batching.outcomes import Abandon, Complete, DeadLetter, Refused, settle
from shared.errors import InvalidMessage, MessageAbandoned, RelayError
from shared.messages import dead_letter
from shared.messages.dead_letter import Failure, Reason
from shared.messages.envelope import origin_of
from shared.messages.event import EventType, new_event
from shared.messages.event_data import RejectedData, UpdatedData
from shared.messages.update import MetadataLimits, MetadataUpdate, parse_update
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    """A message that becomes a dead letter: why, the update where it is a valid one, and whatever it is known by."""

    failure: Failure
    update: MetadataUpdate | None
    correlation_id: str | None


class MetadataUpdates:
    """Handles the messages of the updates queue. `source` is the Custom Vision resource's URL, for events.

    `limits` is how much metadata the service takes.
    """

    def __init__(
        self,
        batcher: Batcher[BatchKey],
        poison: Queue,
        events: EventPublisher,
        *,
        source: str,
        publish_updated: bool,
        redact: Callable[[str], str],
        limits: MetadataLimits | None = None,
    ) -> None:
        self._batcher = batcher
        self._poison = poison
        self._events = events
        self._source = source
        self._publish_updated = publish_updated
        self._redact = redact
        self._limits = limits

    async def handle(self, delivery: Delivery) -> None:
        """See the module. Raises `MessageAbandoned` where the message has to come back, and whatever went wrong."""
        update: MetadataUpdate | None = None
        try:
            update = parse_update(delivery.body, self._limits)
            outcome = settle(await self._batcher.submit(update.key, update.image_ids))
            failed = await self._conclude(delivery, update, outcome)
        except InvalidMessage as error:
            failure = _failure(delivery, Reason.INVALID, "InvalidMessage", str(error))
            failed = Failed(failure, None, error.correlation_id)
        except (RelayError, AzureError):
            raise
        except Exception as error:
            if delivery.dequeue_count < DEAD_LETTER_BUG_FROM_DEQUEUE:
                raise
            text = one_line(self._redact(str(error)), MAX_ERROR)
            failure = _failure(delivery, Reason.ERROR, type(error).__name__, text)
            failed = Failed(failure, update, update.correlation_id if update else None)
        if failed is not None:  # out here, so that an error in writing a dead letter cannot lead to a second one
            await self._dead_letter(delivery, failed)

    async def _conclude(self, delivery: Delivery, update: MetadataUpdate, outcome: MessageOutcome) -> Failed | None:
        """Return what has to become a dead letter, if anything. Raises `MessageAbandoned`."""
        match outcome:
            case Abandon(reason):
                raise MessageAbandoned(f"message {delivery.id}: {reason}; it will be delivered again")
            case DeadLetter(refused):
                return Failed(_refusal(delivery, refused), update, update.correlation_id)
            case Complete():
                if self._publish_updated:
                    await self._publish_update(delivery, update)
        return None

    async def _publish_update(self, delivery: Delivery, update: MetadataUpdate) -> None:
        data = UpdatedData(
            message_id=delivery.id,
            project_id=update.project_id,
            correlation_id=update.correlation_id,
            images=len(update.image_ids),
        )
        await self._publish(EventType.METADATA_UPDATED, data, datetime.now(UTC))

    async def _dead_letter(self, delivery: Delivery, failed: Failed) -> None:
        """Tell of a failure and write its dead letter.

        The event goes first: if the dead letter fails, the next delivery repeats the event under its id. The other way
        round, the next delivery would write a second dead letter.
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
        await self._publish(EventType.METADATA_REJECTED, data, failure.at)
        letters = dead_letter.of_update(update, failure) if update else [dead_letter.of_body(delivery.body, failure)]
        for letter in letters:
            await self._poison.send(letter)
        log.warning(
            "message %s (correlation id %s) is dead-lettered, %s: %s %s",
            one_line(delivery.id),
            one_line(failed.correlation_id),
            failure.reason,
            one_line(failure.code),
            one_line(failure.message),
        )

    async def _publish(self, kind: EventType, data: UpdatedData | RejectedData, time: datetime) -> None:
        about = f"messages/{data.message_id}" if data.project_id is None else f"projects/{data.project_id}"
        event = new_event(
            kind, source=self._source, subject=about, identity=data.message_id, time=time, data=data.to_dict()
        )
        await self._events.publish(event)


def _failure(delivery: Delivery, reason: Reason, code: str, message: str) -> Failure:
    redrives = origin_of(delivery.body).redrives
    return Failure(reason, code, message, datetime.now(UTC), delivery.dequeue_count, redrives=redrives)


def _refusal(delivery: Delivery, refused: Mapping[str, Refused]) -> Failure:
    first, *others = dict.fromkeys(refused.values())
    failure = _failure(delivery, Reason.REFUSED, "Various" if others else first.code, first.message)
    return replace(failure, images={image_id: outcome.code for image_id, outcome in refused.items()})
