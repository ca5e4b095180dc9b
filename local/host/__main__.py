"""`python -m local.host`: run the functions of an app on this machine."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from local.host.app_model import import_app, index
from local.host.errors import HostStartError
from local.host.host import App, run_app
from local.host.host_config import read_host_config
from local.host.invocation_logs import InvocationLogs
from local.host.invoker import Invoker
from local.host.settings import OWN_SETTINGS, load_settings, local_options, thread_count

EXIT_NOT_STARTED = 2

log = logging.getLogger("host")


def main() -> int:
    """Run until SIGTERM or Ctrl-C; returns 2 if the app cannot be started. `run_app` has the other exit codes."""
    arguments = _parser().parse_args()
    logs = InvocationLogs()
    _configure_logging(logs, verbose=arguments.verbose)
    restart = _restart_as_now()
    try:
        app = _load(arguments.app_root.resolve(), arguments.settings, logs)
        timeout = app.config.function_timeout
        invoker = Invoker(
            None if timeout is None else timeout.total_seconds(),
            thread_count(app.settings),
            logs,
            tracebacks=arguments.verbose,
        )
        asyncio.run(run_app(app, invoker, restart))
    except HostStartError as error:
        log.error("%s", error, exc_info=error if arguments.verbose else None)  # noqa: TRY400 - one line
    return EXIT_NOT_STARTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.host",
        description="Run the queue and timer triggers of an Azure Functions app (Python v2 model) on this machine.",
        epilog=(
            "Settings of this host alone: LOCAL_HOST_LEASE_SECONDS (600), how long a received message is invisible "
            "without renewal; LOCAL_HOST_DRAIN_SECONDS (10), how long invocations may go on after a stop; "
            "LOCAL_HOST_SHOW_DROPPED (false), write the log lines that Azure would drop too, marked [dropped]. "
            "SIGUSR1 lets everything that is executing fail, as when Azure's Python worker ends."
        ),
    )
    parser.add_argument(
        "--app-root", type=Path, default=Path(), help="folder with function_app.py and host.json (default: this one)"
    )
    parser.add_argument(
        "--settings",
        type=Path,
        help="file with app settings (default: local.settings.json there, if any); the environment wins over it",
    )
    parser.add_argument("--verbose", action="store_true", help="log every invocation, and failures with traceback")
    return parser


def _configure_logging(logs: InvocationLogs, *, verbose: bool) -> None:
    own, apps = logging.StreamHandler(), logging.StreamHandler()
    apps.addFilter(logs)
    for handler in (own, apps):
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[apps])
    log.addHandler(own)
    log.propagate = False  # as the host's own lines do not pass through the worker, where the app may filter
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    # Of this host's own calls to storage, one line each at INFO.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)


def _restart_as_now() -> Callable[[], NoReturn]:
    """What replaces this process by one that begins as this one did."""
    folder, environment = Path.cwd(), dict(os.environ)

    def restart() -> NoReturn:
        logging.shutdown()
        os.chdir(folder)
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606 - the command is this one

    return restart


def _load(app_root: Path, settings_file: Path | None, logs: InvocationLogs) -> App:
    settings = load_settings(app_root, settings_file, os.environ)
    options = local_options(settings)
    logs.show_dropped = options.show_dropped
    config = read_host_config(app_root, settings)
    # The app reads its settings from the environment, possibly while it is imported, and its files from its root.
    os.environ.update(settings)
    for name in OWN_SETTINGS:
        os.environ.pop(name, None)
    os.chdir(app_root)
    return App(app_root, settings, config, options, index(import_app(app_root), settings))


if __name__ == "__main__":
    sys.exit(main())
