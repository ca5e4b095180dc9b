"""What the batcher keeps whatever happens: random updates of a few images, under random trouble, on a virtual clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import looptime
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.batching.batcher import Batcher
from shared.batching.outcome_types import APPLIED, Applied, ImageOutcome, NotApplied, Refused, Retry
from shared.errors import (
    AccessDenied,
    ApiError,
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
    from collections.abc import Coroutine, Mapping, Sequence

    from shared.messages.custom_vision_ids import ImageId

T = TypeVar("T")

BATCH_SIZE = 64
IMAGES = 6
LONG_ENOUGH = 100_000.0
"""Seconds by the virtual clock after which a caller who still waits was forgotten."""
BAD_IMAGE = image(5)
"""Every call with it is refused as a whole while the service `minds` it."""

TROUBLE: dict[str, Exception] = {
    "unavailable": Unavailable("503"),
    "asks for time": Unavailable("503", retry_after_seconds=3.0),
    "rate": RateLimited("429"),
    "access": AccessDenied("401"),
    "suspect": CallRefused("BadRequest", "some id"),
    "shared": SharedFieldsRefused("NotFoundProject", "no project"),
    "unforeseen": UnexpectedResponse("418"),
    "bug": ZeroDivisionError("ours"),
}


@dataclass(frozen=True)
class Submission:
    """One update: when it arrives, and when its caller gives up, if it does."""

    pause: float
    key: str
    image_ids: tuple[ImageId, ...]
    gives_up_after: float | None


@dataclass(frozen=True)
class Reply:
    """How the service takes one call: this long, with this trouble, or these images not applied. `late`: the trouble
    comes after everything has been applied, as when the answer is lost on the way."""

    seconds: float
    trouble: str | None = None
    late: bool = False
    again: frozenset[ImageId] = frozenset()
    refused: frozenset[ImageId] = frozenset()


@dataclass
class Service:
    """Keeps the keys applied to each image, and notes what it should never have been asked."""

    replies: list[Reply]
    minds: bool
    on_the_wire: set[ImageId] = field(default_factory=set)
    applied: dict[ImageId, list[str]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    async def send(self, key: str, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        # noted, not raised: an error here is the batcher's to handle
        if not 1 <= len(image_ids) <= BATCH_SIZE:
            self.violations.append(f"{len(image_ids)} images in a call")
        if len(set(image_ids)) != len(image_ids):
            self.violations.append("the same image twice in a call")
        if self.on_the_wire & set(image_ids):
            self.violations.append("the same image in two calls at the same time")
        self.on_the_wire |= set(image_ids)
        try:
            return await self._reply(self.replies.pop(0) if self.replies else Reply(0.1), key, image_ids)
        finally:
            self.on_the_wire -= set(image_ids)

    async def _reply(self, reply: Reply, key: str, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        await asyncio.sleep(reply.seconds)
        if self.minds and BAD_IMAGE in image_ids:
            raise CallRefused("BadRequestInvalidIds", "an id is invalid")
        if reply.trouble and not reply.late:
            raise TROUBLE[reply.trouble]
        outcomes: dict[ImageId, ImageOutcome] = {one: self._take(reply, key, one) for one in image_ids}
        if reply.trouble:
            raise TROUBLE[reply.trouble]
        return outcomes

    def _take(self, reply: Reply, key: str, one: ImageId) -> ImageOutcome:
        if one in reply.again:
            return Retry("status ErrorUnknown")
        if one in reply.refused:
            return Refused("ErrorImageNotFound")
        self.applied.setdefault(one, []).append(key)
        return APPLIED


@dataclass
class Caller:
    """One update and what became of it."""

    submission: Submission
    task: asyncio.Task[Mapping[ImageId, NotApplied]]

    @property
    def outcomes(self) -> Mapping[ImageId, ImageOutcome] | Exception | None:
        """Of each of its images; None if it gave up."""
        if self.task.cancelled():
            return None
        error = self.task.exception()
        if error is not None:
            assert isinstance(error, Exception)
            return error
        return dict.fromkeys(self.submission.image_ids, APPLIED) | dict(self.task.result())

    def was_applied(self, image_id: ImageId) -> bool:
        """Whether it was told that this image is applied."""
        outcomes = self.outcomes
        return isinstance(outcomes, dict) and isinstance(outcomes.get(image_id), Applied)


async def play(submissions: list[Submission], service: Service, hold: float) -> list[Caller]:
    """Let every update arrive and end."""
    batcher = Batcher(
        service.send,
        Admission("API", EvenSpacing(1e6), uniform=lambda low, high: high),
        scope_of=lambda _: None,
        batch_size=BATCH_SIZE,
        linger_seconds=0.5,
        max_wait_seconds=hold,
        starvation_seconds=5.0,
        max_in_flight=3,
    )

    async def call(submission: Submission) -> Mapping[ImageId, NotApplied]:
        return await batcher.submit(submission.key, submission.image_ids)

    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    for submission in submissions:
        await asyncio.sleep(submission.pause)
        task = asyncio.ensure_future(call(submission))
        await asyncio.sleep(0)  # it arrives now, not when the next one does
        if submission.gives_up_after is not None:
            loop.call_later(submission.gives_up_after, task.cancel)
        callers.append(Caller(submission, task))
    async with asyncio.timeout(LONG_ENOUGH):
        await asyncio.wait([caller.task for caller in callers])
        while batcher._calls:  # what cancelled callers left on the wire ends by itself
            await asyncio.wait(batcher._calls)
            await asyncio.sleep(0)
    left = left_in(batcher)
    await batcher.aclose()
    assert not left, "something is left behind"
    assert not service.violations
    return callers


def run(coroutine: Coroutine[object, object, T]) -> T:
    """Run on a virtual clock."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(coroutine)


