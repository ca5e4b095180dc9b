"""Checks everything that the app and the command line need. All checks are made, whatever the others find."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, ServiceRequestError

from ops.probing import ApiState, probe
from ops.storage import describe_storage
from shared.errors import SettingsError
from shared.messages.watch import Api
from shared.settings import Settings, poison_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from ops.settings import OpsSettings
    from ops.storage import Storage

MAX_SKEW_SECONDS = 10.0
MAX_SIGNED_SKEW_SECONDS = 600.0
"""Storage refuses what a clock signs that is off by more than a quarter of an hour."""


class Level(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """A check, what it found, and what to do."""

    name: str
    level: Level
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The check as `--json` prints it."""
        return {"check": self.name, "level": self.level, "found": self.found, "advice": self.advice or None}


async def examine(
    storage: Storage, settings: OpsSettings, folder: Path, *, create_queues: bool
) -> AsyncIterator[Check]:
    """Make every check, one after the other. `folder` holds host.json; `create_queues` creates missing queues."""
    yield check_settings()
    try:
        async for check in _check_queues(storage, settings, create=create_queues):
            yield check
        yield await _check_rights(storage, settings)
        yield await _check_clock(storage, settings)
    except ServiceRequestError:  # each further attempt would take as long as the first
        yield Check("rights in storage", Level.SKIPPED, "storage cannot be reached")
        yield Check("clock", Level.SKIPPED, "storage cannot be reached")
    for check in check_host_file(folder):
        yield check
    for api in (Api.CUSTOM_VISION, Api.FACE):
        yield check_api(await probe(settings, api))


def check_settings() -> Check:
    """Check whether the app would start with these settings."""
    try:
        Settings.load()
    except SettingsError as error:
        first, *wrong = (line.strip().rstrip(";") for line in str(error).splitlines())
        return Check("settings", Level.WARNING, "; ".join(wrong) or first, "the app itself would not start with these")
    return Check("settings", Level.OK, "all that the app needs is set")


async def _check_queues(storage: Storage, settings: OpsSettings, *, create: bool) -> AsyncIterator[Check]:
    updates, watches = settings.metadata_updates_queue, settings.training_watches_queue
    needed = [updates, watches, *([settings.events_queue] if settings.events_queue else [])]
    for name in (*needed, poison_of(updates), poison_of(watches)):
        queue = storage.queue(name)
        try:
            count = await queue.count()
            if count is None and create:
                await queue.create()
                yield Check(f"queue {name}", Level.OK, "is created")
            elif count is not None:
                yield Check(f"queue {name}", Level.OK, f"about {count:,} messages")
            elif name in needed:
                yield Check(f"queue {name}", Level.FAILED, "does not exist", "vision-relay doctor --create-queues")
            else:
                yield Check(f"queue {name}", Level.OK, "does not exist; the first dead letter creates it")
        except AzureError as error:
            yield Check(f"queue {name}", Level.FAILED, *_described(error))
            if isinstance(error, ServiceRequestError):
                raise
            return


def _described(error: AzureError) -> tuple[str, str]:
    problem, _, advice = describe_storage(error)[0].partition(": ")
    return problem, advice


async def _check_rights(storage: Storage, settings: OpsSettings) -> Check:
    """Try the rights: put an invisible message into the updates queue, and delete it."""
    how = "a connection string" if settings.storage_connection_string is not None else "an identity"
    queue = storage.queue(settings.metadata_updates_queue)
    try:
        if await queue.count() is None:
            return Check("rights in storage", Level.SKIPPED, "there is no queue to try them on")
        await queue.peek()
        place = await queue.reserve()
        await queue.cancel(*place)
    except AzureError as error:
        return Check("rights in storage", Level.FAILED, *_described(error))
    return Check("rights in storage", Level.OK, f"{how} may read, send and delete")


async def _check_clock(storage: Storage, settings: OpsSettings) -> Check:
    try:
        there = await storage.queue(settings.metadata_updates_queue).server_time()
    except AzureError:
        return Check("clock", Level.SKIPPED, "storage does not respond")
    return check_clock((datetime.now(UTC) - there).total_seconds())


def check_clock(skew_seconds: float) -> Check:
    """Compare this machine's clock with storage's."""
    found = f"{abs(skew_seconds):.0f} s {'ahead of' if skew_seconds > 0 else 'behind'} storage's"
    if abs(skew_seconds) > MAX_SIGNED_SKEW_SECONDS:
        return Check("clock", Level.FAILED, found, "set this machine's clock: storage refuses requests that it signs")
    if abs(skew_seconds) > MAX_SKEW_SECONDS:
        return Check("clock", Level.WARNING, found, "set this machine's clock, so that ages and --after are right")
    return Check("clock", Level.OK, "as storage's")


def check_api(api: ApiState) -> Check:
    """Check an API by its response."""
    if not api.is_known:
        return Check(api.name, Level.SKIPPED, "no endpoint is set")
    if api.problem:
        return Check(api.name, Level.FAILED, api.problem, api.advice)
    return Check(api.name, Level.OK, f"responds in {api.seconds * 1000:,.0f} ms, and accepts the key or identity")


def check_host_file(folder: Path) -> Iterator[Check]:
    """Check the values of host.json that matter to this app."""
    path = folder / "host.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        queues = document["extensions"]["queues"]
    except FileNotFoundError:
        yield Check("host.json", Level.SKIPPED, f"none in {folder.resolve()}; --app FOLDER says where the app is")
        return
    except (OSError, ValueError, KeyError, TypeError):
        yield Check("host.json", Level.FAILED, f"{path} has no extensions.queues", "take the project's own host.json")
        return
    problems = list(host_file_problems(document, queues))
    for found, advice in problems:
        yield Check("host.json", Level.FAILED, found, advice)
    if not problems:
        window = queues.get("batchSize", 16) + queues.get("newBatchThreshold", 8)
        yield Check("host.json", Level.OK, f"{window:,} messages at a time in an instance")


def host_file_problems(document: dict[str, Any], queues: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Find values that lose messages or slow the app down. A missing value has the host's default."""
    if queues.get("messageEncoding", "base64") != "none":
        yield "messageEncoding is base64: plain JSON would become dead letters at once", 'set "messageEncoding": "none"'
    if queues.get("batchSize", 16) + queues.get("newBatchThreshold", 8) < 64:
        yield "fewer than 64 messages at a time: calls cannot be full", "raise newBatchThreshold"
    if queues.get("maxDequeueCount", 5) < 10:
        yield "maxDequeueCount is low: a short outage would dead-letter messages", "raise it, for example to 288"
    if queues.get("visibilityTimeout", "00:00:00") == "00:00:00":
        yield (
            "visibilityTimeout is 0: a failing message uses up its deliveries at once",
            'set "visibilityTimeout": "00:01:00"',
        )
    if document.get("functionTimeout") != "00:10:00":
        yield f"functionTimeout is {document.get('functionTimeout', 'not set')}", 'set "functionTimeout": "00:10:00"'
