"""Counts the calls that an API refused with 429, and logs their number once a minute."""

from __future__ import annotations

import asyncio
import logging

log = logging.getLogger(__name__)

LOGGED_EVERY_SECONDS = 60.0


class Refusals:
    """Of one API. Nothing is logged while no call is refused."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._setting = f"{api.upper().replace(' ', '_')}_CALLS_PER_SECOND"
        self._calls = self._refused = 0

    def count(self, is_refused: bool) -> None:
        """Count a call. The first refused one begins a minute, at whose end the log is written."""
        if is_refused and not self._refused:
            asyncio.get_running_loop().call_later(LOGGED_EVERY_SECONDS, self._log)
        if is_refused or self._refused:
            self._calls += 1
            self._refused += is_refused

    def _log(self) -> None:
        log.warning(
            "%s: %d of %d calls in a minute were refused with 429. If it lasts, somebody else calls the resource too, "
            "or %s is more than it allows: lower it",
            self._api, self._refused, self._calls, self._setting,
        )  # fmt: skip
        self._calls = self._refused = 0
