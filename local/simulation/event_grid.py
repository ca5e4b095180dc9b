"""An Event Grid topic with the CloudEvents schema: its rules, without HTTP, key and rate.

It takes a batch of events (`application/cloudevents-batch+json`) or one (`application/cloudevents+json`), all or none:

* 413 for more than 1 MB, in all or in one event;
* 400 for what is no CloudEvent 1.0: its required attributes, and the form of those that have one.
"""

import json
import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from local.simulation.answers import Answer, json_answer
from local.simulation.calls import PublishEvents

MAX_BYTES = 1024 * 1024
BATCH = "application/cloudevents-batch+json"
SINGLE = "application/cloudevents+json"

_REQUIRED = ("id", "source", "type", "specversion")
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}|data_base64")


class InvalidEvents(Exception):
    """The call is refused as a whole; the text says why."""


def event_grid_error(status: int, code: str, message: str) -> Answer:
    """An error in the service's body."""
    return json_answer(status, {"error": {"code": code, "message": message}})


class EventGrid:
    """The topic, and every event that it has taken, in order, repetitions included."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.calls: list[int] = []
        """How many events each call had."""

    def publish(self, call: PublishEvents) -> Answer:
        """Handle a call."""
        if len(call.body) > MAX_BYTES:
            return event_grid_error(413, "RequestEntityTooLarge", "The maximum size of a request is 1 MB.")
        try:
            events = _read(call)
        except InvalidEvents as error:
            return event_grid_error(400, "BadRequest", str(error))
        self.events += events
        self.calls.append(len(events))
        return Answer(200)


def _read(call: PublishEvents) -> list[dict[str, Any]]:
    content_type = call.content_type.partition(";")[0].strip().lower()
    if content_type not in (BATCH, SINGLE):
        raise InvalidEvents(f"The content type must be {BATCH} or {SINGLE}: the topic has the CloudEvents schema.")
    try:
        document = json.loads(call.body)
    except (ValueError, RecursionError):
        raise InvalidEvents("The body is not valid JSON.") from None
    events = document if content_type == BATCH else [document]
    if not isinstance(events, list) or not events:
        raise InvalidEvents("The body must be an array of at least one event.")
    for number, event in enumerate(events):
        if problem := _problem(event):
            raise InvalidEvents(f"This resource is configured for CloudEvents 1.0; event {number}: {problem}.")
    return events


def _problem(event: Any) -> str | None:
    """What keeps this from being a CloudEvent 1.0, if anything."""
    if not isinstance(event, dict):
        return "is not an object"
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            return f"{name} is missing or not text"
    if event["specversion"] != "1.0":
        return "specversion is not 1.0"
    for name in event:
        if not _ATTRIBUTE.fullmatch(name):
            return f"{name} is no name of an attribute"
    return _form_problem(event)


def _form_problem(event: dict[str, Any]) -> str | None:
    if "data" in event and "data_base64" in event:
        return "data and data_base64 exclude one another"
    for name in ("subject", "datacontenttype", "time"):
        if name in event and (not isinstance(event[name], str) or not event[name]):
            return f"{name} is not text"
    try:
        urlsplit(event["source"])
        if "time" in event and datetime.fromisoformat(event["time"]).tzinfo is None:
            return "time has no time zone"
    except ValueError:
        return "time is no date-time, or source no URI reference"
    return None
