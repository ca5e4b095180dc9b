"""How a tick works through the queue of training watches."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from shared.errors import AccessDenied, RateLimited, Unavailable, UnexpectedResponse
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing
from shared.messages.cloud_event import WrittenEvent
from shared.messages.watch import KINDS, Api, Target, parse_watch
from shared.services.events import EventPublisher
from shared.services.queues import Received
from shared.telemetry import Telemetry
from shared.training_watches import Service, TrainingWatches
from tests.contracts import problems_of_event
from tests.unit.shared.conftest import UNLIMITED, FakeApi, images, new_batcher
from tests.unit.shared.queues import FakeOutbox, FakeQueue, unreachable
from tests.unit.shared.trainings import (
    EARLIER,
    EDITED,
    FAILED,
    FAILED_SOMETIME,
    GONE,
    ITERATION,
    NOON,
    PROJECT,
    RUNNING,
    SUCCEEDED,
    UNREADABLE,
    noted,
    repeating,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.messages.training import TrainingResult


PATIENCE_SECONDS = 5.0


@dataclass
class FakeFace:
    """Answers what `answer` says, which may raise, and counts the polls."""

    answer: Callable[[str], TrainingResult] = lambda group: RUNNING
    polls: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def poll(self, target: Target) -> TrainingResult:
        self.polls[target.kind, target.id] += 1
        await asyncio.sleep(0)
        return self.answer(target.id)


def new_service(face: FakeFace, calls_per_second: float = UNLIMITED) -> Service:
    admission = Admission("Face", EvenSpacing(calls_per_second))
    return Service(face.poll, admission, calls_per_second, source="https://face.example")


class Relay:
    """A watches queue and what works through it, between fakes."""

    def __init__(
        self,
        face: FakeFace,
        *,
        most: int = 1000,
        max_wait_seconds: float = 240.0,
        calls_per_second: float = UNLIMITED,
        allowed: float | None = None,
        iterations: Service | None = None,
    ) -> None:
        self.journal: list[str] = []
        self.face = face
        self.queue = FakeQueue(journal=self.journal, name="anew")
        self.poison = FakeOutbox(journal=self.journal, name="poison")
        self.events = FakeOutbox(journal=self.journal, name="event")
        self.service = replace(new_service(face, allowed or calls_per_second), calls_per_second=calls_per_second)
        self.watches = TrainingWatches(
            self.queue,
            self.poison,
            {Api.FACE: self.service} if iterations is None else {Api.FACE: self.service, Api.CUSTOM_VISION: iterations},
            EventPublisher(self.events),
            source="https://vision.example",
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
    async def test_a_group_is_polled_once_and_each_of_its_watches_has_its_event(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add(
            *[{"correlationId": f"c{number}"} for number in range(10)], {"kind": "largeFaceList"}, {"id": "visitors"}
        )
        await relay.watches.tick()
        assert relay.face.polls == {
            ("personGroup", "employees"): 1,
            ("largeFaceList", "employees"): 1,
            ("personGroup", "visitors"): 1,
        }
        assert Counter(event["subject"] for event in relay.events.documents) == {
            "persongroups/employees": 10,
            "largefacelists/employees": 1,
            "persongroups/visitors": 1,
        }
        assert len(relay.queue.deleted) == 12
        assert set(relay.queue.leases) == {600}

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
        assert relay.journal == ["write m0", "event", "delete m0"]

    async def test_what_still_trains_is_noted_once_and_then_put_back_unchanged(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({})
        await relay.watches.tick()
        text = relay.queue.put_back_with["m0"]
        assert text is not None
        relay.add(text.encode())
        await relay.watches.tick()
        assert relay.queue.put_back_with["m0"] is None
        assert not relay.events.sent

    async def test_a_repeating_watch_is_put_back_with_what_was_reported(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({"repeat": True})
        await relay.watches.tick()
        text = relay.queue.put_back_with["m0"]
        assert text is not None
        assert parse_watch(text.encode()) == repeating(SUCCEEDED, since=None)
        assert relay.journal == ["write m0", "event", "put back m0"]

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

    @pytest.mark.parametrize(("finding", "fields"), [(GONE, {}), (RUNNING, {"expiresAt": "2026-01-31T12:00:00Z"})])
    async def test_what_is_about_one_watch_has_an_id_of_its_own(
        self, finding: TrainingResult | Exception, fields: dict[str, Any]
    ) -> None:
        relay = Relay(told(finding))
        relay.add(fields, {**fields, "repeat": True})
        await relay.watches.tick()
        first, second = relay.events.documents
        assert first["id"] != second["id"]

    async def test_failures_are_told_from_one_another_by_what_was_seen_between_them(self) -> None:
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
        relay.add({}, {"repeat": True})
        await relay.watches.tick()
        assert relay.queue.put_back_with == {"m0": None, "m1": None}
        assert sum(relay.face.polls.values()) == 1

    async def test_what_a_page_before_had_is_settled_if_the_next_cannot_be_read(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add(*[{}] * 40)
        relay.queue.fails_to_receive = [None, unreachable()]
        await relay.watches.tick()
        assert len(relay.queue.deleted) == 32
        assert "no more watches are collected now" in caplog.text

    async def test_a_queue_that_cannot_be_read_is_logged_and_ends_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The timer has other work."""
        relay = Relay(told(SUCCEEDED))
        relay.add({})
        relay.queue.fails_to_receive = [unreachable()]
        await relay.watches.tick()
        assert "no more watches are collected now" in caplog.text
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]

    @pytest.mark.looptime
    async def test_a_poll_that_came_too_early_is_made_again_within_the_tick(self) -> None:
        face = FakeFace()
        face.answer = lambda group: SUCCEEDED if face.polls.total() > 1 else _raise(RateLimited("429"))
        relay = Relay(face)
        relay.add({})
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]

    @pytest.mark.looptime
    async def test_so_is_one_that_takes_longer_than_a_tick_is_patient(self) -> None:
        face = FakeFace()

        async def slowly(target: Target) -> TrainingResult:
            await asyncio.sleep(PATIENCE_SECONDS * 2)
            return await FakeFace.poll(face, target)

        face.answer = lambda group: SUCCEEDED if face.polls.total() > 1 else _raise(RateLimited("429"))
        face.poll = slowly  # type: ignore[method-assign]
        relay = Relay(face)
        relay.add({})
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]

    @pytest.mark.looptime
    async def test_one_that_came_too_early_after_the_deadline_is_left_to_the_next_tick(self) -> None:
        face = FakeFace(lambda group: _raise(RateLimited("429")))

        async def slowly(target: Target) -> TrainingResult:
            await asyncio.sleep(20)
            return await FakeFace.poll(face, target)

        face.poll = slowly  # type: ignore[method-assign]
        relay = Relay(face, max_wait_seconds=10)
        relay.add({})
        async with asyncio.timeout(1000):
            await relay.watches.tick()
        assert face.polls.total() == 1
        assert relay.queue.put_back_with == {"m0": None}

    @pytest.mark.looptime
    async def test_a_tick_with_nothing_else_to_do_does_not_wait_long_for_a_suspended_service(self) -> None:
        relay = Relay(told(Unavailable("503", retry_after_seconds=600)), max_wait_seconds=100)
        relay.add({})
        await relay.watches.tick()  # trips the circuit breaker
        relay.queue.put_back_with.clear()
        relay.add({}, {"id": "visitors"})
        await relay.watches.tick()
        assert asyncio.get_running_loop().time() == PATIENCE_SECONDS
        assert sorted(relay.queue.put_back_with) == ["m0", "m1"]
        assert sum(relay.face.polls.values()) == 1

    async def test_no_more_than_most_are_taken(self) -> None:
        relay = Relay(told(SUCCEEDED), most=3)
        relay.add(*[{}] * 5)
        await relay.watches.tick()
        assert len(relay.queue.deleted) == 3
        assert len(relay.queue.waiting) == 2

    async def test_an_empty_queue_costs_no_poll(self) -> None:
        relay = Relay(told(SUCCEEDED))
        await relay.watches.tick()
        assert not relay.face.polls


