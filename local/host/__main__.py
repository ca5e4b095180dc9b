"""`python -m local.host`: run the functions of an app on this machine."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from local.host.app_model import import_app, index
from local.host.errors import HostStartError
from local.host.host import App, run_app
from local.host.host_config import read_host_config
from local.host.invoker import Invoker
from local.host.settings import load_settings, local_options, thread_count

EXIT_FAILED = 1
EXIT_NOT_STARTED = 2

log = logging.getLogger("host")


def main() -> int:
    """Run until SIGTERM or Ctrl-C and return the exit code: 0, 1 after a failure, 2 if the app cannot be started."""
    arguments = _parser().parse_args()
    _configure_logging(verbose=arguments.verbose)
    try:
        app = _load(arguments.app_root.resolve(), arguments.settings)
        timeout = app.config.function_timeout
        invoker = Invoker(
            None if timeout is None else timeout.total_seconds(),
            thread_count(app.settings),
            tracebacks=arguments.verbose,
        )
        ended_as_asked = asyncio.run(run_app(app, invoker))
    except HostStartError as error:
        log.error("%s", error, exc_info=error if arguments.verbose else None)  # noqa: TRY400 - one line
        return EXIT_NOT_STARTED
    # An app has no place to close its clients, so that they are open now is no error to be told.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    code = 0 if ended_as_asked else EXIT_FAILED
    if not invoker.close():
        # Python would wait for the threads of `def` functions that nothing can stop.
        logging.shutdown()
        os._exit(code)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.host",
        description="Run the queue and timer triggers of an Azure Functions app (Python v2 model) on this machine.",
        epilog=(
            "Settings of this host alone: LOCAL_HOST_LEASE_SECONDS (600), how long a received message is invisible "
            "without renewal; LOCAL_HOST_DRAIN_SECONDS (30), how long invocations may go on after a stop."
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


def _configure_logging(*, verbose: bool) -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", level=logging.INFO)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    # One line per HTTP call is too much for an app that makes hundreds a second.
    for name in ("azure", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _load(app_root: Path, settings_file: Path | None) -> App:
    settings = load_settings(app_root, settings_file, os.environ)
    options = local_options(settings)
    config = read_host_config(app_root, settings)
    # The app reads its settings from the environment, possibly while it is imported, and its files from its root.
    os.environ.update(settings)
    os.chdir(app_root)
    return App(app_root, settings, config, options, index(import_app(app_root), settings))


if __name__ == "__main__":
    sys.exit(main())
