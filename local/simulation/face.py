"""Face 1.2, training status of a group: its rules, without HTTP, key and rate.

The fields are those of the reference's TrainingResult. It leaves open when some of them are null; here

* `lastActionDateTime` is null where the group was never trained successfully, also after a failure, and
* `message` is null while a training is queued or runs, says why it failed, and is absent on success.
"""

import re
from dataclasses import dataclass

from local.simulation.answers import Answer, json_answer
from local.simulation.calls import GetTrainingStatus
from local.simulation.models import Group, GroupKind, GroupState, Training
from local.simulation.trainings import ActiveTraining, Status, moment, timestamp

_GROUP_ID = re.compile(r"[a-z0-9-_]{1,64}")
_CODE_PREFIX = {
    GroupKind.PERSON_GROUP: "PersonGroup",
    GroupKind.LARGE_PERSON_GROUP: "LargePersonGroup",
    GroupKind.LARGE_FACE_LIST: "LargeFaceList",
}


def face_error(status: int, code: str, message: str) -> Answer:
    """An error in the documented body, with its code repeated in the documented header."""
    return json_answer(status, {"error": {"code": code, "message": message}}, (("x-ms-error-code", code),))


@dataclass(slots=True)
class _Group:
    created_at: float
    training: ActiveTraining | None = None
    earlier_success_at: float | None = None

    def train(self, training: ActiveTraining, now: float) -> None:
        self.earlier_success_at = self.last_success_at(now)
        self.training = training

    def last_success_at(self, now: float) -> float | None:
        if self.training is not None and self.training.status(now) is Status.SUCCEEDED:
            return self.training.ends_at
        return self.earlier_success_at

    def result(self, training: ActiveTraining, now: float) -> dict[str, str | None]:
        status = training.status(now)
        last_success_at = self.last_success_at(now)
        last_action_at = training.ends_at if now >= training.ends_at else training.asked_at
        result = {
            "status": status.value,
            "createdDateTime": timestamp(self.created_at),
            "lastActionDateTime": None if last_success_at is None else timestamp(last_action_at),
            "lastSuccessfulTrainingDateTime": None if last_success_at is None else timestamp(last_success_at),
        }
        if status is not Status.SUCCEEDED:
            result["message"] = training.failure if status is Status.FAILED else None
        return result


class Face:
    """The groups of all kinds and their trainings. Times are in seconds since the epoch."""

    def __init__(self) -> None:
        self._groups: dict[tuple[GroupKind, str], _Group] = {}

    def add_group(self, group: Group, now: float) -> None:
        """Make a group that has never been trained; one that is there already stays as it is."""
        self._groups.setdefault((group.kind, group.id), _Group(created_at=now))

    def remove_group(self, group: Group) -> None:
        """Forget a group, if there is such a one."""
        self._groups.pop((group.kind, group.id), None)

    def train(self, training: Training, now: float) -> None:
        """Start a training, of a new group if need be. It takes the place of one that still runs."""
        starts_at = now + training.queued_seconds
        active = ActiveTraining(now, starts_at, starts_at + training.running_seconds, training.failure)
        self.add_group(Group(kind=training.kind, id=training.id), now)
        self._groups[training.kind, training.id].train(active, now)

    def training_status(self, call: GetTrainingStatus, now: float) -> Answer:
        """Handle a call."""
        prefix = _CODE_PREFIX[call.kind]
        if not _GROUP_ID.fullmatch(call.group_id):
            return face_error(400, "BadArgument", f"{prefix} ID is invalid.")
        group = self._groups.get((call.kind, call.group_id))
        if group is None:
            return face_error(404, f"{prefix}NotFound", f"{prefix} is not found.")
        if group.training is None:
            return face_error(404, f"{prefix}NotTrained", f"{prefix} was never trained.")
        return json_answer(200, group.result(group.training, now))

    def states(self, now: float) -> list[GroupState]:
        """All groups as they are."""
        return [
            GroupState(
                kind=kind,
                id=group_id,
                created_at=moment(group.created_at),
                status=None if group.training is None else group.training.status(now).value,
                last_success_at=None if (success := group.last_success_at(now)) is None else moment(success),
            )
            for (kind, group_id), group in self._groups.items()
        ]
