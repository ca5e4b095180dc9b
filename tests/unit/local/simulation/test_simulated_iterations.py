"""The simulated training of an iteration goes its way, and is told as Custom Vision tells it."""

from uuid import UUID, uuid4

import httpx
import pytest

from local.simulation.control import SimulationControl
from local.simulation.models import Api
from tests.unit.local.simulation.clients import PROJECT, CustomVisionClient, SettableClock

ITERATION = UUID("22222222-2222-4222-8222-222222222222")


async def get(
    custom_vision: CustomVisionClient, iteration: UUID | str = ITERATION, project: UUID | str = PROJECT
) -> httpx.Response:
    path = f"/customvision/v3.3/Training/projects/{project}/iterations/{iteration}"
    return await custom_vision.http.get(path, headers={"Training-key": custom_vision.key})


@pytest.mark.parametrize(("fails", "word"), [(False, "Completed"), (True, "Failed")])
async def test_a_training_runs_and_ends(
    control: SimulationControl, custom_vision: CustomVisionClient, clock: SettableClock, fails: bool, word: str
) -> None:
    await control.train_iteration(PROJECT, ITERATION, running_seconds=60, fails=fails)
    running = (await get(custom_vision)).json()
    assert (running["status"], running["trainedAt"]) == ("Training", None)
    clock.advance(60)
    ended = (await get(custom_vision)).json()
    assert (ended["status"], ended["trainedAt"]) == (word, "2024-03-05T12:01:00.000Z")
    assert (ended["id"], ended["projectId"]) == (str(ITERATION), str(PROJECT))
    assert ended["created"] == "2024-03-05T12:00:00.000Z"


async def test_it_can_answer_with_any_word(control: SimulationControl, custom_vision: CustomVisionClient) -> None:
    await control.train_iteration(PROJECT, ITERATION, status="Queued")
    assert (await get(custom_vision)).json()["status"] == "Queued"


async def test_its_project_is_made_if_need_be(control: SimulationControl, custom_vision: CustomVisionClient) -> None:
    project = uuid4()
    await control.train_iteration(project, ITERATION)
    assert (await get(custom_vision, project=project)).status_code == 200


@pytest.mark.parametrize(
    ("iteration", "project", "status", "code"),
    [
        (uuid4(), PROJECT, 404, "NotFoundIteration"),
        (ITERATION, uuid4(), 404, "NotFoundProject"),
        ("one", PROJECT, 400, "BadRequestInvalidIds"),
    ],
)
async def test_what_does_not_exist_is_told_with_its_code(
    control: SimulationControl,
    custom_vision: CustomVisionClient,
    iteration: UUID | str,
    project: UUID | str,
    status: int,
    code: str,
) -> None:
    await control.train_iteration(PROJECT, ITERATION)
    response = await get(custom_vision, iteration, project)
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_it_counts_against_the_limit_of_the_updates(
    control: SimulationControl, custom_vision: CustomVisionClient
) -> None:
    await control.set_rate(Api.CUSTOM_VISION, 1)
    await control.train_iteration(PROJECT, ITERATION)
    assert [(await get(custom_vision)).status_code for _ in range(2)] == [200, 429]
    assert (await control.counters()).custom_vision.calls == 2
