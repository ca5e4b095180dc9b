"""What becomes of a training watch after a look, and how a tick works through the queue."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from shared.errors import AccessDenied, NotFound, RateLimited, Unavailable
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.pace import Pace
from shared.messages.event import EventType
from shared.messages.watch import GroupKind, Reported, TrainingWatch, parse_watch
from shared.services.events import EventPublisher
from shared.services.face import NOT_TRAINED, TrainingResult, TrainingStatus
from shared.services.queues import Received
from shared.training_watches import Decision, TrainingWatches, decide
from tests.unit.shared.conftest import UNLIMITED, NoChance
from tests.unit.shared.queues import FakeOutbox, FakeQueue, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
EARLIER, LATER = NOON - timedelta(hours=1), NOON + timedelta(hours=1)

SUCCEEDED = TrainingResult(status=TrainingStatus.SUCCEEDED, last_successful_training_date_time=NOON)
FAILED = TrainingResult(status=TrainingStatus.FAILED, last_action_date_time=NOON, message="no faces")
FAILED_SOMETIME = TrainingResult(status=TrainingStatus.FAILED)
RUNNING = TrainingResult(status=TrainingStatus.RUNNING, last_action_date_time=NOON)
GONE = NotFound("PersonGroupNotFound", "no such group")


def watch(**fields: Any) -> TrainingWatch:
    return TrainingWatch.model_validate({"kind": "personGroup", "id": "employees"}).model_copy(update=fields)


def reported(result: TrainingResult, times: int = 1) -> Reported:
    return Reported(status=result.status, completed_at=result.completed_at, times=times)


def repeating(result: TrainingResult, times: int = 1) -> TrainingWatch:
    """A repeating watch that has noted this result last."""
    return watch(repeat=True, reported=reported(result, times))


TOLD = repeating(SUCCEEDED)
OVER = watch(expires_at=EARLIER)

DECISIONS: dict[str, tuple[TrainingWatch, TrainingResult | NotFound | None, EventType | None, TrainingWatch | None]] = {
    # still training
    "not started": (watch(), NOT_TRAINED, None, watch()),
    "running": (watch(), RUNNING, None, watch()),
    # completed
    "succeeded": (watch(), SUCCEEDED, EventType.TRAINING_SUCCEEDED, None),
    "failed": (watch(), FAILED, EventType.TRAINING_FAILED, None),
    "failed, nobody knows when": (watch(), FAILED_SOMETIME, EventType.TRAINING_FAILED, None),
    # after
    "completed before after": (watch(after=LATER), SUCCEEDED, None, watch(after=LATER)),
    "completed at after": (watch(after=NOON), SUCCEEDED, None, watch(after=NOON)),
    "completed past after": (watch(after=EARLIER), SUCCEEDED, EventType.TRAINING_SUCCEEDED, None),
    "failed before after": (watch(after=LATER), FAILED, None, watch(after=LATER)),
    "failed nobody knows when, with after": (watch(after=LATER), FAILED_SOMETIME, EventType.TRAINING_FAILED, None),
    # repeat
    "the first of many": (watch(repeat=True), SUCCEEDED, EventType.TRAINING_SUCCEEDED, TOLD),
    "the same again": (TOLD, SUCCEEDED, None, TOLD),
    "the next one, without seeing it run": (
        TOLD,
        FAILED,
        EventType.TRAINING_FAILED,
        repeating(FAILED, times=2),
    ),
    "the same status at another time": (
        watch(repeat=True, reported=Reported(status="succeeded", completed_at=EARLIER)),
        SUCCEEDED,
        EventType.TRAINING_SUCCEEDED,
        repeating(SUCCEEDED, times=2),
    ),
    "the next one runs": (TOLD, RUNNING, None, repeating(RUNNING)),
    "the next one still runs": (
        repeating(RUNNING),
        RUNNING,
        None,
        repeating(RUNNING),
    ),
    "the next one has not started": (TOLD, NOT_TRAINED, None, repeating(NOT_TRAINED)),
    "the same failure, nobody knows when": (
        repeating(FAILED_SOMETIME),
        FAILED_SOMETIME,
        None,
        repeating(FAILED_SOMETIME),
    ),
    "another failure, nobody knows when": (
        repeating(RUNNING),
        FAILED_SOMETIME,
        EventType.TRAINING_FAILED,
        repeating(FAILED_SOMETIME, times=2),
    ),
    "reported before after": (watch(repeat=True, after=LATER), SUCCEEDED, None, watch(repeat=True, after=LATER)),
    # never
    "not found": (watch(), GONE, EventType.TRAINING_NOT_FOUND, None),
    "not found, repeating": (TOLD, GONE, EventType.TRAINING_NOT_FOUND, None),
    "not found and expired": (OVER, GONE, EventType.TRAINING_NOT_FOUND, None),
    "expired": (OVER, RUNNING, EventType.WATCH_EXPIRED, None),
    "expires now": (watch(expires_at=NOON), RUNNING, EventType.WATCH_EXPIRED, None),
    "expired, repeating": (watch(repeat=True, expires_at=EARLIER), NOT_TRAINED, EventType.WATCH_EXPIRED, None),
    "expires later": (watch(expires_at=LATER), RUNNING, None, watch(expires_at=LATER)),
    "completed and expired": (OVER, SUCCEEDED, EventType.TRAINING_SUCCEEDED, None),
    "reported and expired": (
        TOLD.model_copy(update={"expires_at": EARLIER}),
        SUCCEEDED,
        EventType.WATCH_EXPIRED,
        None,
    ),
    # service trouble
    "trouble": (watch(), None, None, watch()),
    "trouble, expired": (OVER, None, None, OVER),
    "trouble, repeating": (TOLD, None, None, TOLD),
}


@pytest.mark.parametrize(("before", "finding", "event", "following"), DECISIONS.values(), ids=DECISIONS)
def test_what_becomes_of_a_watch(
    before: TrainingWatch,
    finding: TrainingResult | NotFound | None,
    event: EventType | None,
    following: TrainingWatch | None,
) -> None:
    assert decide(before, finding, NOON) == Decision(event, following)


def test_a_repeating_watch_is_the_same_after_it_was_written_and_read() -> None:
    assert parse_watch(json.dumps(TOLD.to_dict()).encode()) == TOLD


@dataclass
class FakeFace:
    """Answers what `answer` says, which may raise, and counts the looks."""

    answer: Callable[[str], TrainingResult] = lambda group: RUNNING
    looks: Counter[tuple[GroupKind, str]] = field(default_factory=Counter)

    async def training(self, kind: GroupKind, group_id: str) -> TrainingResult:
        self.looks[kind, group_id] += 1
        await asyncio.sleep(0)
        return self.answer(group_id)


class Relay:
    """A watches queue and what works through it, between fakes."""

    def __init__(self, face: FakeFace, *, most: int = 1000, max_wait_seconds: float = 240.0) -> None:
        self.journal: list[str] = []
        self.face = face
        self.queue = FakeQueue(journal=self.journal, name="anew")
        self.poison = FakeOutbox(journal=self.journal, name="poison")
        self.events = FakeOutbox(journal=self.journal, name="event")
        self.watches = TrainingWatches(
            self.queue,
            self.poison,
            face,
            Admission("Face", Pace(UNLIMITED, rng=NoChance()), CircuitBreaker()),
            EventPublisher(self.events),
            source="https://face.example",
            lease_seconds=600,
            max_wait_seconds=max_wait_seconds,
            most=most,
        )

    def add(self, *bodies: bytes | dict[str, Any], time_to_live: timedelta | None = timedelta(days=7)) -> None:
        for body in bodies:
            raw = (
                body
                if isinstance(body, bytes)
                else json.dumps({"kind": "personGroup", "id": "employees", **body}).encode()
            )
            expires_at = datetime.now(UTC) + time_to_live if time_to_live is not None else None
            self.queue.waiting.append(Received(f"m{len(self.queue.waiting)}", "receipt", raw, 1, expires_at))


def _raise(error: Exception) -> NoReturn:
    raise error


def told(result: TrainingResult | Exception) -> FakeFace:
    def answer(group: str) -> TrainingResult:
        if isinstance(result, Exception):
            raise result
        return result

    return FakeFace(answer)


class TestTick:
    async def test_a_group_is_looked_at_once_and_each_of_its_watches_has_its_event(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add(
            *[{"correlationId": f"c{number}"} for number in range(10)], {"kind": "largeFaceList"}, {"id": "visitors"}
        )
        await relay.watches.tick()
        assert relay.face.looks == {
            (GroupKind.PERSON_GROUP, "employees"): 1,
            (GroupKind.LARGE_FACE_LIST, "employees"): 1,
            (GroupKind.PERSON_GROUP, "visitors"): 1,
        }
        assert Counter(event["subject"] for event in relay.events.documents) == {
            "persongroups/employees": 10,
            "largefacelists/employees": 1,
            "persongroups/visitors": 1,
        }
        assert len({event["id"] for event in relay.events.documents}) == 3
        assert len(relay.queue.deleted) == 12
        assert relay.queue.leases == [600]

    async def test_the_event_tells_what_face_told(self) -> None:
        relay = Relay(told(FAILED))
        relay.add({"correlationId": "c"})
        await relay.watches.tick()
        (event,) = relay.events.documents
        assert event["type"] == "VisionRelay.Training.Failed"
        assert event["source"] == "https://face.example"
        assert event["time"] == NOON.isoformat()
        assert event["data"] == {
            "kind": "personGroup",
            "id": "employees",
            "correlationId": "c",
            "status": "failed",
            "lastActionDateTime": "2026-01-31T12:00:00Z",
            "message": "no faces",
        }

    async def test_the_event_goes_before_the_watch(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({})
        await relay.watches.tick()
        assert relay.journal == ["event", "delete m0"]

    async def test_what_still_trains_is_put_back_unchanged(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({})
        await relay.watches.tick()
        assert relay.queue.put_back_with == {"m0": None}
        assert not relay.events.sent

    async def test_a_repeating_watch_is_put_back_with_what_was_reported(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({"repeat": True})
        await relay.watches.tick()
        text = relay.queue.put_back_with["m0"]
        assert text is not None
        assert parse_watch(text.encode()) == TOLD
        assert relay.journal == ["event", "put back m0"]

    @pytest.mark.parametrize(
        ("finding", "fields", "kind"),
        [
            (GONE, {"correlationId": "c"}, "VisionRelay.Training.NotFound"),
            (RUNNING, {"expiresAt": "2026-01-31T12:00:00Z"}, "VisionRelay.Training.WatchExpired"),
        ],
    )
    async def test_what_never_will_be_is_told_and_deleted(
        self, finding: TrainingResult | Exception, fields: dict[str, Any], kind: str
    ) -> None:
        first, second = Relay(told(finding)), Relay(told(finding))
        for relay in (first, second):
            relay.add(fields)
            await relay.watches.tick()
            assert [event["type"] for event in relay.events.documents] == [kind]
            assert relay.queue.deleted == ["m0"]
        assert first.events.documents[0]["id"] == second.events.documents[0]["id"]

    @pytest.mark.parametrize(
        ("finding", "fields"), [(GONE, {}), (RUNNING, {"expiresAt": "2026-01-31T12:00:00Z"}), (FAILED_SOMETIME, {})]
    )
    async def test_what_is_about_one_watch_has_an_id_of_its_own(
        self, finding: TrainingResult | Exception, fields: dict[str, Any]
    ) -> None:
        relay = Relay(told(finding))
        relay.add(fields, fields)
        await relay.watches.tick()
        first, second = relay.events.documents
        assert first["id"] != second["id"]

    async def test_failures_that_face_gives_no_time_are_told_from_one_another(self) -> None:
        relay = Relay(FakeFace())
        watched: dict[str, Any] = {"repeat": True}
        for finding in (FAILED_SOMETIME, RUNNING, FAILED_SOMETIME, RUNNING, FAILED_SOMETIME):
            relay.queue.waiting.clear()
            relay.add(watched)
            relay.face.answer = lambda group, finding=finding: finding  # type: ignore[misc]
            await relay.watches.tick()
            watched = json.loads(relay.queue.put_back_with["m0"] or "")
        assert len({event["id"] for event in relay.events.documents}) == 3

    async def test_an_expiry_is_of_the_time_that_the_watch_says_and_what_is_not_there_of_now(self) -> None:
        relay = Relay(told(GONE))
        relay.add({"expiresAt": "2999-01-31T12:00:00Z"})
        await relay.watches.tick()
        relay.face.answer = lambda group: SUCCEEDED
        relay.add({"expiresAt": "2026-02-01T00:00:00Z", "after": "2026-02-01T00:00:00Z"})
        await relay.watches.tick()
        not_found, expired = relay.events.documents
        assert datetime.fromisoformat(not_found["time"]) <= datetime.now(UTC)
        assert expired["time"] == "2026-02-01T00:00:00+00:00"

    @pytest.mark.parametrize("error", [Unavailable("503"), AccessDenied("401")])
    async def test_trouble_of_the_service_puts_its_watches_back(self, error: Exception) -> None:
        relay = Relay(told(error))
        relay.add({}, {})
        await relay.watches.tick()
        assert relay.queue.put_back_with == {"m0": None, "m1": None}
        assert sum(relay.face.looks.values()) == 1

    @pytest.mark.looptime
    async def test_a_look_that_came_too_early_is_made_again_within_the_tick(self) -> None:
        face = FakeFace()
        face.answer = lambda group: SUCCEEDED if face.looks.total() > 1 else _raise(RateLimited("429"))
        relay = Relay(face)
        relay.add({})
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]

    @pytest.mark.looptime
    async def test_a_look_that_had_to_wait_for_hold_puts_its_watches_back(self) -> None:
        relay = Relay(told(Unavailable("503", retry_after_seconds=600)), max_wait_seconds=100)
        relay.add({})
        await relay.watches.tick()  # trips the gate
        relay.queue.put_back_with.clear()
        relay.add({}, {"id": "visitors"})
        await relay.watches.tick()
        assert asyncio.get_running_loop().time() == 100
        assert sorted(relay.queue.put_back_with) == ["m0", "m1"]
        assert sum(relay.face.looks.values()) == 1

    async def test_no_more_than_most_are_taken(self) -> None:
        relay = Relay(told(SUCCEEDED), most=3)
        relay.add(*[{}] * 5)
        await relay.watches.tick()
        assert len(relay.queue.deleted) == 3
        assert len(relay.queue.waiting) == 2

    async def test_an_empty_queue_costs_no_look(self) -> None:
        relay = Relay(told(SUCCEEDED))
        await relay.watches.tick()
        assert not relay.face.looks


class TestTimeToLive:
    async def test_a_watch_whose_time_runs_short_is_written_anew_then_deleted(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"repeat": True, "correlationId": "c"}, time_to_live=timedelta(hours=23))
        await relay.watches.tick()
        assert relay.journal == ["anew", "delete m0"]
        assert relay.queue.documents == [
            {"kind": "personGroup", "id": "employees", "repeat": True, "correlationId": "c"}
        ]

    @pytest.mark.parametrize("time_to_live", [timedelta(hours=25), None])
    async def test_one_with_enough_of_it_is_put_back(self, time_to_live: timedelta | None) -> None:
        relay = Relay(told(RUNNING))
        relay.add({}, time_to_live=time_to_live)
        await relay.watches.tick()
        assert relay.journal == ["put back m0"]

    async def test_if_it_cannot_be_written_anew_it_is_not_deleted(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({}, time_to_live=timedelta(hours=1))
        relay.queue.fails = [unreachable()]
        await relay.watches.tick()
        assert relay.journal == []


class TestTrouble:
    async def test_a_watch_whose_event_cannot_be_published_stays(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({}, {"repeat": True})
        relay.events.fails = [unreachable(), unreachable()]
        await relay.watches.tick()
        assert relay.journal == []

    async def test_it_does_not_keep_the_others_from_being_settled(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({}, {}, {})
        relay.events.fails = [unreachable()]
        await relay.watches.tick()
        assert relay.queue.deleted == ["m1", "m2"]

    async def test_an_event_repeats_under_its_id_if_its_watch_could_not_be_deleted(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({})
        relay.queue.fails_to_delete = True
        await relay.watches.tick()
        relay.queue.fails_to_delete = False
        relay.add({})
        await relay.watches.tick()
        first, second = relay.events.documents
        assert first["id"] == second["id"]

    async def test_a_bug_at_one_group_leaves_the_others_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        def answer(group: str) -> TrainingResult:
            if group == "bad":
                raise ZeroDivisionError("a bug")
            return SUCCEEDED

        relay = Relay(FakeFace(answer))
        relay.add({"id": "bad"}, {"id": "good"})
        await relay.watches.tick()
        assert relay.queue.deleted == ["m1"]
        assert relay.queue.put_back_with == {"m0": None}
        assert "ZeroDivisionError" in caplog.text

    async def test_a_bug_at_one_watch_leaves_the_others_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({}, {}, {"id": "visitors"})
        relay.events.fails = [ZeroDivisionError("a bug")]
        await relay.watches.tick()
        assert len(relay.queue.deleted) == 2
        assert "ZeroDivisionError" in caplog.text


class TestMalformed:
    async def test_it_goes_to_poison_with_what_is_wrong_with_it(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": "a\nb"}, b"\xff", {})
        with caplog.at_level(logging.WARNING):
            await relay.watches.tick()
        assert relay.queue.deleted == ["m0", "m1"]
        assert relay.queue.put_back_with == {"m2": None}
        first, second = relay.poison.documents
        assert json.loads(first["body"])["kind"] == "a\nb"
        assert first["failure"]["message"].startswith("kind: input should be 'personGroup'")
        assert first["failure"]["reason"] == "invalid"
        assert second["body"] == "\\xff"
        assert all(record.getMessage().isprintable() for record in caplog.records)

    async def test_one_that_cannot_be_written_there_stays_and_is_not_said_to_be_a_dead_letter(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": 1}, {})
        relay.poison.fails = [unreachable()]
        await relay.watches.tick()
        assert relay.journal == ["put back m1"]
        assert "stays in its queue" in caplog.text
        assert "is dead-lettered" not in caplog.text

    async def test_it_is_said_to_be_a_dead_letter_once_it_is_one(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": 1})
        relay.queue.fails_to_delete = True
        await relay.watches.tick()
        assert "is dead-lettered" in caplog.text
