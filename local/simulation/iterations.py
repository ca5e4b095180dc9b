"""Custom Vision Training 3.3, GetIteration: its rules, without HTTP, key and rate.

The fields are those of the reference's Iteration that speak of a training. `trainedAt` is null until it has ended;
`lastModified` moves with every change of the iteration.
"""

import re
from collections.abc import Container
from dataclasses import dataclass

from local.simulation.answers import Answer, json_answer
from local.simulation.calls import GetIteration
from local.simulation.custom_vision import custom_vision_error
from local.simulation.models import IterationTraining
from local.simulation.trainings import ActiveTraining, Status, timestamp

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = {Status.RUNNING: "Training", Status.SUCCEEDED: "Completed", Status.FAILED: "Failed"}


@dataclass(frozen=True, slots=True)
class _Iteration:
    training: ActiveTraining
    status: str | None

    def document(self, call: GetIteration, now: float) -> dict[str, object]:
        status = self.training.status(now)
        ended = status is not Status.RUNNING
        ended_at = timestamp(self.training.ends_at)
        return {
            "id": call.iteration_id,
            "name": "Iteration 1",
            "status": self.status or _WORDS[status],
            "created": timestamp(self.training.asked_at),
            "lastModified": ended_at if ended else timestamp(self.training.asked_at),
            "trainedAt": ended_at if ended else None,
            "projectId": call.project_id,
            "exportable": False,
            "trainingType": "Regular",
        }


class Iterations:
    """The iterations of all projects. Times are in seconds since the epoch."""

    def __init__(self, projects: Container[str]) -> None:
        self._projects = projects
        self._iterations: dict[tuple[str, str], _Iteration] = {}

    def train(self, asked: IterationTraining, now: float) -> None:
        """Start the training of an iteration, in place of an earlier one with its id."""
        training = ActiveTraining(now, now, now + asked.running_seconds, "failed" if asked.fails else None)
        self._iterations[asked.project_id, asked.id] = _Iteration(training, asked.status)

    def answer(self, call: GetIteration, now: float) -> Answer:
        """Handle a call."""
        if not _UUID.fullmatch(call.project_id) or not _UUID.fullmatch(call.iteration_id):
            return custom_vision_error("BadRequestInvalidIds", "An id is not a UUID.")
        if call.project_id not in self._projects:
            return custom_vision_error("NotFoundProject", "Project not found.")
        iteration = self._iterations.get((call.project_id, call.iteration_id))
        if iteration is None:
            return custom_vision_error("NotFoundIteration", "Iteration not found.")
        return json_answer(200, iteration.document(call, now))
