"""How long messages wait, for whoever operates the app.

Azure has no metric for the age of a queue's oldest message. Messages that wait for an API come back every few minutes,
so an instance is handed an old one soon if there is one, and an alert rule reads its age from the log.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

log = logging.getLogger(__name__)

LOGGED_FROM_SECONDS = 15 * 60
"""A message that has waited for less is nothing to speak of."""

LOGGED_EVERY_SECONDS = 60
"""A line a minute is enough, however many messages there are."""


class MessageAge:
    """Tells the log of messages that have waited long. `now` is seconds since 1970, as `time.time`."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._logged_at = float("-inf")

    def seen(self, inserted_at: datetime | None) -> None:
        """Take note of a message that was put into its queue at this time (aware); without one nothing is known."""
        if inserted_at is None:
            return
        now = self._now()
        age = now - inserted_at.timestamp()
        if age >= LOGGED_FROM_SECONDS and now - self._logged_at >= LOGGED_EVERY_SECONDS:
            log.warning("a message has waited %d s since it was put into its queue", age)
            self._logged_at = now
