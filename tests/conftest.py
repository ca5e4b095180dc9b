"""What all tests share."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import settings

from shared import redaction

settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test know the secrets of the tests before it."""
    monkeypatch.setattr(redaction, "_lasting", {})
    monkeypatch.setattr(redaction, "_known", ())
    redaction._tokens.clear()


@pytest.fixture(scope="session", autouse=True)
def main_loop() -> Iterator[None]:
    """An event loop of the main thread that is closed at the end.

    looptime's plugin asks for the thread's loop around every test, also around those that are not async. Python
    would make one then, which nobody trips.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
