"""The whole simulation without HTTP: a call in, a reply out."""

import asyncio
import time
from collections.abc import Callable, Mapping

from local.simulation.answers import Answer, Reply
from local.simulation.calls import Call, GetImagesByIds, GetIteration, PublishEvents, UpdateImageMetadata
from local.simulation.counters import MARKED_IMAGE
from local.simulation.custom_vision import CustomVision
from local.simulation.event_grid import EventGrid
from local.simulation.face import Face
from local.simulation.faults import IMAGE_FAULTS, REFUSALS, SPOILERS, Refusal
from local.simulation.gateway import Credentials, Gateway
from local.simulation.identity import Identity
from local.simulation.iterations import Iterations
from local.simulation.models import Api, Counters, Fault, IterationTraining

Clock = Callable[[], float]


def steady_clock() -> Clock:
    """A clock that tells seconds since the epoch and, unlike the machine's, never goes back."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class Simulation:
    """All services with their gateways; everything lives in memory and on one event loop."""

    def __init__(self, credentials: Credentials, clock: Clock | None = None) -> None:
        self.clock = clock or steady_clock()
        self._credentials = credentials
        self.reset()

    def reset(self) -> None:
        """Forget everything, counters and settings included; only the credentials stay."""
        now = self.clock()
        self.custom_vision = CustomVision()
        self.iterations = Iterations(self.custom_vision.projects)
        self.face = Face()
        self.event_grid = EventGrid()
        self.identity = Identity(self._credentials.identity_header)
        self.gateways = {api: Gateway(api, self._credentials, self.identity, now) for api in Api}
        self.wrong_paths = 0

    def counters(self) -> Counters:
        """What was asked so far."""
        return Counters(
            custom_vision=self.gateways[Api.CUSTOM_VISION].counters.snapshot(),
            face=self.gateways[Api.FACE].counters.snapshot(),
            event_grid=self.gateways[Api.EVENT_GRID].counters.snapshot(),
            wrong_paths=self.wrong_paths,
            images_updated=self.custom_vision.images_updated,
        )

    def train_iteration(self, asked: IterationTraining) -> None:
        """Start the training of an iteration, in a project that is made if need be."""
        self.custom_vision.add_images(asked.project_id, (), {})
        self.iterations.train(asked, self.clock())

    async def reply(self, gateway: Gateway, call: Call, headers: Mapping[str, str]) -> Reply:
        """Handle a call. It takes effect after its latency, if at all, whether or not the client still waits."""
        reply = gateway.turn_away(headers, self.clock())
        if reply is None:
            if delay_seconds := gateway.draw_latency():
                await asyncio.sleep(delay_seconds)
            fault = gateway.faults.draw()
            fired = self.custom_vision.marks_fired
            reply = self._serve(call, {}) if fault is None else self._misbehave(gateway, call, fault)
            if self.custom_vision.marks_fired > fired:
                gateway.counters.faults[MARKED_IMAGE] += 1
        gateway.counters.replied(reply)
        return reply

    def _serve(self, call: Call, disturbed: Mapping[str, str | None]) -> Answer:
        if isinstance(call, UpdateImageMetadata):
            return self.custom_vision.update_image_metadata(call, disturbed)
        if isinstance(call, GetImagesByIds):
            return self.custom_vision.get_images_by_ids(call)
        if isinstance(call, PublishEvents):
            return self.event_grid.publish(call)
        if isinstance(call, GetIteration):
            return self.iterations.answer(call, self.clock())
        return self.face.training_status(call, self.clock())

    def _misbehave(self, gateway: Gateway, call: Call, fault: Fault) -> Reply:
        """Reply with a fault, and count it if it took place: an answer that is an error anyway has nothing to spoil."""
        if fault.kind in REFUSALS:
            reply = REFUSALS[fault.kind](Refusal(gateway.api, fault.retry_after_seconds, self.clock()))
            took_place = True
        elif fault.kind in SPOILERS:
            answer = self._serve(call, {})
            reply = SPOILERS[fault.kind](fault, answer)
            took_place = reply is not answer
        else:
            disturbed = _disturbance(gateway, call, fault)
            answer = self._serve(call, disturbed)
            reply = answer
            took_place = answer.is_success and bool(disturbed)
        if took_place:
            gateway.counters.faults[fault.kind.value] += 1
        return reply


def _disturbance(gateway: Gateway, call: Call, fault: Fault) -> dict[str, str | None]:
    if not isinstance(call, UpdateImageMetadata) or not call.image_ids:
        return {}
    return {gateway.faults.choose_image(call.image_ids): IMAGE_FAULTS[fault.kind]}
