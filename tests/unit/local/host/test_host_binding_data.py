"""What a function is told of its message: the binding data as the Functions host makes it and the worker reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import azure.functions as func
import pytest
from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage

from functions import update_image_metadata
from local.host.app_model import QueueTrigger, index
from local.host.binding_data import function_message, merged, timer_request

SENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
EVENT = {"specversion": "1.0", "id": "1", "source": "/p", "type": "T", "data": {}}


def queue_message(body: str, *, expires_on: datetime | None = SENT) -> QueueMessage:
    return QueueMessage(
        content=body,
        id="message-1",
        inserted_on=SENT,
        expires_on=expires_on,
        dequeue_count=3,
        pop_receipt="receipt",
        next_visible_on=SENT,
    )


def seen(body: dict[str, Any] | str, *, binary: bool = False) -> func.QueueMessage:
    text = body if isinstance(body, str) else json.dumps(body)
    return function_message(queue_message(text), text.encode(), binary=binary)


@pytest.mark.parametrize("binary", [True, False])
def test_a_message_has_its_own_metadata_if_its_body_has_none_of_these_names(binary: bool) -> None:
    message = seen({"a": 1}, binary=binary)
    assert (message.id, message.dequeue_count, message.pop_receipt) == ("message-1", 3, "receipt")
    assert message.insertion_time == message.expiration_time == message.time_next_visible == SENT
    assert message.get_body() == b'{"a": 1}'


def test_a_message_that_never_expires_does_so_in_the_year_9999() -> None:
    message = function_message(queue_message("x", expires_on=None), b"x", binary=True)
    assert message.expiration_time is not None
    assert message.expiration_time.year == 9999


@pytest.mark.parametrize("name", ["id", "ID", "Id"])
def test_a_field_of_the_body_takes_the_place_of_metadata_whatever_its_case(name: str) -> None:
    assert seen({name: "1"}).id == "1"


@pytest.mark.parametrize(
    "mine", ["1", "x" * 40_000, "a\nWARNING forged: line"], ids=["that of another", "long", "with a line break"]
)
def test_the_id_of_an_event_replaces_the_messages_unless_the_body_is_binary(mine: str) -> None:
    event = {**EVENT, "id": mine}
    assert seen(event).id == mine
    assert seen(event, binary=True).id == "message-1"


@pytest.mark.parametrize(
    "field",
    [{"dequeueCount": "abc"}, {"expirationtime": "soon"}, {"insertionTime": "x"}, {"NEXTVISIBLETIME": True}],
    ids=lambda field: next(iter(field)),
)
def test_a_field_that_fits_no_metadata_fails_before_the_function_unless_the_body_is_binary(
    field: dict[str, Any],
) -> None:
    event = {**EVENT, **field}
    with pytest.raises(ValueError, match=r"DequeueCount|does not match format"):
        seen(event)
    assert seen(event, binary=True).dequeue_count == 3


@pytest.mark.parametrize(
    ("value", "datum"),
    [
        ("text", Datum("text", "string")),
        (7, Datum("7", "string")),
        (True, Datum("True", "string")),
        ({"a": [1]}, Datum('{"a": [1]}', "json")),
        ("2026-01-31T12:00:00Z", Datum("01/31/2026 12:00:00", "string")),
        ("2026-01-31T13:00:00+01:00", Datum("01/31/2026 12:00:00", "string")),
        ("2026-13-31T12:00:00Z", Datum("2026-13-31T12:00:00Z", "string")),
    ],
)
def test_a_field_is_merged_as_the_host_writes_it(value: object, datum: Datum) -> None:
    assert merged({}, json.dumps({"new": value})) == {"new": datum}


@pytest.mark.parametrize("value", [[1], None])
def test_arrays_and_nulls_are_not_merged(value: object) -> None:
    own = {"Id": Datum("message-1", "string")}
    assert merged(own, json.dumps({"id": value})) == own


@pytest.mark.parametrize("body", ["", "text", "[1]", '"x"', "{", "[" * 100_000, '{"a": ' * 100_000])
def test_a_body_that_is_no_json_object_merges_nothing(body: str) -> None:
    assert merged({}, body) == {}


def test_a_string_binding_takes_no_body_that_is_no_text() -> None:
    message = queue_message("")
    with pytest.raises(UnicodeDecodeError):
        function_message(message, b"\xff", binary=False)
    assert function_message(message, b"\xff", binary=True).get_body() == b"\xff"


@pytest.mark.parametrize("is_past_due", [True, False])
def test_a_timer_is_told_whether_it_is_late(is_past_due: bool) -> None:
    request = timer_request(is_past_due=is_past_due)
    assert request.past_due is is_past_due
    assert request.schedule == {"AdjustForDST": True}


@pytest.mark.parametrize(
    ("data_type", "binary"),
    [(None, False), (func.DataType.STRING, False), (func.DataType.BINARY, True), (func.DataType.STREAM, True)],
)
def test_a_trigger_says_whether_its_body_is_bound_as_binary(data_type: func.DataType | None, binary: bool) -> None:
    app = func.FunctionApp()

    @app.queue_trigger(arg_name="message", queue_name="orders", connection="STORAGE", data_type=data_type)
    def take(message: func.QueueMessage) -> None: ...

    [function] = index(app, {})
    assert function.trigger == QueueTrigger("orders", "STORAGE", binary)


def test_the_update_function_binds_its_body_as_binary() -> None:
    app = func.FunctionApp()
    app.register_functions(update_image_metadata.blueprint(None))  # type: ignore[arg-type]  # it is not called
    [function] = index(app, {"METADATA_UPDATES_QUEUE": "updates"})
    assert function.trigger == QueueTrigger("updates", "AzureWebJobsStorage", binary=True)