def now_answers(relay: Relay, result: TrainingResult) -> None:
    relay.face.answer = lambda group: result


async def tick_with(relay: Relay, *fields: dict[str, Any], finding: TrainingResult) -> list[dict[str, Any]]:
    """A tick that finds this for new watches, and for them alone; returns their events."""
    now_answers(relay, finding)
    relay.queue.waiting.clear()
    before = len(relay.events.sent)
    relay.add(*fields)
    await relay.watches.tick()
    return relay.events.documents[before:]


def ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["id"] for event in events]


def event_of(text: str) -> WrittenEvent:
    """The event that a watch is written with."""
    event = parse_watch(text.encode()).event
    assert event is not None
    return event


class TestEventId:
    """One id per distinct event: whoever keeps ids loses nothing and is told nothing twice."""

    @pytest.mark.parametrize("finding", [SUCCEEDED, UNREADABLE, FAILED, FAILED_SOMETIME])
    async def test_watches_of_one_training_share_it_if_they_share_their_correlation_id(
        self, finding: TrainingResult
    ) -> None:
        fields: list[dict[str, Any]] = [
            {"correlationId": "a"},
            {"correlationId": "b"},
            {"correlationId": "a", "repeat": True},
            {},
            {"repeat": True},
            {"expiresAt": "2999-01-01T00:00:00Z"},
        ]
        a, b, a_again, none, none_repeating, none_expiring = ids(
            await tick_with(Relay(FakeFace()), *fields, finding=finding)
        )
        assert a == a_again
        assert none == none_repeating == none_expiring
        assert len({a, b, none}) == 3

    @pytest.mark.parametrize("microseconds", [11_000, 11_456, 11_999])
    async def test_a_date_told_with_other_precision_is_the_same_date(self, microseconds: int) -> None:
        told = SUCCEEDED.model_copy(
            update={"last_successful_training_date_time": NOON.replace(microsecond=microseconds)}
        )
        precise = SUCCEEDED.model_copy(update={"last_successful_training_date_time": NOON.replace(microsecond=11_567)})
        (first,) = await tick_with(Relay(FakeFace()), {}, finding=precise)
        (second,) = await tick_with(Relay(FakeFace()), {}, finding=told)
        assert first["id"] == second["id"]

    @pytest.mark.parametrize("later", [timedelta(milliseconds=1), timedelta(seconds=1), timedelta(days=1)])
    async def test_another_success_is_another_event(self, later: timedelta) -> None:
        another = SUCCEEDED.model_copy(update={"last_successful_training_date_time": NOON + later})
        (first,) = await tick_with(Relay(FakeFace()), {}, finding=SUCCEEDED)
        (second,) = await tick_with(Relay(FakeFace()), {}, finding=another)
        assert first["id"] != second["id"]

    async def test_one_failed_training_is_one_event_although_its_group_is_edited(self) -> None:
        relay = Relay(FakeFace())
        (first,) = await tick_with(relay, {}, finding=FAILED)
        (second,) = await tick_with(relay, {}, finding=EDITED)
        (elsewhere,) = await tick_with(Relay(FakeFace()), {}, finding=EDITED)
        assert first["id"] == second["id"] == elsewhere["id"]

    async def test_so_it_is_for_a_watch_that_comes_when_others_saw_the_training_run(self) -> None:
        relay = Relay(FakeFace())
        await tick_with(relay, {}, finding=RUNNING)
        waited = json.loads(relay.queue.put_back_with["m0"] or "")
        (first,) = await tick_with(relay, waited, finding=FAILED)
        (late,) = await tick_with(relay, {}, finding=EDITED)
        assert first["id"] == late["id"]

    async def test_and_after_a_restart_in_between(self) -> None:
        before, after = Relay(FakeFace()), Relay(FakeFace())
        await tick_with(before, {}, finding=RUNNING)
        waited = json.loads(before.queue.put_back_with["m0"] or "")
        (first,) = await tick_with(before, waited, finding=FAILED)
        second, new = await tick_with(after, waited, {}, finding=EDITED)
        assert first["id"] == second["id"] == new["id"]

    async def test_a_failure_that_follows_another_is_another_event_if_it_was_seen_under_way(self) -> None:
        relay = Relay(FakeFace())
        (first,) = await tick_with(relay, {}, finding=FAILED)
        await tick_with(relay, {}, finding=RUNNING)
        waited = json.loads(relay.queue.put_back_with["m0"] or "")
        (second,) = await tick_with(relay, waited, finding=FAILED)
        await tick_with(relay, {}, finding=RUNNING)
        third_waited = json.loads(relay.queue.put_back_with["m0"] or "")
        (third,) = await tick_with(Relay(FakeFace()), third_waited, finding=FAILED)
        assert len({first["id"], second["id"], third["id"]}) == 3

    async def test_a_failure_after_another_success_is_another_event(self) -> None:
        since = FAILED.model_copy(update={"last_successful_training_date_time": EARLIER})
        (first,) = await tick_with(Relay(FakeFace()), {}, finding=FAILED)
        (second,) = await tick_with(Relay(FakeFace()), {}, finding=since)
        assert first["id"] != second["id"]

    async def test_what_is_kept_to_tell_trainings_apart_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.watch_decisions.MAX_TRAININGS", 3)
        relay = Relay(told(RUNNING))
        relay.add(*({"id": f"group-{number}"} for number in range(10)))
        await relay.watches.tick()
        assert len(relay.watches._seen_trainings._last) == 3
        for number in range(10):
            relay.watches._seen_trainings.recall(noted(watch(id=f"another-{number}"), FAILED))
        assert len(relay.watches._seen_trainings._last) == 3


