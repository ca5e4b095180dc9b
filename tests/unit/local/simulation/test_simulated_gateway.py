"""What stands in front of the simulated services: paths, keys, rate, latency, outages, and the counting of it all."""

import asyncio
import time

import httpx
import pytest

from local.simulation.bucket import TokenBucket
from local.simulation.control import ControlError, SimulationControl
from local.simulation.models import Api, Fault, FaultKind
from tests.unit.local.simulation.clients import PROJECT, CustomVisionClient, FaceClient, SettableClock, make_ids

METADATA_PATH = f"/customvision/v3.3/Training/projects/{PROJECT}/images/metadata"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", METADATA_PATH),
        ("POST", METADATA_PATH.replace("v3.3", "v3.2")),
        ("POST", "/face/v1.2/persongroups/g/training"),
        ("GET", "/face/v1.1/persongroups/g/training"),
        ("GET", "/face/v1.2/facelists/g/training"),
        ("GET", "/face/v1.2/persongroups/a/b/training"),
        ("GET", "/"),
    ],
)
async def test_a_wrong_path_is_not_found_by_the_gateway(
    http: httpx.AsyncClient, control: SimulationControl, method: str, path: str
) -> None:
    response = await http.request(method, path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "404"
    assert (await control.counters()).wrong_paths == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Training-key": "face-key", "Ocp-Apim-Subscription-Key": "custom-vision-key"},
        {"Authorization": "Bearer another-token"},
    ],
)
async def test_a_call_without_the_right_key_is_refused_by_the_gateway(
    custom_vision: CustomVisionClient, face: FaceClient, headers: dict[str, str]
) -> None:
    for response in (await custom_vision.update([], headers=headers), await face.training("g", headers=headers)):
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "401"
        assert response.json()["error"]["message"].startswith("Access denied due to invalid subscription key")


async def test_both_services_take_the_bearer_token(custom_vision: CustomVisionClient, face: FaceClient) -> None:
    headers = {"Authorization": "Bearer bearer-token"}
    assert (await custom_vision.update([], headers=headers)).status_code == 400
    assert (await face.training("g", headers=headers)).status_code == 404


async def test_a_changed_key_shuts_the_old_one_out_until_it_is_restored(
    control: SimulationControl, custom_vision: CustomVisionClient, face: FaceClient
) -> None:
    await control.change_key(Api.CUSTOM_VISION, "new-key")
    assert (await custom_vision.update([])).status_code == 401
    assert (await custom_vision.update([], headers={"Training-key": "new-key"})).status_code == 400
    assert (await face.training("g")).status_code == 404
    await control.restore_key(Api.CUSTOM_VISION)
    assert (await custom_vision.update([])).status_code == 400
    assert (await control.counters()).custom_vision.faults == {"wrong_key": 1}


async def test_a_key_can_be_wrong_for_a_time(
    control: SimulationControl, custom_vision: CustomVisionClient, clock: SettableClock
) -> None:
    await control.change_key(Api.CUSTOM_VISION, seconds=10)
    assert (await custom_vision.update([])).status_code == 401
    clock.advance(10)
    assert (await custom_vision.update([])).status_code == 400
    async with control.wrong_key(Api.CUSTOM_VISION):
        assert (await custom_vision.update([])).status_code == 401
    assert (await custom_vision.update([])).status_code == 400


async def test_ten_calls_a_second_are_let_through_and_more_are_told_when_to_come_again(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    codes = [(await face.training("g")).status_code for _ in range(12)]
    assert codes == [404] * 10 + [429] * 2
    refused = await face.training("g")
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "429"
    clock.advance(0.125)
    assert [(await face.training("g")).status_code for _ in range(2)] == [404, 429]
    counters = (await control.counters()).face
    assert counters.rate_limited == 4
    assert counters.statuses == {"404": 11, "429": 4}
    assert counters.faults == {}


async def test_the_services_do_not_share_a_rate(custom_vision: CustomVisionClient, face: FaceClient) -> None:
    assert [(await face.training("g")).status_code for _ in range(11)][-1] == 429
    assert (await custom_vision.update([])).status_code == 400


async def test_the_rate_can_be_changed_and_taken_away(control: SimulationControl, face: FaceClient) -> None:
    await control.set_rate(Api.FACE, 0.1, burst=2)
    responses = [await face.training("g") for _ in range(3)]
    assert [response.status_code for response in responses] == [404, 404, 429]
    assert responses[2].headers["retry-after"] == "10"
    await control.set_rate(Api.FACE, None)
    assert {(await face.training("g")).status_code for _ in range(50)} == {404}


async def test_a_refused_key_takes_no_token(face: FaceClient) -> None:
    for _ in range(20):
        await face.training("g", headers={})
    assert (await face.training("g")).status_code == 404


def test_a_bucket_fills_at_its_rate_and_no_higher_than_its_burst() -> None:
    bucket = TokenBucket(calls_per_second=4, burst=2, now=0)
    assert [bucket.take(0) for _ in range(3)] == [0, 0, 0.25]
    assert bucket.take(0.125) == 0.125
    assert bucket.take(0.25) == 0
    assert [bucket.take(100) for _ in range(3)] == [0, 0, 0.25]


async def test_latency_delays_its_share_of_the_calls(control: SimulationControl, face: FaceClient) -> None:
    await control.set_rate(Api.FACE, None)
    await control.set_latency(Api.FACE, 0.02, jitter_seconds=0.01, share=0.5, seed=1)
    slow = 0
    for _ in range(20):
        started = time.monotonic()
        await face.training("g")
        slow += time.monotonic() - started >= 0.02
    delayed = (await control.counters()).face.faults["latency"]
    assert 0 < delayed < 20
    assert slow >= delayed
    await control.set_latency(Api.FACE, 0)
    await face.training("g")
    assert (await control.counters()).face.faults["latency"] == delayed


async def test_an_outage_comes_before_key_and_rate_and_applies_nothing(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    ids = make_ids(1)
    await control.add_images(PROJECT, ids)
    async with control.outage(Api.CUSTOM_VISION, FaultKind.UNAVAILABLE_HTML):
        assert (await custom_vision.update(ids, headers={})).status_code == 503
        assert {(await custom_vision.update(ids)).status_code for _ in range(20)} == {503}
    assert (await control.images(PROJECT))[ids[0]].updates == 0
    assert (await custom_vision.update(ids)).status_code == 200
    assert (await control.counters()).custom_vision.faults == {"outage": 21}


async def test_an_outage_can_end_by_itself(control: SimulationControl, face: FaceClient, clock: SettableClock) -> None:
    await control.begin_outage(Api.FACE, FaultKind.UNAVAILABLE_EMPTY, seconds=20)
    clock.advance(19.9)
    assert (await face.training("g")).status_code == 503
    clock.advance(0.1)
    assert (await face.training("g")).status_code == 404


async def test_an_outage_in_which_calls_take_effect_is_refused(control: SimulationControl) -> None:
    with pytest.raises(ControlError, match="truncated_json"):
        await control.begin_outage(Api.FACE, FaultKind.TRUNCATED_JSON)


async def test_the_busiest_second_and_moment_are_counted(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    await control.set_latency(Api.FACE, 0.02)
    await asyncio.gather(*(face.training("g") for _ in range(3)))
    clock.advance(0.5)
    await face.training("g")
    clock.advance(0.75)
    await face.training("g")
    counters = (await control.counters()).face
    assert (counters.calls, counters.max_calls_per_second, counters.max_in_flight) == (5, 4, 3)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/_control/face/rate", '{"calls_per_second": 0}', 422),
        ("PUT", "/_control/face/faults", '{"fault": []}', 422),
        ("PUT", "/_control/face/faults", '{"faults": [{"kind": "hang", "share": 1.1}]}', 422),
        ("PUT", "/_control/marks", '{"image_ids": []}', 422),
        ("PUT", "/_control/marks", "not json", 422),
        ("PUT", "/_control/speech/rate", "{}", 404),
        ("GET", "/_control/health", "", 204),
    ],
)
async def test_the_control_api_tells_what_it_does_not_understand(
    http: httpx.AsyncClient, method: str, path: str, body: str, status: int
) -> None:
    response = await http.request(method, path, content=body)
    assert response.status_code == status


def test_an_unknown_fault_is_no_fault() -> None:
    with pytest.raises(ValueError, match="kind"):
        Fault.model_validate({"kind": "gremlins"})
