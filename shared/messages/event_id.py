"""What an event's id is made of: its type, source and subject, and an identity.

Events have the same identity only if they are the same event, published again. The identity of an event about an update
or a rejected watch is the message's id in its queue. See the functions for the others.
"""

from datetime import datetime
from uuid import UUID, uuid5

from shared.messages.dates import text_of
from shared.messages.training import TrainingResult

NAMESPACE = UUID("5b7d3b0e-3f6c-4c5e-9a53-0c1f6d1f0a52")
"""Of the ids, which are UUIDs made from names (RFC 9562, version 5)."""


def new_event_id(kind: str, source: str, subject: str, identity: str) -> str:
    """The id of an event with this identity."""
    return str(uuid5(NAMESPACE, "\n".join((kind, source, subject, identity))))


def of_watch(message_id: str, correlation_id: str | None) -> str:
    """The identity of the event of a watch that ends without a completion."""
    return f"{message_id}\n{correlation_id or ''}"


def of_completion(result: TrainingResult, under_way_since: datetime | None, correlation_id: str | None) -> str:
    """The identity of a completion, which all watches of that training with the same correlation id share.

    A success is known by its date. A failure has none of its own, so it is known by the group's creation, the success
    before it, and when a poll first saw it under way.
    """
    training = text_of(result.succeeded_at)
    if not training:
        created, before = text_of(result.created_date_time), text_of(result.last_successful_training_date_time)
        training = f"{created} {before} {under_way_since}"
    return f"{training}\n{correlation_id or ''}"
