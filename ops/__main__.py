"""Starts `vision-relay` and `python -m ops`.

Nothing slow is imported here, so that Ctrl-C ends the command in one line also while its libraries load.
"""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130
VERBOSE = ("--verbose", "--debug")


def main() -> None:
    """Run the command line. SIGTERM ends a command as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)  # an import could lose the exception that a signal raises
    from ops.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        app(_verbose_first(sys.argv[1:]))
    except KeyboardInterrupt:
        _end()


def _end(*_: object) -> None:
    print("interrupted", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)  # after a signal amid an `eval`, `sys.exit` would end as killed by it


def _verbose_first(arguments: list[str]) -> list[str]:
    """Move `--verbose` to the front, where it belongs: people type it at the end."""
    given = [argument for argument in arguments if argument in VERBOSE]
    return [*given[:1], *(argument for argument in arguments if argument not in VERBOSE)]


if __name__ == "__main__":
    main()
