"""Logs that messages have waited long: Azure has no metric for the age of a queue's oldest message.

A message that waits for an API comes back every few minutes, so an instance soon sees an old one if there is one. An
alert rule reads its age from the log.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime

log = logging.getLogger(__name__)

LOGGED_FROM_SECONDS = 15 * 60
LOGGED_EVERY_SECONDS = 60


class OldMessageWarning:
    """Logs one line a minute at most. `now` is seconds since 1970, as `time.time`."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._logged_at = float("-inf")

    def seen(self, inserted_at: datetime | None) -> None:
        """Take note of a message that was put into its queue at this time, if it is known."""
        if inserted_at is None:
            return
        now = self._now()
        age = now - inserted_at.timestamp()
        if age >= LOGGED_FROM_SECONDS and now - self._logged_at >= LOGGED_EVERY_SECONDS:
            log.warning("a message has waited %d s since it was put into its queue", age)
            self._logged_at = now
