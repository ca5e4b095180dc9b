"""Keeps the messages of a send and their states on disk, so that it can resume after it was broken off."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.catalogue.packing import Message, pack

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ops.catalogue.database import Group

COMPLETE = "complete"
"""The fact that says when a send was complete."""

_PLANNED, _RESERVED, _RELEASED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Reservation:
    """A message and its invisible placeholder in the queue. `at` is in seconds since 1970."""

    message: Message
    id: str
    pop_receipt: str
    at: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a send is done, in messages and images."""

    messages: int
    messages_sent: int
    images: int
    images_sent: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to send."""
        return self.messages_sent == self.messages


class JournalBusy(Exception):
    """Another process is sending the same."""


class Journal:
    """The messages of one send. Every change is on the disk when its method returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise JournalBusy(str(error)) from None

    @classmethod
    def create(cls, path: Path, groups: Iterable[Group], correlation_id: str | None, facts: dict[str, str]) -> Journal:
        """Write all messages of a catalogue, and replace an earlier journal. A crash leaves the earlier one."""
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(
                """
                CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
                CREATE TABLE messages (
                    number INTEGER PRIMARY KEY, body TEXT NOT NULL, images INTEGER NOT NULL,
                    state INTEGER NOT NULL DEFAULT 0, id TEXT, receipt TEXT, reserved_at REAL
                );
                """
            )
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
            connection.executemany(
                "INSERT INTO messages (number, body, images) VALUES (?, ?, ?)",
                ((message.number, message.body, message.images) for message in pack(groups, correlation_id)),
            )
            connection.execute("COMMIT")
            connection.execute("CREATE INDEX reserved ON messages (state) WHERE state = 1")
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
        return cls(path)

    def close(self) -> None:
        """Close the file, so that another process may open it."""
        self._connection.close()

    @property
    def facts(self) -> dict[str, str]:
        """What was noted about the send."""
        return dict(self._connection.execute("SELECT name, value FROM facts"))

    def note(self, name: str, value: str) -> None:
        """Note a fact about the send."""
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def finish(self, at: str) -> None:
        """Note when the send was complete, and free the disk space of its messages."""
        self._connection.execute("UPDATE messages SET body = ''")
        self.note(COMPLETE, at)
        self._connection.execute("VACUUM")

    def progress(self) -> Progress:
        """How much is done."""
        messages, images = self._connection.execute("SELECT count(*), total(images) FROM messages").fetchone()
        sent, images_sent = self._connection.execute(
            "SELECT count(*), total(images) FROM messages WHERE state = ?", (_RELEASED,)
        ).fetchone()
        return Progress(messages, sent, int(images), int(images_sent))

    def reserved(self) -> list[Reservation]:
        """Messages that were reserved, and perhaps released."""
        found = self._connection.execute(
            "SELECT number, body, images, id, receipt, reserved_at FROM messages WHERE state = 1 ORDER BY number"
        )
        return [Reservation(Message(*row[:3]), *row[3:]) for row in found]

    def planned(self, most: int, after: int = 0) -> list[Message]:
        """The next messages that are neither reserved nor released."""
        found = self._connection.execute(
            "SELECT number, body, images FROM messages WHERE number > ? AND state = 0 ORDER BY number LIMIT ?",
            (after, most),
        )
        return [Message(*row) for row in found]

    def write(self, *, released: Iterable[Message], reserved: Iterable[Reservation]) -> None:
        """Note that messages were released and others reserved, in one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._set_state(_RELEASED, released)
        self._connection.executemany(
            "UPDATE messages SET state = ?, id = ?, receipt = ?, reserved_at = ? WHERE number = ?",
            ((_RESERVED, each.id, each.pop_receipt, each.at, each.message.number) for each in reserved),
        )
        self._connection.execute("COMMIT")

    def plan_again(self, messages: Iterable[Message]) -> None:
        """Note that messages must be reserved again."""
        self._set_state(_PLANNED, messages)

    def _set_state(self, state: int, messages: Iterable[Message]) -> None:
        self._connection.executemany(
            "UPDATE messages SET state = ? WHERE number = ?", ((state, message.number) for message in messages)
        )
