"""The simulated Event Grid topic takes what the real one takes, keeps it, and can fail."""

import json
from typing import Any

import httpx
import pytest
from azure.core.messaging import CloudEvent

from local.simulation.control import SimulationControl
from local.simulation.event_grid import MAX_BYTES
from local.simulation.models import Api, Fault, FaultKind
from tests.unit.local.simulation.conftest import CREDENTIALS

BATCH = "application/cloudevents-batch+json; charset=utf-8"
EVENT = {"specversion": "1.0", "id": "1", "source": "https://face.example", "type": "T", "data": {"a": 1}}


async def publish(
    http: httpx.AsyncClient, events: Any, *, key: str = CREDENTIALS.event_grid_key, content_type: str = BATCH
) -> httpx.Response:
    content = events if isinstance(events, bytes) else json.dumps(events)
    headers = {"aeg-sas-key": key, "Content-Type": content_type}
    return await http.post("/api/events?api-version=2018-01-01", content=content, headers=headers)


async def test_it_keeps_what_it_takes_in_order(control: SimulationControl, http: httpx.AsyncClient) -> None:
    events = [{**EVENT, "id": str(number)} for number in range(3)]
    assert (await publish(http, events[:2])).status_code == 200
    assert (await publish(http, events[2:])).status_code == 200
    published = await control.published_events()
    assert list(published.events) == events
    assert published.calls == (2, 1)
    assert (await control.counters()).event_grid.calls == 2


async def test_it_takes_one_event_alone(control: SimulationControl, http: httpx.AsyncClient) -> None:
    assert (await publish(http, EVENT, content_type="application/cloudevents+json")).status_code == 200
    assert len((await control.published_events()).events) == 1


async def test_it_takes_every_attribute_that_the_library_writes(http: httpx.AsyncClient) -> None:
    event: CloudEvent[None] = CloudEvent(
        source="/a", type="T", subject="s", data=None, extensions={"traceparent": "00-1"}
    )
    written = {
        **EVENT,
        "subject": event.subject,
        "time": event.time.isoformat() if event.time else "",
        "traceparent": "0",
    }
    assert (await publish(http, [written])).status_code == 200


@pytest.mark.parametrize(
    "events",
    [
        b"{",
        {},
        [],
        [1],
        [{**EVENT, "specversion": "0.3"}],
        *([{name: value for name, value in EVENT.items() if name != missing}] for missing in ("id", "source", "type")),
        [{**EVENT, "id": ""}],
        [{**EVENT, "id": 1}],
        [{**EVENT, "time": "yesterday"}],
        [{**EVENT, "time": "2026-01-31T12:00:00"}],
        [{**EVENT, "subject": None}],
        [{**EVENT, "correlationId": "x"}],
        [{**EVENT, "data_base64": "AA=="}],
        [EVENT, {**EVENT, "type": None}],
    ],
    ids=str,
)
async def test_it_takes_cloud_events_1_0_only_and_all_or_none(
    control: SimulationControl, http: httpx.AsyncClient, events: Any
) -> None:
    response = await publish(http, events)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "BadRequest"
    assert (await control.published_events()).events == ()


async def test_it_takes_no_other_schema(http: httpx.AsyncClient) -> None:
    assert (await publish(http, [EVENT], content_type="application/json")).status_code == 400


async def test_it_takes_1_mb_at_most(http: httpx.AsyncClient) -> None:
    def sized(size: int) -> bytes:
        empty = json.dumps([{**EVENT, "data": ""}]).encode()
        return empty.replace(b'"data": ""', b'"data": "' + b"x" * (size - len(empty)) + b'"')

    assert (await publish(http, sized(MAX_BYTES))).status_code == 200
    assert (await publish(http, sized(MAX_BYTES + 1))).status_code == 413


async def test_it_wants_its_key(http: httpx.AsyncClient) -> None:
    response = await publish(http, [EVENT], key="another")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "Unauthorized"


async def test_it_can_fail(control: SimulationControl, http: httpx.AsyncClient) -> None:
    await control.begin_outage(Api.EVENT_GRID, FaultKind.UNAVAILABLE_EMPTY)
    assert (await publish(http, [EVENT])).status_code == 503
    await control.end_outage(Api.EVENT_GRID)
    await control.set_faults(Api.EVENT_GRID, Fault(kind=FaultKind.SERVER_ERROR, times=1))
    assert (await publish(http, [EVENT])).status_code == 500
    assert (await publish(http, [EVENT])).status_code == 200