class TestWrittenEvent:
    """An event stands in its watch before it goes out: whoever finds the watch publishes that event and no other."""

    async def told_in_part(self, fields: dict[str, Any], finding: TrainingResult) -> str:
        """A watch as it is after a tick in which not all who take events have taken its event."""
        relay = Relay(FakeFace())
        relay.events.fails = [unreachable()]
        await tick_with(relay, fields, finding=finding)
        assert not relay.queue.deleted
        return relay.queue.written["m0"]

    async def test_a_failure_keeps_its_id_in_another_process_that_did_not_see_it_under_way(self) -> None:
        seen = Relay(FakeFace())
        await tick_with(seen, {}, finding=RUNNING)  # and what was noted is lost
        seen.events.fails = [unreachable()]
        await tick_with(seen, {}, finding=FAILED)
        first = event_of(seen.queue.written["m0"])
        again = Relay(FakeFace())
        (second,) = await tick_with(again, json.loads(seen.queue.written["m0"]), finding=FAILED)
        assert WrittenEvent.model_validate(second) == first

    @pytest.mark.parametrize("later", [RUNNING, FAILED, SUCCEEDED, GONE])
    async def test_it_goes_out_although_the_training_is_another_by_then(
        self, later: TrainingResult | Exception
    ) -> None:
        written = await self.told_in_part({"correlationId": "c"}, finding=FAILED)
        relay = Relay(told(later))
        relay.add(json.loads(written))
        await relay.watches.tick()
        assert [WrittenEvent.model_validate_json(text) for text in relay.events.sent] == [event_of(written)]
        assert relay.queue.deleted == ["m0"]
        assert not relay.face.polls

    async def test_it_goes_out_before_the_tick_ends_although_no_more_can_be_collected(self) -> None:
        written = await self.told_in_part({}, finding=FAILED)
        relay = Relay(FakeFace())
        relay.add(json.loads(written))
        relay.queue.fails_to_receive = [None, unreachable()]
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]

    async def test_a_repeating_watch_goes_on_without_it(self) -> None:
        written = await self.told_in_part({"repeat": True}, finding=SUCCEEDED)
        relay = Relay(told(RUNNING))
        relay.add(json.loads(written))
        await relay.watches.tick()
        assert len(relay.events.sent) == 1
        assert parse_watch((relay.queue.put_back_with["m0"] or "").encode()) == repeating(SUCCEEDED, since=None)

    async def test_a_repeating_watch_that_has_come_to_its_end_does_not(self) -> None:
        written = await self.told_in_part({"repeat": True, "expiresAt": EARLIER.isoformat()}, finding=RUNNING)
        relay = Relay(told(RUNNING))
        relay.add(json.loads(written))
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]

    async def test_one_that_cannot_be_written_is_not_published(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({})
        relay.queue.fails_to_write = True
        await relay.watches.tick()
        assert relay.journal == []

    async def test_the_watch_stays_ours_meanwhile(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({})
        await relay.watches.tick()
        assert set(relay.queue.leases) == {600}

    async def test_one_whose_time_to_live_runs_short_is_written_into_a_new_message(self) -> None:
        """Its topic may be away for longer than the producer let the message live."""
        relay = Relay(told(SUCCEEDED))
        relay.add({}, time_to_live=timedelta(hours=23))
        await relay.watches.tick()
        assert relay.journal == ["anew", "delete m0"]
        relay.add(*relay.queue.documents, time_to_live=None)
        await relay.watches.tick()
        assert [WrittenEvent.model_validate_json(text) for text in relay.events.sent] == [event_of(relay.queue.sent[0])]

    async def test_one_that_waits_for_its_topic_outlives_its_producers_time_to_live(self) -> None:
        written = await self.told_in_part({}, finding=SUCCEEDED)
        relay = Relay(FakeFace())
        relay.add(json.loads(written), time_to_live=timedelta(minutes=20))
        relay.events.fails = [unreachable()]
        await relay.watches.tick()
        assert relay.journal == ["anew", "delete m0"]

    async def test_a_new_watch_of_that_training_has_the_same_event(self) -> None:
        seen = Relay(FakeFace())
        await tick_with(seen, {}, finding=RUNNING)
        waited = json.loads(seen.queue.put_back_with["m0"] or "")
        seen.events.fails = [unreachable()]
        await tick_with(seen, waited, finding=FAILED)
        first, second = await tick_with(Relay(FakeFace()), json.loads(seen.queue.written["m0"]), {}, finding=EDITED)
        assert first["id"] == second["id"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"id": 1},
            {"id": ""},
            {"source": ""},
            {"type": "VisionRelay.ImageMetadata.Rejected"},
            {"type": "Somebody.Else"},
            {"subject": "persongroups/others"},
            {"data": {"id": 1e999}},
            {"data": "text"},
            {"specversion": "2.0"},
            {"time": "noon"},
            {"more": 1},
        ],
    )
    async def test_what_is_no_event_of_this_watch_makes_it_invalid(self, wrong: dict[str, Any]) -> None:
        written = await self.told_in_part({}, finding=SUCCEEDED)
        document = json.loads(written)
        relay = Relay(told(SUCCEEDED))
        relay.add({**document, "event": {**document["event"], **wrong}})
        await relay.watches.tick()
        (letter,) = relay.poison.documents
        assert letter["failure"]["reason"] == "invalid"
        assert [event["type"] for event in relay.events.documents] == ["VisionRelay.Training.WatchRejected"]


