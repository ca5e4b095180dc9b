"""What becomes of a message of the updates queue.

Returning lets the host delete the message, raising puts it back into its queue:

=====================================  ==================================================================
its images                             the invocation
=====================================  ==================================================================
all applied                            returns
at least one to be tried again         raises; the whole message comes back later
otherwise some refused                 writes one dead letter for the refused ones, then returns
not a valid message                    writes a dead letter with what is wrong with it, then returns
has waited for `hold`                  leaves the batcher and raises
an error that nobody foresaw           raises; from the fifth delivery on a dead letter, then returns
=====================================  ==================================================================
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from azure.core.exceptions import AzureError

from shared import dead_letters
from shared.dead_letters import Failure, Reason
from shared.errors import InvalidMessage, MessageReturned, RelayError
from shared.events import Events, EventType, new_event
from shared.messages import BatchKey, MetadataUpdate, parse_update
from shared.outcomes import Done, NotApplied, Refused, Reject, Return, conclude
from shared.text import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shared.ids import ImageId
    from shared.queues import Outbox

log = logging.getLogger(__name__)

DELIVERIES_FOR_A_BUG = 5
"""From this delivery on, an error that nobody foresaw makes a dead letter: four more chances are enough for a passing
cause, and a message that breaks our code must not come back for ever."""

LONGEST_ERROR = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A queue message as the host hands it over. `deliveries` is its dequeue count, this one included."""

    id: str
    body: bytes
    deliveries: int


@dataclass(frozen=True, slots=True)
class Dead:
    """What a message leaves behind: why, the update where it is a valid one, and else whatever it is known by."""

    update: MetadataUpdate | None
    failure: Failure
    correlation_id: str | None


class Batching(Protocol):
    """What is needed of the batcher."""

    def submit(self, key: BatchKey, image_ids: Sequence[ImageId]) -> Awaitable[Mapping[ImageId, NotApplied]]:
        """Update the images; await the outcomes of those that were not applied."""
        ...


class MetadataUpdates:
    """Handles the messages of the updates queue. `source` is the Custom Vision resource's URL, for events."""

    def __init__(
        self,
        batcher: Batching,
        poison: Outbox,
        events: Events,
        *,
        source: str,
        publish_updated: bool,
        redact: Callable[[str], str],
    ) -> None:
        self._batcher = batcher
        self._poison = poison
        self._events = events
        self._source = source
        self._publish_updated = publish_updated
        self._redact = redact

    async def handle(self, delivery: Delivery) -> None:
        """See the module. Raises `MessageReturned` where the message has to come back, and whatever went wrong."""
        try:
            dead = _conclude(delivery, await self._submit(parse_update(delivery.body)))
            if dead is None and self._publish_updated:
                await self._tell_of_update(delivery)
        except InvalidMessage as error:
            failure = _failure(delivery, Reason.INVALID, "InvalidMessage", str(error))
            dead = Dead(None, failure, error.correlation_id)
        except (RelayError, AzureError):
            raise
        except Exception as error:
            if delivery.deliveries < DELIVERIES_FOR_A_BUG:
                raise
            dead = self._of_bug(delivery, error)
        if dead is not None:  # out here, so that an error in writing a dead letter cannot lead to a second one
            await self._bury(delivery, dead)

    def _submit(self, update: MetadataUpdate) -> Awaitable[Mapping[ImageId, NotApplied]]:
        """Let an update wait, and no more of it than the batcher needs: thousands wait at the same time.

        Those of which something is to be told are read again from the body, which the host keeps anyway.
        """
        return self._batcher.submit(update.key, update.image_ids)

    async def _tell_of_update(self, delivery: Delivery) -> None:
        update = parse_update(delivery.body)
        data = {"images": len(update.image_ids)}
        await self._publish(
            EventType.METADATA_UPDATED, delivery, update, update.correlation_id, datetime.now(UTC), data
        )

    async def _bury(self, delivery: Delivery, dead: Dead) -> None:
        """Tell of a failure and write its dead letter.

        The event goes first: if the dead letter fails, the next delivery repeats the event under its id. The other way
        round, the next delivery would write a second dead letter.
        """
        update, failure = dead.update, dead.failure
        log.warning(
            "message %s (correlation id %s) is dead-lettered, %s: %s %s",
            delivery.id,
            shown(dead.correlation_id),
            failure.reason,
            shown(failure.code),
            shown(failure.message),
        )
        data = {
            "reason": failure.reason,
            "code": failure.code,
            "message": shown(failure.message, LONGEST_ERROR),
            "images": len(failure.images),
        }
        await self._publish(EventType.METADATA_REJECTED, delivery, update, dead.correlation_id, failure.at, data)
        letters = dead_letters.of_update(update, failure) if update else [dead_letters.of_body(delivery.body, failure)]
        for letter in letters:
            await self._poison.send(letter)

    def _of_bug(self, delivery: Delivery, error: Exception) -> Dead:
        told = shown(self._redact(str(error)), LONGEST_ERROR)
        failure = _failure(delivery, Reason.ERROR, type(error).__name__, told)
        try:
            update = parse_update(delivery.body)
        except Exception:  # the bug may be in the parser
            update = None
        return Dead(update, failure, update.correlation_id if update else None)

    async def _publish(
        self,
        kind: EventType,
        delivery: Delivery,
        update: MetadataUpdate | None,
        correlation_id: str | None,
        time: datetime,
        data: dict[str, Any],
    ) -> None:
        about = {"messageId": delivery.id}
        subject = f"messages/{delivery.id}"
        if update is not None:
            subject = f"projects/{update.project_id}"
            about["projectId"] = update.project_id
        if correlation_id is not None:
            about["correlationId"] = correlation_id
        event = new_event(
            kind, source=self._source, subject=subject, identity=delivery.id, time=time, data={**about, **data}
        )
        await self._events.publish(event)


def _conclude(delivery: Delivery, not_applied: Mapping[ImageId, NotApplied]) -> Dead | None:
    """What the message leaves behind. Raises `MessageReturned` where it has to come back."""
    match conclude(not_applied):
        case Done():
            log.debug("message %s applied", delivery.id)
            return None
        case Return(reason):
            raise MessageReturned(f"message {delivery.id}: {reason}; it will be delivered again")
        case Reject(refused):
            update = parse_update(delivery.body)
            return Dead(update, _refusal(delivery, refused), update.correlation_id)


def _failure(delivery: Delivery, reason: Reason, code: str, message: str) -> Failure:
    return Failure(reason, code, message, datetime.now(UTC), delivery.deliveries)


def _refusal(delivery: Delivery, refused: Mapping[ImageId, Refused]) -> Failure:
    first, *others = dict.fromkeys(refused.values())
    return Failure(
        Reason.REFUSED,
        "Various" if others else first.code,
        first.message,
        datetime.now(UTC),
        delivery.deliveries,
        {image_id: outcome.code for image_id, outcome in refused.items()},
    )
