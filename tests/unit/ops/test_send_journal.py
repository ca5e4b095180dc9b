"""The journal of a send: what it knows after a restart, and who may have it."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from ops.catalogue.database import Group
from ops.catalogue.packing import Message
from ops.send_journal import Journal, JournalBusy, Reservation
from tests.unit.ops.catalogue.test_packing import group


def new_journal(path: Path, groups: Iterable[Group]) -> Journal:
    return Journal.create(path, groups, "send", {"begun": "now"})


def place(message: Message) -> Reservation:
    return Reservation(message, f"id-{message.number}", "receipt", 1.0)


def test_it_knows_after_a_restart_what_is_reserved_and_what_is_released(tmp_path: Path) -> None:
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


def test_two_processes_do_not_send_the_same(tmp_path: Path) -> None:
    with closing(new_journal(tmp_path / "journal", [group(1)])), pytest.raises(JournalBusy):
        Journal(tmp_path / "journal")


def test_it_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaks_off() -> Iterable[Group]:
        yield group(1)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        new_journal(tmp_path / "journal", breaks_off())
    assert not (tmp_path / "journal").exists()