def times(longest: float) -> st.SearchStrategy[float]:
    """Few and round, so that things happen at the same moment."""
    return st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, longest])


ids = st.integers(0, IMAGES - 1).map(image)
several = st.lists(ids, min_size=1, max_size=IMAGES).map(tuple)
submissions = st.lists(
    st.builds(Submission, times(4.0), st.sampled_from("abc"), several, st.none() | st.none() | times(20.0)),
    min_size=1,
    max_size=14,
)
replies = st.lists(
    st.builds(
        Reply,
        times(6.0),
        st.none() | st.none() | st.sampled_from(sorted(TROUBLE)),
        st.booleans(),
        st.frozensets(ids, max_size=2),
        st.frozensets(ids, max_size=1),
    ),
    max_size=25,
)
holds = st.sampled_from([1e6, 1e6, 3.0, 30.0])


def numbered(script: list[Submission]) -> list[Submission]:
    """The same updates with a key for each, so that what the service has tells whose it is."""
    return [
        Submission(one.pause, f"{one.key}{number}", one.image_ids, one.gives_up_after)
        for number, one in enumerate(script)
    ]


def check_outcomes(callers: list[Caller]) -> None:
    """Every caller that did not give up has exactly one outcome, for all of its images and no others."""
    for caller in callers:
        outcomes = caller.outcomes
        if outcomes is None:
            assert caller.submission.gives_up_after is not None
        elif isinstance(outcomes, Exception):
            assert isinstance(outcomes, MaxWaitExceeded | ZeroDivisionError)
            assert not isinstance(outcomes, ApiError)
        else:
            assert outcomes.keys() == set(caller.submission.image_ids)


def check_last(callers: list[Caller], service: Service) -> None:
    """What was told to be applied was, or a later update was. Nothing came after the last update of an image."""
    for image_id in images(IMAGES):
        wanted_it = [caller for caller in callers if image_id in caller.submission.image_ids]
        for number, caller in enumerate(wanted_it):
            if caller.was_applied(image_id):
                keys = {one.submission.key for one in wanted_it[number:]}
                assert keys & set(service.applied[image_id])
        if wanted_it and wanted_it[-1].was_applied(image_id):
            assert service.applied[image_id][-1] == wanted_it[-1].submission.key


@settings(deadline=None, derandomize=True, max_examples=100)
@given(submissions, replies, st.booleans(), holds)
def test_every_image_ends_with_the_last_update_that_arrived_for_it(
    script: list[Submission], answers: list[Reply], minds: bool, hold: float
) -> None:
    """For each image: what the service applied, repetitions aside, is in the order of arrival, and if the last update
    that arrived for it was told to be applied, the service ends with it.

    This also holds for updates whose callers gave up and for calls that failed after they had been applied. It leaves
    out a call that the service applies after the client has given up waiting for it: nobody can order that.
    """
    service = Service(list(answers), minds)
    script = numbered(script)
    callers = run(play(script, service, hold))
    check_outcomes(callers)
    arrival = {one.key: number for number, one in enumerate(script)}
    for keys in service.applied.values():
        arrivals = [arrival[key] for key in keys]
        assert arrivals == sorted(arrivals), "an earlier update was applied after a later one"
    check_last(callers, service)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(submissions, replies, st.booleans(), holds)
def test_callers_who_share_keys_each_have_their_outcome_and_leave_nothing_behind(
    script: list[Submission], answers: list[Reply], minds: bool, hold: float
) -> None:
    service = Service(list(answers), minds)
    callers = run(play(script, service, hold))
    check_outcomes(callers)
    check_last(callers, service)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 400), st.sampled_from("ab")), min_size=1, max_size=8),
    replies,
)
def test_no_call_is_over_64_images_however_large_the_messages(
    script: list[tuple[int, int, str]], answers: list[Reply]
) -> None:
    updates = [
        Submission(0.1, key, tuple(image(first + number) for number in range(count)), None)
        for count, first, key in script
    ]
    callers = run(play(updates, Service(list(answers), minds=False), 1e6))
    check_outcomes(callers)
