"""Holds the log lines of the app's start, and says on stderr why it cannot start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from functions.invocation import invocations
from shared.installed_python import python_and_packages
from shared.redaction import redacted


@contextmanager
def starting() -> Iterator[None]:
    """Say on stderr why the app cannot start: the host keeps an error of the import to itself, but shows stderr."""
    invocations.install()
    try:
        yield
    except Exception as error:
        why = " ".join(redacted(str(error)).split())
        sentence = f"Vision Relay cannot start: {type(error).__name__}: {why} ({python_and_packages()})"
        print(sentence, file=sys.stderr, flush=True)
        raise
