"""The simulated UpdateImageMetadata checks and answers what the reference page says."""

import pytest

from local.simulation.control import ControlError, SimulationControl
from local.simulation.models import Api, MetadataLimits
from tests.unit.local.simulation.clients import PROJECT, CustomVisionClient, make_ids, statuses


async def test_metadata_is_merged_into_what_an_image_has(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    [image] = make_ids(1)
    await control.add_images(PROJECT, [image], {"place": "Oslo", "album": "old"})
    response = await custom_vision.update([image], {"album": "winter"})
    assert response.status_code == 200
    merged = {"place": "Oslo", "album": "winter"}
    assert response.json() == {
        "isBatchSuccessful": True,
        "images": [{"imageId": str(image), "status": "OK", "metadata": merged}],
    }
    state = (await control.images(PROJECT, history=True))[image]
    assert (state.metadata, state.updates, state.history) == (merged, 1, ({"album": "winter"},))


async def test_history_is_told_only_if_asked_for(control: SimulationControl, custom_vision: CustomVisionClient) -> None:
    ids = make_ids(1)
    await control.add_images(PROJECT, ids)
    await custom_vision.update(ids)
    assert (await control.images(PROJECT))[ids[0]].history is None


async def test_answers_do_not_come_in_the_order_of_the_question(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    ids = make_ids(64)
    await control.add_images(PROJECT, ids)
    answered = list(statuses(await custom_vision.update(ids)))
    assert answered != ids
    assert set(answered) == set(ids)


async def test_an_image_named_twice_is_answered_once(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    [image] = make_ids(1)
    await control.add_images(PROJECT, [image])
    response = await custom_vision.update([image, str(image).upper()])
    assert len(response.json()["images"]) == 1
    assert (await control.images(PROJECT))[image].updates == 1


async def test_an_unknown_image_does_not_keep_the_others_from_their_update(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    known, unknown = make_ids(2)
    await control.add_images(PROJECT, [known])
    response = await custom_vision.update([known, unknown])
    assert response.status_code == 207
    assert response.json()["isBatchSuccessful"] is False
    assert statuses(response) == {known: "OK", unknown: "ErrorImageNotFound"}


async def test_an_image_of_another_project_is_not_found(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    [other_project, image] = make_ids(2)
    await control.add_images(other_project, [image])
    assert statuses(await custom_vision.update([image])) == {image: "ErrorImageNotFound"}


async def test_an_image_keeps_its_ten_pairs_and_takes_no_eleventh(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    [image] = make_ids(1)
    ten = {f"key{n}": "value" for n in range(10)}
    await control.add_images(PROJECT, [image], ten)
    response = await custom_vision.update([image], {"one more": "value"})
    assert response.status_code == 207
    assert statuses(response) == {image: "ErrorLimitExceed"}
    assert (await control.images(PROJECT))[image].metadata == ten
    assert statuses(await custom_vision.update([image], {"key3": "changed"})) == {image: "OK"}


@pytest.mark.parametrize("body", [b"null", b"{}"])
async def test_no_pairs_are_no_error(
    control: SimulationControl, custom_vision: CustomVisionClient, body: bytes
) -> None:
    ids = make_ids(1)
    await control.add_images(PROJECT, ids)
    headers = {"Training-key": custom_vision.key, "Content-Type": "application/json; charset=utf-8"}
    response = await custom_vision.update(ids, content=body, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"k" * 129: "v"}, "BadRequestImageMetadataKey"),
        ({"": "v"}, "BadRequestImageMetadataKey"),
        ({f"k{n}": "v" for n in range(11)}, "BadRequestImageMetadataKey"),
        ({"k": "v" * 257}, "BadRequestImageMetadataValue"),
        ({"k": 1}, "BadRequestImageMetadataValue"),
        ({"k": None}, "BadRequestImageMetadataValue"),
        (["k", "v"], "BadRequestInvalid"),
    ],
)
async def test_metadata_beyond_the_limits_is_refused(
    custom_vision: CustomVisionClient, metadata: object, code: str
) -> None:
    response = await custom_vision.update(make_ids(1), metadata)
    assert response.status_code == 400
    assert response.json()["code"] == code
    assert response.json()["message"]


async def test_metadata_at_the_limits_is_taken(control: SimulationControl, custom_vision: CustomVisionClient) -> None:
    ids = make_ids(1)
    await control.add_images(PROJECT, ids)
    metadata = {f"{n}" + "k" * 127: "v" * 256 for n in range(10)}
    assert (await custom_vision.update(ids, metadata)).status_code == 200


async def test_64_images_are_taken_and_65_refused(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    ids = make_ids(65)
    await control.add_images(PROJECT, ids)
    assert (await custom_vision.update(ids[:64])).status_code == 200
    response = await custom_vision.update(ids)
    assert (response.status_code, response.json()["code"]) == (400, "BadRequestExceededBatchSize")
    counters = await control.counters()
    assert counters.custom_vision.images_per_call == {64: 1, 65: 1}
    assert counters.images_updated == 64


@pytest.mark.parametrize("image_ids", [["not-a-uuid"], ["", ""], [*make_ids(1), "x"]])
async def test_an_id_that_is_no_uuid_has_the_call_refused(
    custom_vision: CustomVisionClient, image_ids: list[str]
) -> None:
    response = await custom_vision.update(image_ids)
    assert (response.status_code, response.json()["code"]) == (400, "BadRequestInvalidIds")


async def test_a_call_without_ids_is_refused(custom_vision: CustomVisionClient) -> None:
    response = await custom_vision.update([])
    assert (response.status_code, response.json()["code"]) == (400, "BadRequestRequiredParamIsNull")


async def test_a_project_id_that_is_no_uuid_is_refused(custom_vision: CustomVisionClient) -> None:
    response = await custom_vision.update(make_ids(1), project="mine")
    assert (response.status_code, response.json()["code"]) == (400, "BadRequestInvalidIds")


async def test_an_unknown_project_is_not_found(custom_vision: CustomVisionClient) -> None:
    response = await custom_vision.update(make_ids(1), project=make_ids(1)[0])
    assert (response.status_code, response.json()["code"]) == (404, "NotFoundProject")


async def test_another_content_type_is_refused(custom_vision: CustomVisionClient) -> None:
    headers = {"Training-key": custom_vision.key, "Content-Type": "text/plain"}
    response = await custom_vision.update(make_ids(1), content=b"{}", headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_not_json_is_refused(custom_vision: CustomVisionClient, body: bytes) -> None:
    headers = {"Training-key": custom_vision.key, "Content-Type": "application/json"}
    response = await custom_vision.update(make_ids(1), content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "BadRequestInvalid")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("BadRequestInvalidIds", 400),
        ("ForbiddenUser", 403),
        ("NotFoundImage", 404),
        ("Conflict", 409),
        ("UnsupportedMediaType", 415),
        ("ErrorUnknown", 500),
    ],
)
async def test_a_marked_image_has_its_calls_refused_as_a_whole(
    control: SimulationControl, custom_vision: CustomVisionClient, code: str, status: int
) -> None:
    ids = make_ids(64)
    await control.add_images(PROJECT, ids)
    await control.refuse_calls_with(ids[40:41], code)
    response = await custom_vision.update(ids)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert (await control.counters()).images_updated == 0
    assert (await custom_vision.update(ids[:40])).status_code == 200
    assert (await custom_vision.update(ids[40:41])).status_code == status


async def test_a_marked_image_gets_its_status_and_stays_as_it_is(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    marked, other = ids = make_ids(2)
    await control.add_images(PROJECT, ids)
    await control.answer_images_with([marked], "ErrorUnknown")
    response = await custom_vision.update(ids)
    assert response.status_code == 207
    assert statuses(response) == {marked: "ErrorUnknown", other: "OK"}
    assert (await control.images(PROJECT))[marked].updates == 0


async def test_a_mark_ends_after_its_times_or_when_it_is_taken_back(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    ids = make_ids(1)
    await control.add_images(PROJECT, ids)
    await control.answer_images_with(ids, "ErrorUnknown", times=2)
    assert [(await custom_vision.update(ids)).status_code for _ in range(3)] == [207, 207, 200]
    await control.answer_images_with(ids, "ErrorUnknown")
    await control.unmark_images()
    assert (await custom_vision.update(ids)).status_code == 200


async def test_a_mark_with_an_undocumented_code_is_refused(control: SimulationControl) -> None:
    with pytest.raises(ControlError, match="Oops"):
        await control.refuse_calls_with(make_ids(1), "Oops")


async def test_thousands_of_images_are_added_at_once_and_those_there_already_stay(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    ids = make_ids(5_000)
    await control.add_images(PROJECT, ids[:1])
    await custom_vision.update(ids[:1])
    await control.add_images(PROJECT, ids, {"place": "Oslo"})
    images = await control.images(PROJECT)
    assert len(images) == 5_000
    assert images[ids[0]].metadata == {"album": "winter"}
    assert images[ids[-1]].metadata == {"place": "Oslo"}


async def test_after_a_reset_nothing_is_known(control: SimulationControl, custom_vision: CustomVisionClient) -> None:
    await control.begin_outage(Api.FACE)
    await control.reset()
    response = await custom_vision.update(make_ids(1))
    assert response.json()["code"] == "NotFoundProject"
    assert (await control.counters()).custom_vision.calls == 1
    with pytest.raises(ControlError, match="404"):
        await control.images(PROJECT)


async def test_it_can_take_as_much_metadata_as_the_published_file_says(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    [image] = make_ids(1)
    await control.add_images(PROJECT, [image])
    most = {f"{number:02}" + "k" * 254: "v" * 512 for number in range(50)}
    refused = await custom_vision.update([image], most)
    assert refused.json()["code"] == "BadRequestImageMetadataKey"
    await control.set_metadata_limits(MetadataLimits(pairs=50, key_characters=256, value_characters=512))
    assert statuses(await custom_vision.update([image], most)) == {image: "OK"}
    assert statuses(await custom_vision.update([image], {"one more": ""})) == {image: "ErrorLimitExceed"}
    for too_much in ({**most, "one more": ""}, {"k" * 257: ""}, {"k": "v" * 513}):
        assert (await custom_vision.update([image], too_much)).status_code == 400
