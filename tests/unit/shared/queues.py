"""Queues that hold their messages in memory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shared.errors import StorageTrouble
from shared.messages.encoding import MAX_MESSAGE_BYTES
from shared.services.queues import Queue

if TYPE_CHECKING:
    from shared.services.queues import Received


@dataclass
class FakeOutbox(Queue):
    """Keeps what is sent, if it fits a message. `fails`: the error that each of the next sendings ends with."""

    sent: list[str] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    name: str = "outbox"

    async def send(self, text: str) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)
        assert len(text.encode()) <= MAX_MESSAGE_BYTES
        self.sent.append(text)
        self.journal.append(self.name)

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.sent]


@dataclass
class FakeQueue(FakeOutbox):
    """A queue with messages to be received. What is done with them is kept in the order in which it was done."""

    waiting: list[Received] = field(default_factory=list)
    put_back_with: dict[str, str | None] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    leases: list[int] = field(default_factory=list)
    fails_to_delete: bool = False
    fails_to_write: bool = False
    written: dict[str, str] = field(default_factory=dict)
    receipts: dict[str, str] = field(default_factory=dict)
    """Of messages that were written: who comes with another is refused."""
    fails_to_receive: list[Exception | None] = field(default_factory=list)
    is_visible_again: bool = False
    """Whether what is put back can be received again, behind what waits already; else it is only kept."""

    async def receive(self, most: int, lease_seconds: int) -> list[Received]:
        self.leases.append(lease_seconds)
        error = self.fails_to_receive.pop(0) if self.fails_to_receive else None
        if error is not None:
            raise error
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        for message in taken:
            self.receipts[message.id] = message.pop_receipt
        return taken

    async def put_back(self, message: Received, text: str | None = None, unseen_seconds: int = 0) -> None:
        self._check_receipt(message)
        self.journal.append(f"put back {message.id}")
        self.put_back_with[message.id] = text
        if self.is_visible_again:
            self.waiting.append(message if text is None else replace(message, body=text.encode()))

    async def rewrite(self, message: Received, text: str, lease_seconds: int) -> Received:
        if self.fails_to_write:
            raise unreachable()
        self.journal.append(f"write {message.id}")
        self._check_receipt(message)
        self.leases.append(lease_seconds)
        self.written[message.id] = text
        self.receipts[message.id] = f"receipt {len(self.written)}"
        return replace(message, pop_receipt=self.receipts[message.id])

    def _check_receipt(self, message: Received) -> None:
        if message.pop_receipt != self.receipts.get(message.id, message.pop_receipt):
            raise unreachable()

    async def delete(self, message: Received) -> None:
        self._check_receipt(message)
        if self.fails_to_delete:
            raise unreachable()
        self.journal.append(f"delete {message.id}")
        self.deleted.append(message.id)


def unreachable() -> StorageTrouble:
    return StorageTrouble("storage cannot be reached")
