"""uvicorn, set up so that a connection can be broken on purpose."""

import asyncio
import contextlib
import signal
import socket
import struct
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from local.simulation.app import BREAK_CONNECTION

HOST = "127.0.0.1"
# Longer than any client keeps an idle connection, so that none meets one which is just being closed here.
KEEP_ALIVE_SECONDS = 120
GRACE_SECONDS = 1

# With a linger time of zero, closing a socket resets its connection.
_NO_LINGER = struct.pack("ii", 1, 0)


class BreakableProtocol(HttpToolsProtocol):
    """Offers applications the extension `BREAK_CONNECTION`."""

    def on_message_begin(self) -> None:
        """Add the extension to the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {BREAK_CONNECTION: self._break_connection}  # type: ignore[dict-item]

    def _break_connection(self, *, reset: bool) -> None:
        if not reset:
            self.transport.close()
            return
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT without raising them again afterwards: having stopped is what was asked for."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        yield

    def stop(self) -> None:
        """Take no more connections, let calls in flight end for a moment, then return from `serve`."""
        self.should_exit = True


async def serve(app: ASGIApp, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve on the loopback interface until told to stop. Port 0 is any free one; `on_ready` is told the address.

    Raises:
        OSError: the port is taken.
    """
    config = uvicorn.Config(
        app,
        http=BreakableProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    with _listen(port, config.backlog) as listener:
        # A connection made from here on waits in the backlog until it is accepted.
        on_ready(f"http://{HOST}:{listener.getsockname()[1]}")
        await server.serve(sockets=[listener])


def _listen(port: int, backlog: int) -> socket.socket:
    # asyncio sends small writes at once (TCP_NODELAY) only where the socket says that it is TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener
