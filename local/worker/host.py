"""The host's end: starts a worker process on an app and calls its functions over gRPC."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc.aio

from local.child_process import ChildProcess, StartStop
from local.worker.protocol import METHOD, SERVICE, UNLIMITED_MESSAGES, messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from local.worker.shapes import Invocation

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 5.0
CONNECTED = re.compile("connected to the host")

_PROJECT = Path(__file__).parents[2]
_SUCCESS = messages.StatusResult.Success


class WorkerStartError(Exception):
    """The library could not index the app. The text is what the host would show in its log."""


class InvocationFailedError(Exception):
    """A function raised. The text is what the host would show in its log, with the traceback."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that the worker sent. `kept`: the host drops a user's line whose invocation is not executing."""

    level: str
    category: str
    text: str
    invocation_id: str
    is_system: bool
    kept: bool


class WorkerHost(StartStop):
    """One worker on one app, as long as its `async with` block.

        async with WorkerHost(app_root, settings, output) as host:
            await host.invoke("update_image_metadata", queue_invocation(…))

    `settings` win over the environment. What the process writes to its console is appended to the file `output`.
    """

    def __init__(self, app_root: Path, settings: Mapping[str, str], output: Path) -> None:
        self._app_root = app_root
        self._environment = {**os.environ, **settings}
        self._output = output
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._executing: dict[str, asyncio.Future[Any]] = {}
        self._stop = AsyncExitStack()
        self._pid: int | None = None
        self.functions: dict[str, Any] = {}
        """What the library found, by name: the protocol's RpcFunctionMetadata."""
        self.logs: list[LogLine] = []

    @property
    def pid(self) -> int:
        """The worker's process. Raises RuntimeError before the start."""
        if self._pid is None:
            raise RuntimeError("the worker was not started")
        return self._pid

    async def start(self) -> None:
        """Start the worker and have it index the app.

        Raises WorkerStartError if the app cannot be indexed, ChildFailedError if the process does not come up.
        """
        async with AsyncExitStack() as undo:
            port = await self._listen(undo)
            process = self._child_process(port)
            started = self._expect("start_stream")
            await process.start(CONNECTED, START_TIMEOUT_SECONDS)
            undo.push_async_callback(process.stop, STOP_TIMEOUT_SECONDS)
            self._pid = process.pid
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await started
                await self._initialise()
            self._stop = undo.pop_all()

    async def stop(self) -> None:
        """End the worker (SIGTERM): what still executes has failed."""
        await self._stop.aclose()

    async def invoke(self, name: str, invocation: Invocation) -> str:
        """Call a function and return the id of its invocation. Raises InvocationFailedError if the function does."""
        function = self.functions[name]
        [parameter] = function.bindings
        invocation_id = str(uuid4())
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._executing[invocation_id] = answer
        self._send(
            invocation_request=messages.InvocationRequest(
                invocation_id=invocation_id,
                function_id=function.function_id,
                input_data=[messages.ParameterBinding(name=parameter, data=invocation.data)],
                trigger_metadata=invocation.metadata,
                trace_context=messages.RpcTraceContext(trace_parent=f"00-{uuid4().hex}-{uuid4().hex[:16]}-00"),
            )
        )
        response = await answer
        if response.result.status != _SUCCESS:
            raise InvocationFailedError(_described(response.result))
        return invocation_id

    async def _listen(self, undo: AsyncExitStack) -> int:
        server = grpc.aio.server(options=UNLIMITED_MESSAGES)
        handler = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=messages.StreamingMessage.FromString,
            response_serializer=messages.StreamingMessage.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        port: int = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        undo.push_async_callback(server.stop, grace=None)
        return port

    def _child_process(self, port: int) -> ChildProcess:
        options = ["--port", str(port), "--app-root", str(self._app_root)]
        command = [sys.executable, "-m", "local.worker.process", *options]
        return ChildProcess("the worker", command, env=self._environment, cwd=_PROJECT, output=self._output)

    async def _initialise(self) -> None:
        answer = self._expect("worker_init_response")
        self._send(worker_init_request=messages.WorkerInitRequest(function_app_directory=str(self._app_root)))
        _raise_unless_successful((await answer).result)
        answer = self._expect("function_metadata_response")
        self._send(
            functions_metadata_request=messages.FunctionsMetadataRequest(function_app_directory=str(self._app_root))
        )
        indexed = await answer
        _raise_unless_successful(indexed.result)
        for function in indexed.function_metadata_results:
            answer = self._expect("function_load_response")
            request = messages.FunctionLoadRequest(function_id=function.function_id, metadata=function)
            self._send(function_load_request=request)
            _raise_unless_successful((await answer).result)
            self.functions[function.name] = function

    def _send(self, **content: Any) -> None:
        self._outbox.put_nowait(messages.StreamingMessage(request_id="host", **content))

    def _expect(self, content: str) -> asyncio.Future[Any]:
        self._waiting[content] = asyncio.get_running_loop().create_future()
        return self._waiting[content]

    async def _stream(self, incoming: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        reader = asyncio.create_task(self._read(incoming))
        try:
            while True:
                yield await self._outbox.get()
        finally:
            reader.cancel()

    async def _read(self, incoming: AsyncIterator[Any]) -> None:
        async for message in incoming:
            content = message.WhichOneof("content")
            match content:
                case "rpc_log":
                    self._keep(message.rpc_log)
                case "invocation_response":
                    answer = self._executing.pop(message.invocation_response.invocation_id)
                    answer.set_result(message.invocation_response)
                case _:
                    self._waiting.pop(content).set_result(getattr(message, content))

    def _keep(self, line: Any) -> None:
        is_system = line.log_category == messages.RpcLog.System
        self.logs.append(
            LogLine(
                level=messages.RpcLog.Level.Name(line.level),
                category=line.category,
                text=line.message,
                invocation_id=line.invocation_id,
                is_system=is_system,
                kept=is_system or not line.invocation_id or line.invocation_id in self._executing,
            )
        )


def _described(result: Any) -> str:
    return f"{result.exception.message}\n{result.exception.stack_trace}"


def _raise_unless_successful(result: Any) -> None:
    if result.status != _SUCCESS:
        raise WorkerStartError(_described(result))
