"""Which functions an app has: its function_app.py is imported and asked, as the Python worker does."""

import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from azure.functions.decorators import queue, timer
from azure.functions.decorators.core import DataType, Trigger
from azure.functions.decorators.function_app import Function, FunctionRegister

from local.host.errors import HostStartError, one_line
from local.host.schedule import Schedule, parse_schedule
from local.host.settings import is_disabled, resolve

MODULE = "function_app"


@dataclass(frozen=True)
class QueueTrigger:
    """A function is called for each message of a queue.

    `connection` names the settings of the account. `binary`: the body is bound as bytes, not as a string.
    """

    queue_name: str
    connection: str
    binary: bool = False


@dataclass(frozen=True)
class TimerTrigger:
    """A function is called by the clock."""

    schedule: Schedule
    run_on_startup: bool


@dataclass(frozen=True)
class AppFunction:
    """One function of the app: what to call, and its one argument's name."""

    name: str
    call: Callable[..., object]
    argument: str
    trigger: QueueTrigger | TimerTrigger

    @property
    def is_async(self) -> bool:
        """Whether the call returns a coroutine."""
        return inspect.iscoroutinefunction(self.call)


def import_app(app_root: Path) -> FunctionRegister:
    """Import function_app.py and return the one FunctionApp in it. Raises HostStartError."""
    file = app_root / f"{MODULE}.py"
    if not file.exists():
        raise HostStartError(f"there is no {MODULE}.py in {app_root}")
    sys.path.insert(0, str(app_root))
    try:
        module = importlib.import_module(MODULE)
    # An app that calls sys.exit while it is imported has not started either.
    except (Exception, SystemExit) as error:
        raise HostStartError(f"{MODULE}.py cannot be imported: {one_line(error)}") from error
    apps = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    if len({id(app) for app in apps}) != 1:
        raise HostStartError(f"{MODULE}.py must have exactly one FunctionApp, it has {len(apps)}")
    return apps[0]


def index(app: FunctionRegister, settings: Mapping[str, str]) -> list[AppFunction]:
    """Return the app's functions without those that are disabled. Raises HostStartError."""
    # The library warns of every app without HTTP functions that it has no use for an HTTP auth level.
    logging.disable(logging.WARNING)
    try:
        functions = app.get_functions()
    except ValueError as error:
        raise HostStartError(one_line(error)) from error
    finally:
        logging.disable(logging.NOTSET)
    if not functions:
        raise HostStartError(f"{MODULE}.py registers no function")
    enabled = [f for f in functions if not is_disabled(str(f.get_function_name()), settings)]
    return [_app_function(function, settings) for function in enabled]


def _app_function(function: Function, settings: Mapping[str, str]) -> AppFunction:
    name = str(function.get_function_name())
    trigger = function.get_trigger()
    if trigger is None:
        raise HostStartError(f"function {name} has no trigger")
    others = [binding.type for binding in function.get_bindings() if binding is not trigger]
    if others:
        raise HostStartError(f"function {name} has a binding that this host does not know: {others[0]}")
    if function.get_setting("retry_policy") is not None:
        raise HostStartError(f"function {name} has a retry policy, which this host does not know")
    call = function.get_user_function()
    if list(inspect.signature(call).parameters) != [trigger.name]:
        raise HostStartError(f"function {name} must have one parameter, '{trigger.name}', that of its trigger")
    try:
        return AppFunction(name, call, trigger.name, _trigger(trigger, settings))
    except HostStartError as error:
        raise HostStartError(f"function {name}: {error}") from error


def _trigger(trigger: Trigger, settings: Mapping[str, str]) -> QueueTrigger | TimerTrigger:
    match trigger:
        case queue.QueueTrigger():
            binary = trigger.data_type in (DataType.BINARY.value, DataType.STREAM.value)
            return QueueTrigger(resolve(trigger.queue_name, settings), resolve(trigger.connection, settings), binary)
        case timer.TimerTrigger():
            schedule = parse_schedule(resolve(trigger.schedule, settings))
            return TimerTrigger(schedule, bool(trigger.run_on_startup))
        case _:
            raise HostStartError(f"this host does not know the trigger '{trigger.type}'")
