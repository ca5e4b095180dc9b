"""What all tests share."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from shared import redaction

settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's affair
settings.register_profile(  # the same examples each time, and not the smallest one that fails
    "mutation", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("any machine")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name no test after bytes: what is compressed differs from process to process, and those who share the tests
    must call them the same."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let those who share the tests begin with the ones that wait: the short ones then fill up the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.nodeid.startswith("tests/unit/"))


@pytest.fixture(autouse=True)
def libraries_that_log() -> Iterator[None]:
    """Let no command that a test runs silence the libraries for the tests after it."""
    yield
    for name in ("azure", "httpx", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test know the secrets of the tests before it."""
    monkeypatch.setattr(redaction, "_lasting", set())
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