class TestTurns:
    """Every watch has its turn, whatever their number: the longest not polled goes first."""

    @pytest.mark.looptime
    @pytest.mark.parametrize("max_wait_seconds", [1, 5, 240])
    async def test_80_groups_at_4_a_second_are_polled_equally_often(self, max_wait_seconds: float) -> None:
        relay = Relay(told(RUNNING), max_wait_seconds=max_wait_seconds, calls_per_second=4)
        relay.queue.is_visible_again = True
        relay.add(*({"id": f"group-{number}"} for number in range(80)))
        loop = asyncio.get_running_loop()
        while loop.time() < 60:
            await relay.watches.tick()
            assert max(relay.face.polls.values()) - min(relay.face.polls.values()) <= 1 or len(relay.face.polls) < 80
        assert len(relay.face.polls) == 80
        assert relay.face.polls.total() >= 0.9 * 4 * 60

    @pytest.mark.looptime
    async def test_so_they_are_if_the_service_allows_less_than_the_setting_says(self) -> None:
        relay = Relay(told(RUNNING), max_wait_seconds=20, calls_per_second=1000, allowed=4)
        relay.queue.is_visible_again = True
        relay.add(*({"id": f"group-{number}"} for number in range(80)))
        while relay.face.polls.total() < 240:
            await relay.watches.tick()
        assert max(relay.face.polls.values()) - min(relay.face.polls.values()) <= 1

    @pytest.mark.looptime
    async def test_a_tick_collects_no_more_than_it_can_poll(self) -> None:
        relay = Relay(told(RUNNING), max_wait_seconds=5, calls_per_second=4)
        relay.add(*({"id": f"group-{number}"} for number in range(80)))
        await relay.watches.tick()
        assert relay.face.polls.total() == 20
        assert len(relay.queue.waiting) == 80 - 20

    async def test_it_collects_one_at_least_however_low_the_rate_is(self) -> None:
        relay = Relay(told(SUCCEEDED), max_wait_seconds=5, calls_per_second=0.01)
        relay.add({})
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]

    async def test_watches_of_the_same_group_are_collected_with_it(self) -> None:
        relay = Relay(told(SUCCEEDED), max_wait_seconds=1, calls_per_second=40)
        relay.add(*[{}] * 500)
        await relay.watches.tick()
        assert len(relay.queue.deleted) == 500

    @pytest.mark.looptime
    async def test_what_had_no_turn_is_put_back_before_what_had_one(self) -> None:
        relay = Relay(told(RUNNING), max_wait_seconds=2.5, calls_per_second=1000, allowed=1)
        watched = noted(watch(), RUNNING, 0).to_dict()
        relay.add(*({**watched, "id": f"group-{number}"} for number in range(6)))
        await relay.watches.tick()
        assert [line.removeprefix("put back ") for line in relay.journal] == ["m3", "m4", "m5", "m0", "m1", "m2"]

    @pytest.mark.looptime
    async def test_an_expired_watch_that_had_no_turn_is_polled_before_it_ends(self) -> None:
        relay = Relay(told(SUCCEEDED), max_wait_seconds=1, calls_per_second=1000, allowed=1)
        relay.queue.is_visible_again = True
        relay.add(*({"id": f"group-{number}", "expiresAt": EARLIER.isoformat()} for number in range(10)))
        while len(relay.queue.deleted) < 10:
            await relay.watches.tick()
        assert {event["type"] for event in relay.events.documents} == {"VisionRelay.Training.Succeeded"}

    @pytest.mark.looptime
    async def test_a_service_whose_calls_are_suspended_does_not_hold_up_another(self) -> None:
        down = FakeFace(lambda _: _raise(Unavailable("503", retry_after_seconds=600)))
        relay = Relay(told(SUCCEEDED), iterations=new_service(down))
        relay.add(ITERATION, {**ITERATION, "repeat": True}, {**ITERATION, "id": PROJECT}, {}, {"id": "visitors"})
        await relay.watches.tick()
        assert relay.queue.deleted == ["m3", "m4"]
        assert sorted(relay.queue.put_back_with) == ["m0", "m1", "m2"]
        assert asyncio.get_running_loop().time() <= PATIENCE_SECONDS + 0.001

    @pytest.mark.looptime
    async def test_a_group_that_its_service_can_never_tell_of_suspends_calls_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Evidence against a service comes from different groups; iterations share a circuit breaker with updates."""
        relay = Relay(FakeFace(lambda group: _raise(Unavailable("500")) if group == "bad" else RUNNING))
        relay.queue.is_visible_again = True
        relay.add({"id": "bad"}, {"id": "good"})
        for _ in range(10):
            await relay.watches.tick()
            await asyncio.sleep(60)
        assert relay.face.polls["personGroup", "bad"] == 10
        assert caplog.text.count("calls are suspended") == 1

    @pytest.mark.looptime
    async def test_updates_go_on_when_a_poll_was_the_probe_that_found_the_service_well(self) -> None:
        """They share one limit and one circuit breaker."""
        api = FakeApi(answer=lambda call: _raise(Unavailable("503", retry_after_seconds=2)))
        batcher = new_batcher(api, linger=0)
        update = asyncio.create_task(batcher.submit("k", images(1)))
        await asyncio.sleep(1)
        api.answer = FakeApi().answer
        face = FakeFace(lambda _: SUCCEEDED)
        service = replace(new_service(face), admission=batcher._admission)
        relay = Relay(FakeFace(), iterations=service)
        batcher._max_in_flight = 0  # until the poll has taken the probe
        relay.add(ITERATION)
        await relay.watches.tick()
        assert relay.queue.deleted == ["m0"]
        batcher._max_in_flight = 1
        service.admission.on_change()
        assert not await update
        await batcher.aclose()


class TestKinds:
    async def test_an_iteration_is_watched_like_a_group(self) -> None:
        service = replace(new_service(told(SUCCEEDED)), source="https://vision.example")
        relay = Relay(told(RUNNING), iterations=service)
        relay.add({**ITERATION, "correlationId": "c"}, {})
        await relay.watches.tick()
        (event,) = relay.events.documents
        assert event["source"] == "https://vision.example"
        assert event["subject"] == f"projects/{PROJECT}/iterations/{ITERATION['id']}"
        assert event["data"] == {
            **ITERATION,
            "correlationId": "c",
            "status": "succeeded",
            "lastSuccessfulTrainingDateTime": "2026-01-31T12:00:00Z",
        }
        assert relay.queue.deleted == ["m0"]

    async def test_another_kind_is_one_more_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(KINDS, "faceList", KINDS["largeFaceList"]._replace(path="facelists/{id}"))
        relay = Relay(told(SUCCEEDED))
        relay.add({"kind": "faceList"})
        await relay.watches.tick()
        assert relay.events.documents[0]["subject"] == "facelists/employees"

    @pytest.mark.looptime
    async def test_trouble_with_one_project_suspends_the_polls_of_that_one_alone(self) -> None:
        other = "c0ffee00-0000-4000-8000-000000000002"
        vision = FakeFace()
        vision.answer = lambda group: SUCCEEDED if group == other else _raise(AccessDenied("403"))
        scoped = replace(new_service(vision), scope_of=lambda target: target.project_id)
        relay = Relay(FakeFace(), iterations=scoped)
        relay.add(ITERATION)
        await relay.watches.tick()
        relay.add({**ITERATION, "projectId": other, "id": other})
        await relay.watches.tick()
        assert len(relay.events.sent) == 1
        assert not scoped.admission.breakers.is_suspended()


class TestExpiry:
    @pytest.mark.parametrize(
        "trouble", [Unavailable("503"), AccessDenied("401"), UnexpectedResponse("200"), TypeError()]
    )
    async def test_a_watch_past_its_time_ends_even_if_no_answer_can_be_read(self, trouble: Exception) -> None:
        relay = Relay(told(trouble))
        relay.add({"expiresAt": EARLIER.isoformat()}, {"expiresAt": "2999-01-01T00:00:00Z"})
        await relay.watches.tick()
        (event,) = relay.events.documents
        assert event["type"] == "VisionRelay.Training.WatchExpired"
        assert relay.queue.deleted == ["m0"]
        assert relay.queue.put_back_with == {"m1": None}

    @pytest.mark.looptime
    async def test_and_if_the_service_cannot_be_asked(self) -> None:
        relay = Relay(told(Unavailable("503", retry_after_seconds=600)))
        relay.add({})
        await relay.watches.tick()
        relay.add({"expiresAt": EARLIER.isoformat(), "id": "visitors"})
        await relay.watches.tick()
        assert relay.face.polls["personGroup", "visitors"] == 0
        (event,) = relay.events.documents
        assert event["data"] == {"kind": "personGroup", "id": "visitors"}


class TestTimeToLive:
    async def test_a_watch_whose_time_runs_short_is_written_anew_then_deleted(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"repeat": True, "correlationId": "c"}, time_to_live=timedelta(hours=23))
        await relay.watches.tick()
        assert relay.journal == ["anew", "delete m0"]
        (anew,) = relay.queue.documents
        assert anew.pop("reported")["status"] == "running"
        assert anew == {"kind": "personGroup", "id": "employees", "repeat": True, "correlationId": "c"}

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
        assert relay.journal == ["write m0", "write m1"]

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

    @pytest.mark.parametrize("patience", [0.99, 1.0, 1.01])
    @pytest.mark.looptime
    async def test_a_deadline_may_fall_together_with_the_end_of_patience(
        self, patience: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shared.training_watches.PATIENCE_SECONDS", patience)
        relay = Relay(told(Unavailable("503", retry_after_seconds=600)), max_wait_seconds=1)
        relay.add(*({"id": f"group-{number}"} for number in range(4)))
        await relay.watches.tick()
        assert sorted(relay.queue.put_back_with) == ["m0", "m1", "m2", "m3"]

    @pytest.mark.looptime
    async def test_a_tick_that_is_cancelled_leaves_no_task_behind(self) -> None:
        relay = Relay(told(SUCCEEDED), max_wait_seconds=100, calls_per_second=1)
        relay.add(*({"id": f"group-{number}"} for number in range(10)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(relay.watches.tick(), 2.5)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @pytest.mark.looptime
    async def test_a_topic_that_hangs_does_not_take_a_tick_beyond_the_functions_timeout(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def hang(text: str) -> NoReturn:
            await asyncio.sleep(61)
            raise unreachable()

        relay = Relay(told(SUCCEEDED))
        monkeypatch.setattr(relay.events, "send", hang)
        relay.add(*({"id": f"group-{number}"} for number in range(400)))
        await relay.watches.tick()
        assert asyncio.get_running_loop().time() < 400
        assert len(relay.queue.written) == 400
        assert not relay.queue.deleted


@pytest.mark.looptime
@pytest.mark.parametrize(("seconds", "published"), [(99.9, 64), (100.5, 32)])
async def test_a_tick_begins_to_publish_an_event_up_to_a_minute_after_its_deadline(
    monkeypatch: pytest.MonkeyPatch, seconds: float, published: int
) -> None:
    sent = []

    async def slowly(text: str) -> None:
        await asyncio.sleep(seconds)
        sent.append(text)

    relay = Relay(told(SUCCEEDED), max_wait_seconds=40)
    monkeypatch.setattr(relay.events, "send", slowly)
    relay.add(*({"id": f"group-{number}"} for number in range(96)))
    await relay.watches.tick()
    assert len(sent) == len(relay.queue.deleted) == published


def breaks_polls(relay: Relay) -> None:
    relay.face.answer = lambda group: _raise(ZeroDivisionError("a bug")) if group == "bad" else RUNNING


def breaks_publishing(relay: Relay) -> None:
    relay.face.answer = lambda group: SUCCEEDED if group == "bad" else RUNNING
    relay.events.fails = [ZeroDivisionError("a bug")] * 4


class TestErrorsThatNobodyForesaw:
    """A watch ends: what breaks in five ticks in a row is dead-lettered."""

    @pytest.mark.parametrize("breaks", [breaks_polls, breaks_publishing])
    async def test_in_five_ticks_in_a_row_they_make_a_dead_letter(self, breaks: Callable[[Relay], None]) -> None:
        relay = Relay(FakeFace())
        relay.add({"id": "bad", "correlationId": "c"}, {"id": "good"})
        waiting = list(relay.queue.waiting)
        for tick in range(5):
            assert not relay.poison.sent, tick
            breaks(relay)
            relay.queue.waiting = list(waiting)
            relay.events.fails += [ZeroDivisionError("a bug")]
            await relay.watches.tick()
        (letter,) = relay.poison.documents
        assert json.loads(letter["body"])["id"] == "bad"
        assert letter["failure"]["reason"] == "error"
        assert letter["failure"]["code"] == "ZeroDivisionError"
        assert relay.queue.deleted == ["m0"]

    async def test_a_tick_that_went_well_in_between_begins_the_count_anew(self) -> None:
        relay = Relay(FakeFace())
        relay.add({"id": "bad"})
        waiting = list(relay.queue.waiting)
        for tick in range(13):
            breaks_polls(relay) if tick % 4 else now_answers(relay, RUNNING)
            relay.queue.waiting = list(waiting)
            await relay.watches.tick()
        assert not relay.poison.sent

    async def test_one_in_reading_leaves_the_others_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read = parse_watch
        monkeypatch.setattr(
            "shared.training_watches.parse_watch",
            lambda body: _raise(ZeroDivisionError("a bug")) if b"bad" in body else read(body),
        )
        relay = Relay(told(SUCCEEDED))
        relay.add({"id": "bad"}, {"id": "good"})
        waiting = relay.queue.waiting[:1]
        for _ in range(5):
            await relay.watches.tick()
            relay.queue.waiting = list(waiting)
        assert relay.queue.deleted == ["m1", "m0"]
        assert relay.poison.documents[0]["failure"]["code"] == "ZeroDivisionError"

    async def test_one_in_writing_the_dead_letter_leaves_the_others_alone(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({"kind": 1}, {})
        relay.poison.fails = [ZeroDivisionError("a bug")]
        await relay.watches.tick()
        assert relay.queue.deleted == ["m1"]

    async def test_each_is_an_error_of_the_log_and_a_dead_letter_a_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay = Relay(FakeFace())
        relay.add({"id": "bad", "correlationId": "c"})
        waiting = list(relay.queue.waiting)
        for _ in range(5):
            breaks_polls(relay)
            relay.queue.waiting = list(waiting)
            await relay.watches.tick()
        assert [
            (line.levelname, line.getMessage()) for line in caplog.records if line.name == "shared.training_watches"
        ] == [
            *[("ERROR", "watch m0 will be polled again")] * 4,
            ("WARNING", "watch m0 (correlation id c) is dead-lettered: a bug"),
        ]
        assert relay.poison.documents[0]["failure"]["redrives"] == 0

    @pytest.mark.parametrize(("length", "end"), [(1000, "x"), (1001, "…")])
    async def test_their_sentence_has_a_thousand_characters(self, length: int, end: str) -> None:
        relay = Relay(told(ZeroDivisionError("x" * length)))
        relay.watches._failures["m0"] = 4
        relay.add({})
        await relay.watches.tick()
        (letter,), (event,) = relay.poison.documents, relay.events.documents
        assert letter["failure"]["message"] == event["data"]["message"] == "x" * 1000 + end * (length > 1000)

    async def test_they_are_counted_of_ten_thousand_watches_and_then_the_first_is_forgotten(self) -> None:
        relay = Relay(told(ZeroDivisionError("a bug")))
        relay.watches._failures.update({f"before {number}": 1 for number in range(9_999)})
        relay.add({}, {"id": "visitors"})
        await relay.watches.tick()
        assert [*relay.watches._failures] == [*(f"before {number}" for number in range(1, 9_999)), "m0", "m1"]


@dataclass
class CountingQueue(FakeQueue):
    """Counts the operations that are under way at a time."""

    under_way: int = 0
    most_at_once: int = 0
    fails_to_put_back: bool = False

    async def put_back(self, message: Received, text: str | None = None, unseen_seconds: int = 0) -> None:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(0.1)
        self.under_way -= 1
        if self.fails_to_put_back:
            raise unreachable()
        await super().put_back(message, text, unseen_seconds)


class TestStorage:
    async def test_32_operations_are_under_way_at_most(self) -> None:
        relay = Relay(told(RUNNING))
        relay.watches.queue = queue = CountingQueue(waiting=relay.queue.waiting)
        relay.add(*({"id": f"group-{number}"} for number in range(100)))
        await relay.watches.tick()
        assert queue.most_at_once == 32
        assert len(queue.put_back_with) == 100

    async def test_a_watch_that_cannot_be_put_back_is_a_line_of_the_log_and_leaves_the_others_alone(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay = Relay(told(RUNNING))
        relay.watches.queue = CountingQueue(waiting=relay.queue.waiting, fails_to_put_back=True)
        relay.add({}, {"id": "visitors"})
        await relay.watches.tick()
        assert caplog.messages == [
            f"watch m{number} stays in its queue: storage cannot be reached" for number in (0, 1)
        ]


class TestLog:
    async def test_a_poll_that_fails_is_a_line(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "shared.training_watches")
        relay = Relay(told(UnexpectedResponse("Face responded with 418")))
        relay.add({})
        await relay.watches.tick()
        assert "personGroup employees will be polled again: Face responded with 418" in caplog.messages

    async def test_an_event_that_cannot_be_published_is_a_line(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.events.fails = [unreachable()]
        relay.add({})
        await relay.watches.tick()
        assert caplog.messages == ["watch m0 stays in its queue: storage cannot be reached"]

    async def test_a_rejection_that_our_own_error_keeps_from_being_published_is_a_line_and_its_dead_letter_is_written(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay = Relay(told(RUNNING))
        relay.events.fails = [ZeroDivisionError("a bug")]
        relay.add({"kind": 1})
        await relay.watches.tick()
        assert "VisionRelay.Training.WatchRejected of messages/m0 is not published" in caplog.messages
        assert relay.journal == ["poison", "delete m0"]


async def test_telemetry_is_told_what_became_of_each_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []

    def keep(_: Telemetry, queue: str, outcome: str, traceparent: str | None) -> str | None:
        told.append((queue, outcome))
        return traceparent

    monkeypatch.setattr(Telemetry, "watch", keep)
    relay = Relay(FakeFace(lambda group: SUCCEEDED if group == "employees" else RUNNING))
    relay.add({}, {"id": "visitors"}, {"kind": 1})
    await relay.watches.tick()
    assert sorted(told) == [("anew", "VisionRelay.Training.Succeeded"), ("anew", "invalid"), ("anew", "no-news")]


class TestTwins:
    """A watch that is written anew is in its queue twice if a crash comes between the copy and the delete."""

    @pytest.mark.parametrize("finding", [RUNNING, SUCCEEDED])
    async def test_they_become_one_when_they_meet(self, finding: TrainingResult) -> None:
        relay = Relay(told(finding))
        relay.add({"repeat": True, "correlationId": "c"}, time_to_live=timedelta(hours=23))
        relay.queue.fails_to_delete = True
        await relay.watches.tick()
        relay.queue.fails_to_delete = False
        relay.add({"repeat": True, "correlationId": "c"}, *relay.queue.documents)
        relay.queue.is_visible_again = True
        for _ in range(3):
            await relay.watches.tick()
        assert len(relay.queue.waiting) == 1
        assert len({event["id"] for event in relay.events.documents}) <= 1

    async def test_with_an_event_that_was_not_published_too(self) -> None:
        relay = Relay(told(SUCCEEDED))
        relay.add({}, time_to_live=timedelta(hours=23))
        await relay.watches.tick()
        relay.add(*relay.queue.documents * 2)
        await relay.watches.tick()
        assert len(relay.events.sent) == 1
        assert relay.queue.deleted == ["m0", "m1", "m0"]

    async def test_those_that_differ_in_any_field_stay_two(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({}, {"correlationId": "c"}, {"repeat": True}, {"kind": "largeFaceList"}, {"after": NOON.isoformat()})
        await relay.watches.tick()
        assert len(relay.queue.put_back_with) == 5

    async def test_one_whose_lease_ends_during_the_tick_is_no_twin_of_itself(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({})
        relay.queue.waiting.append(replace(relay.queue.waiting[0], pop_receipt="of the second delivery"))
        await relay.watches.tick()
        assert relay.queue.deleted == []

    async def test_one_that_cannot_be_deleted_stays(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(RUNNING))
        relay.add({}, {})
        relay.queue.fails_to_delete = True
        await relay.watches.tick()
        assert list(relay.queue.put_back_with) == ["m0"]
        assert "watch m1 stays in its queue" in caplog.text


async def test_replicas_that_know_of_different_successes_are_no_news() -> None:
    relay = Relay(FakeFace())
    later = SUCCEEDED.model_copy(update={"last_successful_training_date_time": NOON + timedelta(hours=1)})
    relay.queue.is_visible_again = True
    relay.add({"repeat": True})
    for finding in (SUCCEEDED, later, SUCCEEDED, later, RUNNING, SUCCEEDED, RUNNING, later):
        now_answers(relay, finding)
        await relay.watches.tick()
    assert [event["data"]["lastSuccessfulTrainingDateTime"][11:13] for event in relay.events.documents] == ["12", "13"]


async def test_a_group_that_was_made_anew_fails_anew() -> None:
    relay = Relay(FakeFace())
    relay.queue.is_visible_again = True
    relay.add({"repeat": True})
    for created in (EARLIER, EARLIER, NOON + timedelta(hours=1), NOON + timedelta(hours=1)):
        now_answers(relay, FAILED.model_copy(update={"created_date_time": created}))
        await relay.watches.tick()
    first, second = relay.events.documents
    assert first["id"] != second["id"]


class TestMalformed:
    @pytest.mark.parametrize(
        ("fields", "source", "correlation_id"),
        [
            ({"after": "2026-11-28T06:00:00", "correlationId": "run-6"}, "https://face.example", "run-6"),
            ({**ITERATION, "typo": 1, "correlationId": "run-6"}, "https://iterations.example", "run-6"),
            ({"kind": "Nothing", "correlationId": "run-6"}, "https://vision.example", "run-6"),
            (b'{"Kind":"personGroup","Id":"idle","CorrelationId":"run-6"}', "https://face.example", "run-6"),
            ({"kind": ["personGroup"], "correlationId": 6}, "https://vision.example", None),
            (b"\xff", "https://vision.example", None),
            ({"body": json.dumps({**ITERATION, "typo": 1}), "failure": {}, "kind": None, "id": None},
             "https://iterations.example", None),
        ],
    )  # fmt: skip
    async def test_an_event_tells_who_sent_it(
        self, fields: dict[str, Any] | bytes, source: str, correlation_id: str | None
    ) -> None:
        iterations = replace(new_service(FakeFace()), source="https://iterations.example")
        relay = Relay(told(RUNNING), iterations=iterations)
        relay.add(fields)
        await relay.watches.tick()
        (event,) = relay.events.documents
        assert event["type"] == "VisionRelay.Training.WatchRejected"
        assert event["source"] == source
        assert event["subject"] == "messages/m0"
        assert event["data"].pop("message")
        expected = {"messageId": "m0", "reason": "invalid", "code": "InvalidMessage"}
        assert event["data"] == expected | ({"correlationId": correlation_id} if correlation_id else {})
        assert not problems_of_event({**event, "data": {**event["data"], "message": "m"}})
        assert relay.journal == ["event", "poison", "delete m0"]

    async def test_its_event_repeats_under_its_id_until_the_dead_letter_is_written(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": 1}, {"kind": 2})
        waiting = list(relay.queue.waiting)
        relay.poison.fails = [unreachable(), unreachable()]
        await relay.watches.tick()
        assert not relay.queue.deleted
        relay.queue.waiting = waiting
        await relay.watches.tick()
        first, other, again, _ = relay.events.documents
        assert first["id"] == again["id"] != other["id"]
        assert relay.queue.deleted == ["m0", "m1"]

    async def test_without_its_event_no_dead_letter_is_written(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": 1})
        relay.events.fails = [unreachable()]
        await relay.watches.tick()
        assert relay.journal == []

    async def test_its_span_goes_on_to_its_event(self) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"typo": 1, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
        await relay.watches.tick()
        assert relay.events.documents[0]["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"

    async def test_it_goes_to_poison_with_what_is_wrong_with_it(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": "a\nb"}, b"\xff", noted(watch(), RUNNING).to_dict())
        with caplog.at_level(logging.WARNING):
            await relay.watches.tick()
        assert relay.queue.deleted == ["m0", "m1"]
        assert relay.queue.put_back_with == {"m2": None}
        first, second = relay.poison.documents
        assert json.loads(first["body"])["kind"] == "a\nb"
        assert first["failure"]["message"].startswith("kind: must be one of personGroup")
        assert first["failure"]["reason"] == "invalid"
        assert second["body"] == "\\xff"
        assert [record.getMessage()[:9] for record in caplog.records] == ["watch m0 ", "watch m1 "]
        assert all(record.getMessage().isprintable() for record in caplog.records)

    async def test_one_that_cannot_be_written_there_stays_and_is_not_said_to_be_a_dead_letter(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": 1}, {})
        relay.poison.fails = [unreachable()]
        await relay.watches.tick()
        assert relay.journal == ["event", "put back m1"]
        assert "stays in its queue" in caplog.text
        assert "is dead-lettered" not in caplog.text

    async def test_it_is_said_to_be_a_dead_letter_once_it_is_one(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": 1})
        relay.queue.fails_to_delete = True
        await relay.watches.tick()
        assert caplog.text.count("is dead-lettered") == 1

    async def test_it_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = Relay(told(RUNNING))
        relay.add({"kind": 1})
        await relay.watches.tick()
        assert caplog.text.count("is dead-lettered") == 1
