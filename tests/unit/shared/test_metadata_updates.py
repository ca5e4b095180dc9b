"""What becomes of a message of the updates queue: the whole table of outcomes."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from shared import metadata_updates
from shared.batching.batcher import Batcher
from shared.batching.outcome_types import NotApplied, Refused, Retry
from shared.errors import MaxWaitExceeded, MessageAbandoned, RelayError, StorageTrouble
from shared.messages.placeholder import PLACEHOLDER
from shared.messages.update import parse_update
from shared.metadata_updates import Delivery, MetadataUpdates
from shared.redaction import hide
from shared.services.events import EventPublisher
from shared.telemetry import Processing, Telemetry
from tests.unit.shared.conftest import FakeApi, image, new_batcher
from tests.unit.shared.queues import FakeOutbox, unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.messages.custom_vision_ids import ImageId
    from shared.messages.update import BatchKey

DEAD_LETTER_BUG_FROM_DEQUEUE = 5
MAX_ERROR = 1000
PROJECT = "c0ffee00-0000-4000-8000-000000000001"
SECRET = "marked-secret"
GONE = Refused("ErrorImageNotFound")
FULL = Refused("ErrorLimitExceed")
LATER = Retry("status ErrorUnknown")


@dataclass
class FakeBatcher(Batcher["BatchKey"]):
    """Answers at once: these images were not applied, or this error."""

    not_applied: dict[ImageId, NotApplied] = field(default_factory=dict)
    error: BaseException | None = None
    submitted: list[tuple[BatchKey, Sequence[ImageId]]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    async def submit(
        self, key: BatchKey, image_ids: Sequence[ImageId], tag: Any = None, message_id: str | None = None
    ) -> Mapping[ImageId, NotApplied]:
        self.submitted.append((key, image_ids))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.not_applied

    def forget(self, message_id: str) -> None:
        self.forgotten.append(message_id)


class Relay:
    """The handling of updates, between fakes."""

    def __init__(self, batcher: Batcher[Any] | None = None, *, publish_updated: bool = False) -> None:
        self.journal: list[str] = []
        self.batcher = FakeBatcher()
        self.poison = FakeOutbox(journal=self.journal, name="dead letter")
        self.events = FakeOutbox(journal=self.journal, name="event")
        self._updates = MetadataUpdates(
            self.batcher if batcher is None else batcher,
            self.poison,
            EventPublisher(self.events),
            source="https://vision.example",
            publish_updated=publish_updated,
        )

    async def handle(self, body: bytes, deliveries: int = 1, message_id: str = "message-1") -> None:
        await self._updates.handle(Delivery(message_id, body, deliveries))

    @property
    def left_nothing(self) -> bool:
        return not self.journal


@pytest.mark.parametrize("body", [PLACEHOLDER.encode(), base64.b64encode(PLACEHOLDER.encode())])
async def test_a_place_that_a_killed_sender_never_filled_leaves_nothing(relay: Relay, body: bytes) -> None:
    await relay.handle(body)
    assert relay.left_nothing
    assert relay.batcher.submitted == []


@pytest.fixture
def relay() -> Relay:
    return Relay()


def update(count: int = 3, **changes: Any) -> bytes:
    ids = [str(image(number)) for number in range(count)]
    return json.dumps({"projectId": PROJECT, "imageIds": ids, "metadata": {"k": "v"}, **changes}).encode()


class TestApplied:
    async def test_the_update_is_submitted_under_its_key_and_the_invocation_returns(self, relay: Relay) -> None:
        await relay.handle(update())
        assert relay.batcher.submitted == [(parse_update(update()).key, tuple(image(number) for number in range(3)))]
        assert relay.left_nothing

    async def test_an_event_tells_of_it_if_asked_for(self) -> None:
        relay = Relay(publish_updated=True)
        await relay.handle(update(correlationId="c"))
        (event,) = relay.events.documents
        assert event["type"] == "VisionRelay.ImageMetadata.Updated"
        assert event["subject"] == f"projects/{PROJECT}"
        assert event["data"] == {"messageId": "message-1", "projectId": PROJECT, "correlationId": "c", "images": 3}

    async def test_if_that_event_cannot_be_published_the_message_comes_back(self) -> None:
        relay = Relay(publish_updated=True)
        relay.events.fails = [unreachable()]
        with pytest.raises(StorageTrouble):
            await relay.handle(update(), DEAD_LETTER_BUG_FROM_DEQUEUE)
        assert relay.left_nothing


class TestTriedAgain:
    @pytest.mark.parametrize(
        "not_applied",
        [{image(1): LATER}, {image(0): GONE, image(1): LATER}, {image(1): LATER, image(0): GONE}],
        ids=["alone", "after a refused one", "before a refused one"],
    )
    async def test_one_image_brings_the_whole_message_back(
        self, relay: Relay, not_applied: dict[ImageId, NotApplied]
    ) -> None:
        relay.batcher.not_applied = not_applied
        with pytest.raises(MessageAbandoned, match=f"^message message-1: image {image(1)}: status ErrorUnknown"):
            await relay.handle(update(), 100)
        assert relay.left_nothing

    async def test_who_has_waited_too_long_in_vain_comes_back_however_often(self, relay: Relay) -> None:
        relay.batcher.error = MaxWaitExceeded("no outcome within 240 s")
        with pytest.raises(MaxWaitExceeded):
            await relay.handle(update(), 287)
        assert relay.left_nothing

    async def test_a_cancellation_leaves_no_dead_letter(self, relay: Relay) -> None:
        relay.batcher.error = asyncio.CancelledError()
        with pytest.raises(asyncio.CancelledError):
            await relay.handle(update(), 100)
        assert relay.left_nothing


class TestThatCameBack:
    @pytest.mark.looptime
    async def test_a_message_whose_event_could_not_be_published_writes_nothing_over_a_newer_value(self) -> None:
        api = FakeApi()
        relay = Relay(new_batcher(api), publish_updated=True)
        relay.events.fails = [unreachable()]
        with pytest.raises(StorageTrouble):
            await relay.handle(update(2, metadata={"k": "old"}), message_id="old")
        await relay.handle(update(2, metadata={"k": "new"}), message_id="new")
        await relay.handle(update(2, metadata={"k": "old"}), 2, message_id="old")
        assert [dict(call.key.metadata)["k"] for call in api.calls] == ["old", "new"]  # type: ignore[attr-defined]
        assert [event["data"]["messageId"] for event in relay.events.documents] == ["new", "old"]

    async def test_one_that_is_done_with_is_forgotten(self, relay: Relay) -> None:
        await relay.handle(update())
        relay.batcher.not_applied = {image(0): GONE}
        await relay.handle(update(), message_id="refused")
        assert relay.batcher.forgotten == ["message-1", "refused"]
        relay.batcher.not_applied = {image(0): LATER}
        with pytest.raises(MessageAbandoned):
            await relay.handle(update(), message_id="later")
        assert "later" not in relay.batcher.forgotten


class TestRefused:
    async def test_one_dead_letter_for_the_refused_images_only(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(0): GONE, image(2): GONE}
        await relay.handle(update(), 2)
        (letter,) = relay.poison.documents
        assert letter["imageIds"] == [str(image(0)), str(image(2))]
        assert letter["metadata"] == {"k": "v"}
        why = letter["failure"]
        assert (why["reason"], why["code"], why["deliveries"]) == ("refused", "ErrorImageNotFound", 2)
        assert why["images"] == dict.fromkeys(letter["imageIds"], "ErrorImageNotFound")

    async def test_different_reasons_are_told_for_each_image(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(0): GONE, image(2): FULL}
        await relay.handle(update())
        why = relay.poison.documents[0]["failure"]
        assert why["code"] == "Various"
        assert why["images"] == {str(image(0)): "ErrorImageNotFound", str(image(2)): "ErrorLimitExceed"}

    async def test_what_the_service_says_of_the_batch_is_told(self, relay: Relay) -> None:
        refused = Refused("NotFoundProject", "no such project")
        relay.batcher.not_applied = {image(number): refused for number in range(3)}
        await relay.handle(update())
        why = relay.poison.documents[0]["failure"]
        assert (why["code"], why["message"]) == ("NotFoundProject", "no such project")

    async def test_the_event_goes_before_the_dead_letter(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(0): GONE}
        await relay.handle(update(correlationId="c"))
        assert relay.journal == ["event", "dead letter"]
        (event,) = relay.events.documents
        assert event["type"] == "VisionRelay.ImageMetadata.Rejected"
        assert event["source"] == "https://vision.example"
        assert event["subject"] == f"projects/{PROJECT}"
        assert event["data"] == {
            "messageId": "message-1",
            "projectId": PROJECT,
            "correlationId": "c",
            "reason": "refused",
            "code": "ErrorImageNotFound",
            "message": "",
            "images": 1,
        }

    async def test_without_the_event_no_dead_letter_is_written_and_the_message_comes_back(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(0): GONE}
        relay.events.fails = [unreachable()]
        with pytest.raises(StorageTrouble):
            await relay.handle(update(), 100)
        assert relay.left_nothing

    @pytest.mark.parametrize("error", [unreachable(), RuntimeError("a bug")], ids=["storage", "a bug"])
    async def test_if_the_dead_letter_cannot_be_written_the_message_comes_back(
        self, relay: Relay, error: Exception
    ) -> None:
        relay.batcher.not_applied = {image(0): GONE}
        relay.poison.fails = [error]
        with pytest.raises(type(error)):
            await relay.handle(update(), 100)
        assert relay.journal == ["event"]

    async def test_it_is_said_to_be_a_dead_letter_once_it_is_one(
        self, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay.batcher.not_applied = {image(0): GONE}
        relay.poison.fails = [unreachable()]
        with pytest.raises(StorageTrouble):
            await relay.handle(update())
        assert "is dead-lettered" not in caplog.text
        await relay.handle(update(), 2)
        assert caplog.text.count("is dead-lettered") == 1

    async def test_the_next_delivery_repeats_the_event_under_its_id(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(0): GONE}
        relay.poison.fails = [unreachable()]
        with pytest.raises(StorageTrouble):
            await relay.handle(update())
        await relay.handle(update(), 2)
        first, second = relay.events.documents
        assert first["id"] == second["id"]
        assert relay.journal == ["event", "event", "dead letter"]

    async def test_an_update_without_room_for_its_reason_leaves_two_letters(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(number): GONE for number in range(1677)}
        await relay.handle(update(1677))
        assert relay.journal == ["event", "dead letter", "dead letter"]
        assert sum(len(letter["imageIds"]) for letter in relay.poison.documents) == 1677


class TestInvalid:
    async def test_the_body_is_dead_lettered_with_what_is_wrong_with_it(self, relay: Relay) -> None:
        await relay.handle(update(colour="red"), 7)
        (letter,) = relay.poison.documents
        assert letter["body"] == update(colour="red").decode()
        why = letter["failure"]
        assert (why["reason"], why["code"], why["deliveries"]) == ("invalid", "InvalidMessage", 7)
        assert why["message"] == "colour: unknown field, not 'red'"
        assert relay.journal == ["event", "dead letter"]
        assert not relay.batcher.submitted

    async def test_its_event_names_the_message(self, relay: Relay) -> None:
        await relay.handle(b"\xff")
        (event,) = relay.events.documents
        assert event["subject"] == "messages/message-1"
        assert event["data"]["reason"] == "invalid"
        assert "projectId" not in event["data"]

    async def test_its_correlation_id_is_told_where_that_at_least_can_be_read(
        self, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        await relay.handle(update(colour="red", correlationId="scan 7"))
        for unusable in (7, "", "c" * 129, "\ud800"):
            await relay.handle(update(correlationId=unusable))
        known, *unknown = relay.events.documents
        assert known["data"]["correlationId"] == "scan 7"
        assert not any("correlationId" in event["data"] for event in unknown)
        assert "(correlation id scan 7)" in caplog.text

    async def test_64_kib_of_junk_leave_a_letter_that_fits(self, relay: Relay) -> None:
        await relay.handle(b"\x01" * 65_536)
        assert len(relay.poison.sent) == 1


class TestMovedBack:
    """A dead letter that somebody has moved back as it is."""

    async def test_it_is_the_update_again_and_each_time_is_counted(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(1): GONE}
        await relay.handle(update(2))
        for redrives in (0, 1, 2):
            letter = relay.poison.documents[-1]
            assert letter["failure"]["redrives"] == redrives
            assert letter["imageIds"] == [image(1)]
            await relay.handle(json.dumps(letter).encode())
        assert len({event["subject"] for event in relay.events.documents}) == 1

    async def test_one_that_can_be_applied_now_is(self, relay: Relay) -> None:
        relay.batcher.not_applied = {image(1): GONE}
        await relay.handle(update(2))
        relay.batcher.not_applied = {}
        await relay.handle(relay.poison.sent[0].encode())
        assert relay.batcher.submitted[-1][1] == (image(1),)
        assert len(relay.poison.sent) == 1

    async def test_one_of_a_message_that_is_still_not_valid_stands_as_it_first_came(self, relay: Relay) -> None:
        await relay.handle(b"junk")
        await relay.handle(relay.poison.sent[-1].encode())
        await relay.handle(base64.b64encode(relay.poison.sent[-1].encode()))
        assert [letter["body"] for letter in relay.poison.documents] == ["junk"] * 3
        assert [letter["failure"]["redrives"] for letter in relay.poison.documents] == [0, 1, 2]


class TestBug:
    @pytest.mark.parametrize("deliveries", [1, DEAD_LETTER_BUG_FROM_DEQUEUE - 1])
    async def test_before_the_fifth_delivery_the_message_comes_back_and_the_log_has_the_stack_once(
        self, relay: Relay, deliveries: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay.batcher.error = ZeroDivisionError("division by zero")
        with pytest.raises(ZeroDivisionError):
            await relay.handle(update(), deliveries)
        assert relay.left_nothing
        assert [record.exc_info is not None for record in caplog.records] == [True]

    @pytest.mark.parametrize("deliveries", [DEAD_LETTER_BUG_FROM_DEQUEUE, 200])
    async def test_from_the_fifth_on_the_whole_update_is_dead_lettered(self, relay: Relay, deliveries: int) -> None:
        hide(SECRET)
        relay.batcher.error = ZeroDivisionError(f"line 1\nheader {SECRET}")
        await relay.handle(update(), deliveries)
        (letter,) = relay.poison.documents
        assert letter["imageIds"] == [str(image(number)) for number in range(3)]
        why = letter["failure"]
        assert (why["reason"], why["code"], why["deliveries"]) == ("error", "ZeroDivisionError", deliveries)
        assert why["message"] == "line 1\\nheader [secret]"
        assert relay.journal == ["event", "dead letter"]

    async def test_a_secret_at_the_place_where_the_text_is_cut_leaves_no_half(self, relay: Relay) -> None:
        hide(SECRET)
        relay.batcher.error = RuntimeError("x" * (MAX_ERROR - 5) + SECRET)
        await relay.handle(update(), 5)
        assert SECRET[:5] not in relay.poison.sent[0] + relay.events.sent[0]

    async def test_a_bug_in_the_parser_leaves_the_body(self, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise KeyError("x")

        monkeypatch.setattr(metadata_updates, "read_message", broken)
        await relay.handle(update(), 5)
        (letter,) = relay.poison.documents
        assert letter["body"] == update().decode()
        assert letter["failure"]["code"] == "KeyError"

    async def test_it_is_no_bug_if_storage_or_the_service_is_in_trouble(self, relay: Relay) -> None:
        for error in (unreachable(), RelayError("x")):
            relay.batcher.error = error
            with pytest.raises(type(error)):
                await relay.handle(update(), 100)
        assert relay.left_nothing

    @pytest.mark.parametrize("outbox", ["events", "poison"])
    async def test_one_in_writing_of_it_does_not_lead_to_a_second_letter(self, relay: Relay, outbox: str) -> None:
        relay.batcher.error = ZeroDivisionError()
        getattr(relay, outbox).fails = [RuntimeError("written, yet not said so")]
        with pytest.raises(RuntimeError):
            await relay.handle(update(), 5)
        assert not relay.poison.sent


class TestLog:
    async def test_a_dead_letter_is_told_in_one_line_without_control_characters(
        self, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay.batcher.not_applied = {image(0): Refused("A\nB", "C\x1b[31m")}
        with caplog.at_level(logging.DEBUG):
            await relay.handle(update(correlationId="c\r\nINFO forged\x00"))
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.getMessage().isprintable()
        assert "c\\r\\nINFO forged\\x00" in record.getMessage()

    async def test_no_secret_is_logged(self, relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
        hide(SECRET)
        relay.batcher.error = RuntimeError(SECRET)
        with caplog.at_level(logging.DEBUG):
            await relay.handle(update(), 5)
        assert "RuntimeError" in caplog.text
        assert SECRET not in caplog.text


class TestCounted:
    """What telemetry is told of a message: its images by outcome, and the reason of its dead letter."""

    @pytest.mark.parametrize(
        ("not_applied", "counted"),
        [
            ({}, (3, 0, 0, None)),
            ({image(0): GONE}, (2, 1, 0, "refused")),
            ({image(0): GONE, image(1): LATER, image(2): LATER}, (0, 1, 2, None)),
        ],
    )
    async def test_each_image_counts_by_its_outcome(
        self,
        relay: Relay,
        monkeypatch: pytest.MonkeyPatch,
        not_applied: dict[ImageId, NotApplied],
        counted: tuple[int, int, int, str | None],
    ) -> None:
        kept = keep_processing(monkeypatch)
        relay.batcher.not_applied = not_applied
        with suppress(MessageAbandoned):
            await relay.handle(update())
        assert [(one.applied, one.refused, one.retry, one.reason) for one in kept] == [counted]

    async def test_those_of_a_message_that_breaks_the_app_are_tried_again_and_then_refused(
        self, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = keep_processing(monkeypatch)
        relay.batcher.error = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await relay.handle(update(), 4)
        await relay.handle(update(), 5)
        assert [(one.refused, one.retry, one.reason) for one in kept] == [(0, 3, None), (3, 0, "error")]

    async def test_a_message_that_is_not_valid_has_none(self, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = keep_processing(monkeypatch)
        await relay.handle(b"{}")
        assert [(one.applied, one.refused, one.retry, one.reason) for one in kept] == [(0, 0, 0, "invalid")]


@pytest.mark.parametrize("metadata", [{"k": "v"}, 1])
async def test_a_message_is_traced_by_its_own_traceparent_valid_or_not(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, metadata: object
) -> None:
    traced: list[str] = []
    monkeypatch.setattr(Telemetry, "start_span", lambda _, queue, traceparent, began_ns: traced.append(traceparent))
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    await relay.handle(update(metadata=metadata, traceparent=traceparent))
    assert traced == [traceparent]


def keep_processing(monkeypatch: pytest.MonkeyPatch) -> list[Processing]:
    """What is told of each message."""
    kept: list[Processing] = []

    def begin(*arguments: Any) -> Processing:
        kept.append(Processing(*arguments))
        return kept[-1]

    monkeypatch.setattr(metadata_updates, "Processing", begin)
    return kept


async def test_a_message_that_breaks_its_parser_was_never_moved_back_as_far_as_is_known(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(metadata_updates, "read_message", broken)
    await relay.handle(update(), 5)
    (letter,) = relay.poison.documents
    assert letter["failure"]["redrives"] == 0


@pytest.mark.parametrize(("length", "end"), [(1000, "x"), (1001, "…")])
async def test_an_errors_sentence_has_a_thousand_characters(relay: Relay, length: int, end: str) -> None:
    relay.batcher.error = RuntimeError("x" * length)
    await relay.handle(update(), 5)
    (letter,), (told,) = relay.poison.documents, relay.events.documents
    assert letter["failure"]["message"].endswith(f"xx{end}")
    assert told["data"]["message"].endswith(f"xx{end}")
    assert len(letter["failure"]["message"].rstrip("…")) == 1000


async def test_a_message_that_comes_back_is_said_to_once(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    relay.batcher.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await relay.handle(update(), 4)
    assert caplog.messages == ["message message-1 will be delivered again"]
    caplog.clear()
    await relay.handle(update(correlationId="c"), 5)
    assert caplog.messages == ["message message-1 (correlation id c) is dead-lettered, error: ZeroDivisionError"]
