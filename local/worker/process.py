"""`python -m local.worker.process`: the worker's process, which the host starts and calls over gRPC.

Microsoft's library azure-functions-runtime finds the app's functions, turns invocations into calls and answers them.
What the image puts around it is not published as a package and stands here: the stream to the host, read by a thread;
a task for each message; the logging handler on the root logger; and which invocation a log line belongs to. One
difference is of no account to an app: there is no way back to logging on the console.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import azure_functions_runtime as runtime
import grpc

from local.worker.protocol import METHOD, SERVICE, UNLIMITED_MESSAGES, messages

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from contextvars import Context

CONNECTED = "connected to the host"
CONNECT_TIMEOUT_SECONDS = 10.0
LEVELS = (
    (logging.CRITICAL, messages.RpcLog.Critical),
    (logging.ERROR, messages.RpcLog.Error),
    (logging.WARNING, messages.RpcLog.Warning),
    (logging.INFO, messages.RpcLog.Information),
    (logging.DEBUG, messages.RpcLog.Debug),
    (logging.NOTSET, messages.RpcLog.Trace),
)
SYSTEM_LOGGERS = ("azure.functions", "local.worker")
"""What these log is the worker's; the rest is the app's."""

log = logging.getLogger("local.worker")


@dataclass(frozen=True, slots=True)
class LibraryRequest:
    """What the library's functions take."""

    name: str
    request: Any
    properties: dict[str, Any] = field(default_factory=dict)


class InvocationTask(asyncio.Task[Any]):
    """A task that belongs to the invocation of the task that started it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(coroutine, loop=loop, **options)
        self.invocation_id: str | None = getattr(asyncio.current_task(loop), "invocation_id", None)


class Worker:
    """One worker on one stream, to be used inside a running loop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._started_last: str | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Serve the host until it closes the stream."""
        self._loop.set_task_factory(_new_task)
        self._send(start_stream=messages.StartStream(worker_id="worker"))
        threading.Thread(target=self._read, name="grpc", daemon=True).start()
        await self._ended

    def send_log(self, record: logging.LogRecord, text: str) -> None:
        """Send a log record to the host, with the invocation it belongs to if there is one."""
        is_system = record.name.startswith(SYSTEM_LOGGERS)
        self._send(
            rpc_log=messages.RpcLog(
                level=next(level for least, level in LEVELS if record.levelno >= least),
                message=text,
                category=record.name,
                log_category=messages.RpcLog.System if is_system else messages.RpcLog.User,
                invocation_id=self._invocation_id() or "",
            )
        )

    def _invocation_id(self) -> str | None:
        """The current task's, or else that of a `def` function's thread, or else that of the one started last."""
        try:
            of_task: str | None = getattr(asyncio.current_task(), "invocation_id", None)
        except RuntimeError:  # this thread has no loop
            of_task = None
        return of_task or runtime.invocation_id_cv.get() or self._started_last

    def _send(self, **content: Any) -> None:
        self._outbox.put(messages.StreamingMessage(**content))

    def _read(self) -> None:
        """Read the stream, in a thread of its own."""
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", UNLIMITED_MESSAGES) as channel:
            grpc.channel_ready_future(channel).result(CONNECT_TIMEOUT_SECONDS)
            print(CONNECTED, flush=True)
            open_stream = channel.stream_stream(
                f"/{SERVICE}/{METHOD}",
                request_serializer=messages.StreamingMessage.SerializeToString,
                response_deserializer=messages.StreamingMessage.FromString,
            )
            try:
                for message in open_stream(self._outgoing()):
                    self._loop.call_soon_threadsafe(self._loop.create_task, self._answer(message))
            except grpc.RpcError as error:
                print(f"the stream to the host has ended: {error}", file=sys.stderr, flush=True)
            finally:
                self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _outgoing(self) -> Iterator[Any]:
        while True:
            yield self._outbox.get()

    async def _answer(self, message: Any) -> None:
        match message.WhichOneof("content"):
            case "worker_init_request":
                properties = {"protos": messages, "host": "127.0.0.1"}
                runtime.start_threadpool_executor()
                request = LibraryRequest("WorkerInitRequest", message, properties)
                self._send(worker_init_response=await runtime.worker_init_request(request))
            case "functions_metadata_request":
                request = LibraryRequest("FunctionsMetadataRequest", message)
                self._send(function_metadata_response=await runtime.functions_metadata_request(request))
            case "function_load_request":
                request = LibraryRequest("FunctionLoadRequest", message)
                self._send(function_load_response=await runtime.function_load_request(request))
            case "invocation_request":
                await self._invoke(message)
            case unknown:
                log.error("unknown message %s", unknown)

    async def _invoke(self, message: Any) -> None:
        invocation = message.invocation_request
        log.info("invocation %s of function %s received", invocation.invocation_id, invocation.function_id)
        self._started_last = invocation.invocation_id
        task = asyncio.current_task()
        if isinstance(task, InvocationTask):
            task.invocation_id = invocation.invocation_id
        self._send(invocation_response=await runtime.invocation_request(LibraryRequest("InvocationRequest", message)))


class HostHandler(logging.Handler):
    """Sends what is logged to the host."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._worker.send_log(record, self.format(record))


def _new_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Context | None = None, **options: Any
) -> InvocationTask:
    return InvocationTask(coroutine, loop=loop, context=context, **options)


async def _main(port: int) -> None:
    worker = Worker(port)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(HostHandler(worker))
    await worker.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.worker.process", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="where the host listens, on loopback")
    parser.add_argument("--app-root", required=True, help="the folder with function_app.py")
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.app_root)
    asyncio.run(_main(arguments.port))
