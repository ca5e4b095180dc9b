"""Makes commands of coroutine functions: with their options, and with a line and an exit code for every error."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sqlite3
import traceback
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from azure.core.exceptions import AzureError

from ops.catalogue.row import CatalogueError
from ops.commands.options import JsonOption, SettingsOption
from ops.output import Exit, OpsError, Output, printable
from ops.send_journal import JournalBusy
from ops.settings import load_ops_settings
from ops.storage import describe_storage
from shared.errors import AccessDenied, ApiError, SettingsError, StorageTrouble
from shared.redaction import redacted
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ops.settings import OpsSettings
    from ops.storage import OpsQueue

    Work = Callable[..., Coroutine[Any, Any, Exit]]


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))


def log_everything() -> None:
    """Show on standard error what the libraries log, without secrets and control characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])


@dataclass
class Call:
    """One call of a command. Its settings are read when they are first needed, after the check of its arguments."""

    output: Output
    settings_file: Path | None

    @cached_property
    def settings(self) -> OpsSettings:
        """The settings. Raises `SettingsError`."""
        return load_ops_settings(self.settings_file)


def _call(as_json: JsonOption = False, settings: SettingsOption = None) -> Call:
    return Call(Output(as_json), settings)


def command(**makers: Callable[..., Any]) -> Callable[[Work], Callable[..., None]]:
    """Make a command of a coroutine function that returns its exit code.

    Each parameter that `makers` names is replaced by the options of its maker, and gets what that returns. The
    parameter `call` is replaced by --json and --settings.
    """
    makers |= {"call": _call}
    options = {name: inspect.signature(make, eval_str=True).parameters for name, make in makers.items()}

    def make_command(work: Work) -> Callable[..., None]:
        own = inspect.signature(work, eval_str=True).parameters

        @wraps(work)
        def run_command(**given: Any) -> None:
            made = {name: make(**{each: given[each] for each in options[name]}) for name, make in makers.items()}
            every = given | made
            run(made["call"].output, work(**{name: every[name] for name in own}))

        shown = {name: option for name, option in own.items() if name not in makers}
        for more in options.values():
            shown |= more
        keywords = [option.replace(kind=option.KEYWORD_ONLY) for option in shown.values()]
        vars(run_command)["__signature__"] = inspect.Signature(keywords)  # where typer looks for options
        return run_command

    return make_command


def run(output: Output, work: Coroutine[Any, Any, Exit]) -> None:
    """Do the work of a command, and exit with its code."""
    if not logging.root.isEnabledFor(logging.DEBUG):
        for noisy in ("azure", "httpx", "asyncio"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)

    try:
        code = asyncio.run(work)
    except typer.BadParameter:
        raise
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
