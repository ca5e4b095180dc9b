"""The simulated training status goes its way, and is told as the reference page says."""

import pytest

from local.simulation.control import ControlError, SimulationControl
from local.simulation.models import Api, Fault, FaultKind, GroupKind
from tests.unit.local.simulation.clients import FaceClient, SettableClock

PREFIXES = {"persongroups": "PersonGroup", "largepersongroups": "LargePersonGroup", "largefacelists": "LargeFaceList"}


async def test_a_training_is_queued_runs_and_succeeds(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    await control.add_group("employees")
    clock.advance(10)
    await control.train("employees", queued_seconds=5, running_seconds=20.25)
    waiting = {
        "createdDateTime": "2024-03-05T12:00:00.000Z",
        "lastActionDateTime": None,
        "lastSuccessfulTrainingDateTime": None,
        "message": None,
    }
    assert (await face.training("employees")).json() == {"status": "notStarted", **waiting}
    clock.advance(5)
    assert (await face.training("employees")).json() == {"status": "running", **waiting}
    clock.advance(20.25)
    assert (await face.training("employees")).json() == {
        "status": "succeeded",
        "createdDateTime": "2024-03-05T12:00:00.000Z",
        "lastActionDateTime": "2024-03-05T12:00:35.250Z",
        "lastSuccessfulTrainingDateTime": "2024-03-05T12:00:35.250Z",
    }


async def test_a_first_training_that_fails_has_no_last_action(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    await control.train("employees", running_seconds=1, failure="There is no person in the group.")
    clock.advance(1)
    result = (await face.training("employees")).json()
    assert result["status"] == "failed"
    assert result["message"] == "There is no person in the group."
    assert result["lastActionDateTime"] is None
    assert result["lastSuccessfulTrainingDateTime"] is None


async def test_a_failure_after_a_success_tells_both_times(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    await control.train("employees", running_seconds=1)
    clock.advance(60)
    await control.train("employees", running_seconds=2, failure="no")
    running = (await face.training("employees")).json()
    assert (running["status"], running["lastActionDateTime"]) == ("running", "2024-03-05T12:01:00.000Z")
    clock.advance(2)
    result = (await face.training("employees")).json()
    assert result["status"] == "failed"
    assert result["lastActionDateTime"] == "2024-03-05T12:01:02.000Z"
    assert result["lastSuccessfulTrainingDateTime"] == "2024-03-05T12:00:01.000Z"


async def test_a_training_takes_the_place_of_one_that_still_runs(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    await control.train("employees", running_seconds=10)
    clock.advance(9)
    await control.train("employees", running_seconds=10)
    clock.advance(9)
    assert (await face.training("employees")).json()["status"] == "running"
    clock.advance(1)
    result = (await face.training("employees")).json()
    assert result["lastSuccessfulTrainingDateTime"] == "2024-03-05T12:00:19.000Z"


@pytest.mark.parametrize("kind", list(GroupKind))
@pytest.mark.parametrize("version", ["v1.2", "v1.2-preview.1"])
async def test_each_kind_has_its_own_groups_and_codes(
    control: SimulationControl, face: FaceClient, kind: GroupKind, version: str
) -> None:
    response = await face.training("g", kind, version)
    not_found = f"{PREFIXES[kind]}NotFound"
    assert (response.status_code, response.json()["error"]["code"]) == (404, not_found)
    assert response.headers["x-ms-error-code"] == not_found
    await control.add_group("g", kind)
    not_trained = f"{PREFIXES[kind]}NotTrained"
    response = await face.training("g", kind, version)
    assert (response.status_code, response.json()["error"]["code"]) == (404, not_trained)
    await control.train("g", kind)
    assert (await face.training("g", kind, version)).status_code == 200
    await control.remove_group("g", kind)
    assert (await face.training("g", kind, version)).headers["x-ms-error-code"] == not_found


@pytest.mark.parametrize("group_id", ["Employees", "a.b", "x" * 65])
async def test_an_id_that_does_not_match_the_pattern_is_refused(face: FaceClient, group_id: str) -> None:
    response = await face.training(group_id)
    assert (response.status_code, response.headers["x-ms-error-code"]) == (400, "BadArgument")


async def test_the_groups_can_be_read_without_a_call(
    control: SimulationControl, face: FaceClient, clock: SettableClock
) -> None:
    await control.add_group("untrained")
    await control.train("trained", GroupKind.LARGE_FACE_LIST, running_seconds=1)
    clock.advance(1)
    groups = {group.id: group for group in await control.groups()}
    assert groups["untrained"].status is None
    assert groups["trained"].status == "succeeded"
    assert groups["trained"].last_success_at is not None
    assert groups["trained"].last_success_at.timestamp() == clock()
    assert (await control.counters()).face.calls == 0


async def test_an_api_without_images_cannot_have_a_fault_of_images(control: SimulationControl) -> None:
    with pytest.raises(ControlError, match="image_missing"):
        await control.set_faults(Api.FACE, Fault(kind=FaultKind.IMAGE_MISSING))
