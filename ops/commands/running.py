"""Runs a command, and turns every error into one line and an exit code."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import traceback
from typing import TYPE_CHECKING

import typer
from azure.core.exceptions import AzureError

from ops.catalogue.row import CatalogueError
from ops.output import Exit, OpsError, printable
from ops.send_journal import JournalBusy
from ops.settings import load_ops_settings
from ops.storage import describe_storage
from shared.errors import AccessDenied, ApiError, SettingsError, StorageTrouble
from shared.redaction import redacted
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from ops.output import Output
    from ops.settings import OpsSettings
    from ops.storage import OpsQueue


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))


def log_everything() -> None:
    """Show on standard error what the libraries log, without secrets and control characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])


def run(output: Output, settings: Path | None, work: Callable[[OpsSettings], Awaitable[Exit]]) -> None:
    """Read the settings from the environment and this file, do the work, and exit with its code."""
    if not logging.root.isEnabledFor(logging.DEBUG):
        for noisy in ("azure", "httpx", "asyncio"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)

    async def do() -> Exit:
        return await work(load_ops_settings(settings))

    try:
        code = asyncio.run(do())
    except KeyboardInterrupt:
        output.hint("interrupted")
        code = Exit.INTERRUPTED
    except Exception as error:
        text, code = describe(error)
        output.error(redacted(text), error.command if isinstance(error, OpsError) else "")
    raise typer.Exit(code)


async def need_queue(queue: OpsQueue, setting: str) -> None:
    """Raise `OpsError` if the queue that this setting names does not exist."""
    if await queue.count() is None:
        raise OpsError(
            f"there is no queue {queue.name}: check {setting} and AzureWebJobsStorage, or create it",
            Exit.SETTINGS,
            "vision-relay doctor --create-queues",
        )


def describe(error: Exception) -> tuple[str, Exit]:
    """Describe an error and choose the exit code. An unexpected error is described by its traceback."""
    match error:
        case OpsError():
            return str(error), error.code
        case CatalogueError():
            return str(error), Exit.USAGE
        case SettingsError():
            return str(error), Exit.SETTINGS
        case JournalBusy():
            return "another process is sending this already; wait for it, or end it", Exit.PROBLEM
        case AccessDenied():
            return str(error), Exit.SETTINGS
        case ApiError() | StorageTrouble():
            return str(error), Exit.UNREACHABLE
        case AzureError():
            return describe_storage(error)
        case OSError(filename=str() as name, strerror=str() as problem):
            return f"{name}: {problem}", Exit.PROBLEM
        case sqlite3.Error() | OSError():
            return f"on this machine: {one_line(error)}", Exit.PROBLEM
        case _:
            return "".join(traceback.format_exception(error)), Exit.PROBLEM
