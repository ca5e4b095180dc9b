"""The simulated GetImagesByIds answers what the published OpenAPI file says."""

import pytest

from local.simulation.control import SimulationControl
from local.simulation.models import Api, Fault, FaultKind
from tests.unit.local.simulation.clients import PROJECT, CustomVisionClient, make_ids


async def test_images_are_told_with_their_metadata(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    ids = make_ids(2)
    await control.add_images(PROJECT, ids, {"album": "winter"})
    response = await custom_vision.images(ids)
    assert response.status_code == 200
    assert {image["id"]: image["metadata"] for image in response.json()} == {
        str(image): {"album": "winter"} for image in ids
    }


async def test_images_that_the_project_does_not_have_are_left_out(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    known, unknown = make_ids(2)
    await control.add_images(PROJECT, [known])
    assert [image["id"] for image in (await custom_vision.images([known, unknown])).json()] == [str(known)]


@pytest.mark.parametrize(
    ("count", "status", "code"), [(0, 400, "BadRequestRequiredParamIsNull"), (257, 400, "BadRequestExceededBatchSize")]
)
async def test_a_call_names_1_to_256_images(
    custom_vision: CustomVisionClient, count: int, status: int, code: str
) -> None:
    response = await custom_vision.images(make_ids(count))
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_256_fit_an_address(control: SimulationControl, custom_vision: CustomVisionClient) -> None:
    ids = make_ids(256)
    await control.add_images(PROJECT, ids)
    assert len((await custom_vision.images(ids)).json()) == 256


async def test_an_unknown_project_is_not_found(custom_vision: CustomVisionClient) -> None:
    [other, image] = make_ids(2)
    response = await custom_vision.images([image], project=other)
    assert (response.status_code, response.json()["code"]) == (404, "NotFoundProject")


async def test_a_fault_of_an_image_does_not_take_place_in_a_look(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    ids = make_ids(1)
    await control.add_images(PROJECT, ids)
    await control.set_faults(Api.CUSTOM_VISION, Fault(kind=FaultKind.IMAGE_NOT_FOUND))
    assert len((await custom_vision.images(ids)).json()) == 1
    assert (await control.counters()).custom_vision.faults == {}
