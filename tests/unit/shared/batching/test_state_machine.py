"""The batcher against a model of one page: whatever happens to messages and calls, in whatever order.

Messages are delivered, delivered twice at a time, cancelled, and delivered again when they came back. The service
responds in every way that it has. The model knows the order of the first arrivals and nothing else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.batching.batcher import Batcher
from shared.batching.outcome_types import APPLIED, ImageOutcome, NotApplied, Refused, Retry
from shared.errors import (
    AccessDenied,
    CallRefused,
    MaxWaitExceeded,
    RateLimited,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedResponse,
)
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing
from tests.unit.shared.batching.waiting import left_in
from tests.unit.shared.conftest import image, images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.messages.custom_vision_ids import ImageId

BATCH_SIZE = 4
IMAGES = 6
MAX_WAIT_SECONDS = 30.0
LONG_ENOUGH_SECONDS = 2000.0

TROUBLE: dict[str, Exception] = {
    "unavailable": Unavailable("503"),
    "asks for time": Unavailable("503", retry_after_seconds=3.0),
    "rate": RateLimited("429", retry_after_seconds=1.0),
    "access": AccessDenied("401"),
    "unforeseen": UnexpectedResponse("418"),
    "bug": ZeroDivisionError("ours"),
}


@dataclass(eq=False)
class Message:
    """A message of the queue. `number`: its place in the order of the first arrivals."""

    number: int
    key: str
    image_ids: tuple[ImageId, ...]
    deliveries: list[asyncio.Task[Mapping[ImageId, NotApplied]]] = field(default_factory=list)
    outcomes: dict[ImageId, ImageOutcome] | None = None

    @property
    def id(self) -> str:
        return f"message {self.number}"


@dataclass(frozen=True)
class Response:
    """To one call: after so many seconds, this trouble, before or after the update; `again` for these images."""

    seconds: float
    trouble: str | None = None
    is_late: bool = False
    again: frozenset[ImageId] = frozenset()


class Service:
    """Keeps the values that each image was given, and what it should never have been asked."""

    def __init__(self) -> None:
        self.responses: list[Response] = []
        self.bad: set[ImageId] = set()
        self.missing: set[ImageId] = set()
        self.bad_keys: set[str] = set()
        self.values: dict[ImageId, list[str]] = {}
        self.told: dict[ImageId, list[str]] = {}  # those of which the response was not lost
        self.refused_alone: set[tuple[str, ImageId]] = set()
        self.on_the_wire: list[ImageId] = []
        self.violations: list[str] = []

    async def send(self, key: str, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        if not 1 <= len(image_ids) <= BATCH_SIZE or len(set(image_ids)) < len(image_ids):
            self.violations.append(f"a call with {image_ids}")
        if set(self.on_the_wire) & set(image_ids):
            self.violations.append("an image in two calls at the same time")
        self.on_the_wire += image_ids
        response = self.responses.pop(0) if self.responses else Response(0.1)
        try:
            await asyncio.sleep(response.seconds)
            return self._respond(response, key, image_ids)
        finally:
            for image_id in image_ids:
                self.on_the_wire.remove(image_id)

    def _respond(self, response: Response, key: str, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        if response.trouble and not response.is_late:
            raise TROUBLE[response.trouble]
        if key in self.bad_keys:
            self.refused_alone |= {(key, image_id) for image_id in image_ids}
            raise SharedFieldsRefused("NotFoundProject", "no project")
        if self.bad & set(image_ids):
            self.refused_alone |= {(key, image_id) for image_id in image_ids}
            raise CallRefused("BadRequest", "some id")
        outcomes = {image_id: self._update(response, key, image_id) for image_id in image_ids}
        if response.trouble:
            raise TROUBLE[response.trouble]
        return outcomes

    def _update(self, response: Response, key: str, image_id: ImageId) -> ImageOutcome:
        if image_id in response.again:
            return Retry("status ErrorUnknown")
        if image_id in self.missing:
            self.refused_alone.add((key, image_id))
            return Refused("ErrorImageNotFound")
        self.values.setdefault(image_id, []).append(key)
        if not response.trouble:
            self.told.setdefault(image_id, []).append(key)
        return APPLIED


ids = st.integers(0, IMAGES - 1).map(image)
several = st.lists(ids, min_size=1, max_size=IMAGES, unique=True).map(tuple)
pauses = st.sampled_from([0.0, 0.1, 0.5, 1.0, 5.0, 40.0])
responses = st.builds(
    Response,
    st.sampled_from([0.0, 0.1, 2.0]),
    st.none() | st.sampled_from(sorted(TROUBLE)),
    st.booleans(),
    st.frozensets(ids, max_size=2),
)
choices = st.integers(0, 10**6)


class Batching(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=looptime.new_event_loop)
        self.messages: list[Message] = []
        self.service = Service()
        self.runner.run(self._build())

    async def _build(self) -> None:
        self.batcher = Batcher(
            self.service.send,
            Admission("API", EvenSpacing(1e6), uniform=lambda _, high: high),
            scope_of=lambda key: key[0],
            batch_size=BATCH_SIZE,
            linger_seconds=0.5,
            max_wait_seconds=MAX_WAIT_SECONDS,
            starvation_seconds=5.0,
            max_in_flight=3,
        )

    @initialize(shares_keys=st.booleans())
    def begin(self, shares_keys: bool) -> None:
        self.shares_keys = shares_keys

    @rule(letter=st.sampled_from("abc"), image_ids=several)
    def deliver(self, letter: str, image_ids: tuple[ImageId, ...]) -> None:
        number = len(self.messages)
        key = letter if self.shares_keys else f"{letter}{number}"
        self.messages.append(Message(number, key, image_ids))
        self._deliver(self.messages[-1])

    @rule(choice=choices)
    def deliver_again_what_came_back(self, choice: int) -> None:
        self._deliver_one_of([one for one in self.messages if self._is_back(one)], choice)

    @rule(choice=choices)
    def deliver_twice_at_a_time(self, choice: int) -> None:
        self._deliver_one_of([one for one in self.messages if one.outcomes is None], choice)

    @rule(choice=choices)
    def cancel(self, choice: int) -> None:
        waiting = [task for one in self.messages for task in one.deliveries if not task.done()]
        if waiting:
            waiting[choice % len(waiting)].cancel()
            self.let_time_pass(0.0)

    @rule(seconds=pauses)
    def let_time_pass(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule(more=st.lists(responses, min_size=1, max_size=4))
    def the_service_responds(self, more: list[Response]) -> None:
        self.service.responses += more

    @rule(image_id=ids, what=st.sampled_from(["bad", "missing", "good"]))
    def an_image_is(self, image_id: ImageId, what: str) -> None:
        self.service.bad.discard(image_id)
        self.service.missing.discard(image_id)
        if what != "good":
            getattr(self.service, what).add(image_id)

    @rule(number=st.integers(0, 5), letter=st.sampled_from("abc"))
    def a_key_is_bad(self, number: int, letter: str) -> None:
        self.service.bad_keys = {letter if self.shares_keys else f"{letter}{number}"}

    @invariant()
    def nothing_was_asked_that_may_not_be(self) -> None:
        assert not self.service.violations
        self._take_results()

    @invariant()
    def no_older_value_replaced_a_newer_one(self) -> None:
        """The values of each image are in the order in which their messages first arrived, repetitions aside."""
        if self.messages and not self.shares_keys:
            for values in self.service.told.values():
                numbers = [int(key[1:]) for key in values]
                assert numbers == sorted(numbers)

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self.runner.close()

    def _end(self) -> None:
        """The service is well again, and everything that came back is delivered until it is done with."""
        self.service.responses.clear()
        for _ in range(20):
            self.let_time_pass(LONG_ENOUGH_SECONDS)
            self._take_results()
            back = [one for one in self.messages if self._is_back(one)]
            if not back:
                break
            for message in reversed(back):
                self._deliver(message)
        self.nothing_was_asked_that_may_not_be()
        if hasattr(self, "shares_keys"):
            self.no_older_value_replaced_a_newer_one()
        for message in self.messages:
            assert message.outcomes is not None, f"{message.id} never ends"
        for image_id in images(IMAGES):
            self._check_last(image_id)
        assert not left_in(self.batcher), "something is left behind"
        for message in self.messages:
            self.batcher.forget(message.id)
        assert not self.batcher._memory._lacking
        self.runner.run(self.batcher.aclose())

    def _check_last(self, image_id: ImageId) -> None:
        """The image has the value of the last message that was told so, or of a later one whose response was lost."""
        wanted = [one for one in self.messages if image_id in one.image_ids]
        applied = [number for number, one in enumerate(wanted) if (one.outcomes or {}).get(image_id) == APPLIED]
        if applied:
            assert self.service.values[image_id][-1] in {one.key for one in wanted[applied[-1] :]}

    def _is_back(self, message: Message) -> bool:
        return message.outcomes is None and all(task.done() for task in message.deliveries)

    def _deliver_one_of(self, messages: list[Message], choice: int) -> None:
        if messages:
            self._deliver(messages[choice % len(messages)])

    def _deliver(self, message: Message) -> None:
        async def delivery() -> Mapping[ImageId, NotApplied]:
            return await self.batcher.submit(message.key, message.image_ids, message_id=message.id)

        message.deliveries.append(self.runner.get_loop().create_task(delivery()))
        self.let_time_pass(0.0)

    def _take_results(self) -> None:
        """A message is done with once a delivery has a final outcome for all of its images."""
        for message in self.messages:
            for task in [one for one in message.deliveries if one.done()]:
                message.deliveries.remove(task)
                if task.cancelled():
                    continue
                error = task.exception()
                if error is not None:
                    assert isinstance(error, MaxWaitExceeded | ZeroDivisionError)
                    continue
                not_applied = task.result()
                assert not_applied.keys() <= set(message.image_ids)
                for image_id, outcome in not_applied.items():
                    if isinstance(outcome, Refused):
                        assert (message.key, image_id) in self.service.refused_alone
                if not any(isinstance(outcome, Retry) for outcome in not_applied.values()):
                    told: dict[ImageId, ImageOutcome] = dict.fromkeys(message.image_ids, APPLIED)
                    message.outcomes = message.outcomes or told | dict(not_applied)


TestBatching = Batching.TestCase
TestBatching.settings = settings(deadline=None, derandomize=True, max_examples=60, stateful_step_count=40)
