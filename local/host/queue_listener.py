"""A queue trigger: fetch, invoke, and settle each message."""

import asyncio
import base64
import binascii
import functools
import logging
import re
from collections.abc import Callable, Coroutine
from enum import Enum, auto

from azure.storage.queue import QueueMessage

from local.host.app_model import AppFunction, QueueTrigger
from local.host.binding_data import function_message
from local.host.errors import one_line
from local.host.host_config import MessageEncoding, QueuesConfig
from local.host.invoker import Invoker
from local.host.leases import Lease, Leases
from local.host.polling import PollingBackOff
from local.host.queues import MessageGoneError, StorageTrouble, TriggerQueue, is_polled_over
from local.host.waiting import is_set_within

log = logging.getLogger("host")

_BLANKS = re.compile(r"[ \t\r\n]+")


class Disposition(Enum):
    """What becomes of a message whose invocation has ended."""

    DELETE = auto()
    RELEASE = auto()
    POISON = auto()
    LEAVE = auto()


def disposition(*, succeeded: bool, dequeue_count: int, max_dequeue_count: int, has_poison_queue: bool) -> Disposition:
    """Decide it as the Azure Functions host does."""
    if succeeded:
        return Disposition.DELETE
    if not has_poison_queue:
        return Disposition.LEAVE
    return Disposition.POISON if dequeue_count >= max_dequeue_count else Disposition.RELEASE


def decode_body(text: str, encoding: MessageEncoding) -> bytes:
    """The body that the function gets. Raises ValueError if it is not in the encoding that host.json says."""
    if encoding is MessageEncoding.NONE:
        return text.encode()
    try:
        return base64.b64decode(_BLANKS.sub("", text), validate=True)  # .NET reads over blanks and line ends
    except binascii.Error as error:
        raise ValueError(f"the message is not Base64 ({error}); host.json: messageEncoding") from error


class QueueListener:
    """Runs one function on the messages of one queue until it is told to stop.

    `fail` is told what ends the host: what storage refuses for good, but for a receive that `is_polled_over`.
    """

    def __init__(
        self,
        function: AppFunction,
        trigger: QueueTrigger,
        queue: TriggerQueue,
        config: QueuesConfig,
        lease_seconds: int,
        invoker: Invoker,
        fail: Callable[[Exception], None],
    ) -> None:
        self._fail = fail
        self._function = function
        self._trigger = trigger
        self._queue = queue
        self._config = config
        self._lease_seconds = lease_seconds
        self._invoker = invoker
        self._leases = Leases(queue, lease_seconds, fail)
        self._back_off = PollingBackOff(config.max_polling_interval.total_seconds())
        self._in_process: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = asyncio.Event()
        self._in_trouble = False

    @property
    def in_process(self) -> int:
        """How many messages were received and are not settled yet."""
        return len(self._in_process)

    async def run(self) -> None:
        """Fetch until `stop`, then return when every message that was received is settled."""
        renewals = asyncio.create_task(self._leases.keep())
        try:
            while not self._stopping.is_set():
                await self._fetch()
            while self._in_process:
                await asyncio.wait(self._in_process)
        finally:
            renewals.cancel()

    def stop(self) -> None:
        """Fetch no more; running invocations go on."""
        self._stopping.set()
        self._room.set()

    async def _fetch(self) -> None:
        """Receive once, as soon as there is room, and wait as long as the back-off says."""
        await self._room.wait()
        if self._stopping.is_set():
            return
        messages = await self._receive()
        for message in messages:
            self._start(self._deliver(message))
        await is_set_within(self._stopping, self._back_off.delay_after(found=bool(messages)))

    async def _receive(self) -> list[QueueMessage]:
        try:
            messages = await self._queue.receive(self._config.batch_size, self._lease_seconds)
        except StorageTrouble as error:
            if not is_polled_over(error):
                self._fail(error)
                self.stop()
                return []
            if not self._in_trouble:
                log.warning("queue %s: cannot be read, trying on: %s", self._queue.name, one_line(error))
            self._in_trouble = True
            return []
        if self._in_trouble:
            log.info("queue %s: can be read again", self._queue.name)
            self._in_trouble = False
        return messages

    def _start(self, delivery: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(delivery)
        self._in_process.add(task)
        task.add_done_callback(self._end)
        if len(self._in_process) > self._config.new_batch_threshold:
            self._room.clear()

    def _end(self, task: asyncio.Task[None]) -> None:
        self._in_process.discard(task)
        if len(self._in_process) <= self._config.new_batch_threshold:
            self._room.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._fail(error)

    async def _deliver(self, message: QueueMessage) -> None:
        lease = self._leases.add(message)
        try:
            succeeded = await self._invoke(message)
        finally:
            await self._leases.end(lease)
        try:
            await self._settle(message, lease, succeeded)
        except MessageGoneError:
            log.warning("queue %s: message %s is gone before it was settled", self._queue.name, message.id)

    async def _invoke(self, message: QueueMessage) -> bool | None:
        """Return whether the function returned, or None if it must not be called with this message."""
        if (message.dequeue_count or 0) > self._config.max_dequeue_count and self._queue.has_poison_queue:
            log.warning("queue %s: message %s came once too often", self._queue.name, message.id)
            return None
        try:
            body = decode_body(message.content, self._config.message_encoding)
        except ValueError as error:
            log.warning("queue %s: message %s: %s", self._queue.name, message.id, error)
            return None
        argument = functools.partial(function_message, message, body, binary=self._trigger.binary)
        about = f"message {message.id}, delivery {message.dequeue_count}"
        return await self._invoker.succeeds(self._function, argument, about)

    async def _settle(self, message: QueueMessage, lease: Lease, succeeded: bool | None) -> None:
        match self._disposition(message, succeeded):
            case Disposition.DELETE:
                await self._queue.delete(lease.message_id, lease.pop_receipt)
            case Disposition.RELEASE:
                seconds = self._config.visibility_timeout.total_seconds()
                await self._queue.hide(lease.message_id, lease.pop_receipt, seconds)
            case Disposition.POISON:
                await self._queue.copy_to_poison(message.content)
                await self._queue.delete(lease.message_id, lease.pop_receipt)
                log.warning("queue %s: message %s is poison", self._queue.name, message.id)
            case Disposition.LEAVE:
                log.warning("queue %s: message %s comes back when its lease ends", self._queue.name, message.id)

    def _disposition(self, message: QueueMessage, succeeded: bool | None) -> Disposition:
        if succeeded is None and self._queue.has_poison_queue:
            return Disposition.POISON
        return disposition(
            succeeded=bool(succeeded),
            dequeue_count=message.dequeue_count or 0,
            max_dequeue_count=self._config.max_dequeue_count,
            has_poison_queue=self._queue.has_poison_queue,
        )
