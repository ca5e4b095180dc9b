"""What an event's id is made of. The same event always has the same id, and no two events share one.

An id is made of the event's type, source, subject and an identity, which only this event and its repetitions have:

* an update, or a watch that is rejected: the message's id in its queue;
* a watch that ends without a completion: the same, and its correlation id;
* a completion: what tells that training from all others, and the watch's correlation id. So watches of one training
  share an event if they share their correlation id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from shared.messages.dates import text_of

if TYPE_CHECKING:
    from datetime import datetime

    from shared.messages.training import TrainingResult

NAMESPACE = UUID("5b7d3b0e-3f6c-4c5e-9a53-0c1f6d1f0a52")
"""Of the ids, which are UUIDs made from names (RFC 9562, version 5)."""


def new_event_id(kind: str, source: str, subject: str, identity: str) -> str:
    """The id of an event with this identity."""
    return str(uuid5(NAMESPACE, "\n".join((kind, source, subject, identity))))


def of_watch(message_id: str, correlation_id: str | None) -> str:
    """The identity of an event that is about one watch alone."""
    return f"{message_id}\n{correlation_id or ''}"


def of_completion(result: TrainingResult, under_way_since: datetime | None, correlation_id: str | None) -> str:
    """The identity of a completed training, however precisely its dates are told.

    A success is known by its date. A failure has none of its own, so it is known by the group's creation, the success
    before it, and when a poll first saw it under way.
    """
    if result.succeeded_at is not None:
        training = text_of(result.succeeded_at)
    else:
        dates = map(text_of, (result.created_date_time, result.last_successful_training_date_time))
        training = " ".join((*dates, str(under_way_since)))
    return f"{training}\n{correlation_id or ''}"
