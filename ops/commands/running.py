"""Runs a command's coroutine, and turns every error into one line and an exit code."""

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
from ops.storage_errors import describe_storage
from shared.errors import AccessDenied, ApiError, SettingsError, StorageTrouble
from shared.redaction import redacted
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ops.output import Output
    from ops.settings import OpsSettings


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))


def log_everything() -> None:
    """Show on standard error everything that the libraries log, without secrets and control characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])


def run(output: Output, settings: Callable[[], OpsSettings], work: Callable[[OpsSettings], Awaitable[Exit]]) -> None:
    """Load the settings, do the work and exit with its code."""
    if not logging.root.isEnabledFor(logging.DEBUG):
        for noisy in ("azure", "httpx", "asyncio"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)

    async def do() -> Exit:
        return await work(settings())

    try:
        code = asyncio.run(do())
    except KeyboardInterrupt:
        output.hint("interrupted")
        code = Exit.INTERRUPTED
    except Exception as error:
        text, code = describe(error)
        output.error(redacted(text), error.command if isinstance(error, OpsError) else "")
    raise typer.Exit(code)


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
            return "this is being sent by another process already; wait for it, or end it", Exit.PROBLEM
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
