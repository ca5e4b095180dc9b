"""Packing and estimates: messages that fit in either encoding, and what a catalogue costs."""

import base64
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.catalogue.database import Group
from ops.plan import (
    Estimate,
    Journal,
    JournalBusy,
    Message,
    Reservation,
    capacity,
    costliest_column,
    estimate,
    pack,
)
from shared.messages.encoding import MAX_MESSAGE_BYTES
from shared.messages.update import parse_update

PROJECT = str(uuid4())


def group(images: int, metadata: dict[str, str] | None = None, correlation_id: str | None = None) -> Group:
    return Group(PROJECT, metadata or {"a": "b"}, correlation_id, iter([str(UUID(int=n)) for n in range(images)]))


class TestPacking:
    @given(st.integers(1, 4000), st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=256), max_size=10))
    def test_every_message_is_valid_and_fits_in_either_encoding(self, images: int, metadata: dict[str, str]) -> None:
        sent: Counter[str] = Counter()
        for message in pack([group(images, metadata)]):
            assert len(base64.b64encode(message.body.encode())) <= MAX_MESSAGE_BYTES
            update = parse_update(message.body.encode())
            assert message.images == len(update.image_ids)
            sent.update(update.image_ids)
        assert sent == Counter(str(UUID(int=n)) for n in range(images))

    def test_a_full_message_is_full_calls(self) -> None:
        assert capacity({"projectId": PROJECT, "metadata": {"a": "b"}}) == 1216  # 19 * 64

    def test_messages_are_as_few_as_possible(self) -> None:
        assert [message.images for message in pack([group(3000)])] == [1216, 1216, 568]

    def test_a_group_without_a_correlation_id_gets_the_sends(self) -> None:
        messages = pack([group(1), group(1, correlation_id="own")], "send")
        assert [json.loads(message.body)["correlationId"] for message in messages] == ["send", "own"]


class TestEstimate:
    def test_only_equal_metadata_shares_calls(self) -> None:
        found = estimate([(PROJECT, {"a": "1"}, 65), (PROJECT, {"a": "2"}, 1), ("other", {"a": "1"}, 1)])
        assert found == Estimate(images=67, metadata_sets=3, calls=4, least_calls=3)
        assert found.extra_calls == 1
        assert found.seconds(10) == pytest.approx(0.4)

    def test_the_column_that_costs_most_is_found(self) -> None:
        rows = [(PROJECT, {"kept": str(n % 2), "scan": str(n)}, 1) for n in range(100)]
        assert costliest_column(rows, 100) == ("scan", 2)

    def test_no_column_is_blamed_where_none_costs(self) -> None:
        assert costliest_column([(PROJECT, {"a": "1"}, 64)], 1) is None


def new_journal(path: Path, groups: Iterable[Group]) -> Journal:
    return Journal.create(path, groups, "send", {"begun": "now"})


def place(message: Message) -> Reservation:
    return Reservation(message, f"id-{message.number}", "receipt", 1.0)


class TestJournal:
    def test_it_knows_after_a_restart_what_is_reserved_and_what_is_released(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        with closing(new_journal(path, [group(1, {"n": str(n)}) for n in range(4)])) as journal:
            first, second, third = journal.planned(3)
            journal.write(released=(), reserved=[place(first), place(second)])
            journal.write(released=[first], reserved=[place(third)])
        with closing(Journal(path)) as journal:
            assert journal.reserved() == [place(second), place(third)]
            assert [message.number for message in journal.planned(9)] == [4]
            progress = journal.progress()
            assert (progress.messages, progress.messages_sent, progress.images_sent) == (4, 1, 1)
            assert not progress.is_complete

    def test_two_processes_do_not_send_the_same(self, tmp_path: Path) -> None:
        with closing(new_journal(tmp_path / "journal", [group(1)])), pytest.raises(JournalBusy):
            Journal(tmp_path / "journal")

    def test_it_is_there_as_a_whole_or_not_at_all(self, tmp_path: Path) -> None:
        def breaks_off() -> Iterable[Group]:
            yield group(1)
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            new_journal(tmp_path / "journal", breaks_off())
        assert not (tmp_path / "journal").exists()
