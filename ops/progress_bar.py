"""Shows the progress of long work: a bar on a terminal; elsewhere a line every ten seconds."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ops.output import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

SECONDS_BETWEEN_LINES = 10.0
BYTES = "bytes"


class Bar(Protocol):
    """The progress of some work."""

    def to(self, done: float, note: str | None = None) -> None:
        """Show how much is done. `note` replaces the description."""
        ...


class _Rate(ProgressColumn):
    """The rate per second."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed or task.finished_speed, task.fields["unit"]), style="progress.data.speed")


@contextmanager
def bar(console: Console, what: str, total: float, unit: str, done: float = 0) -> Iterator[Bar]:
    """Show progress from `done` to `total`, in `unit` (`bytes` are shown in kB, MB and so on)."""
    if not console.is_terminal:
        yield _Lines(console, what, total, unit, done)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task(what, total=total or 1, completed=int(done), unit=unit)
        yield _Drawn(progress, task)


class _Drawn:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def to(self, done: float, note: str | None = None) -> None:
        self._progress.update(self._task, completed=done)
        if note is not None:
            self._progress.update(self._task, description=note)


class _Lines:
    """Prints a line every ten seconds."""

    def __init__(self, console: Console, what: str, total: float, unit: str, done: float) -> None:
        self._console = console
        self._what, self._total, self._unit = what, total, unit
        self._began, self._done_before = time.monotonic(), done
        self._said = self._began

    def to(self, done: float, note: str | None = None) -> None:
        now = time.monotonic()
        if now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._said = now
        speed = (done - self._done_before) / (now - self._began)
        pace = f", {_rate(speed, self._unit)}, {duration((self._total - done) / speed)} left" if speed > 0 else ""
        amount = f"{_amount(done, self._unit)} of {_amount(self._total, self._unit)}"
        self._console.print(f"{note or self._what}: {amount}{pace}", markup=False, soft_wrap=True)


def _amount(count: float, unit: str) -> str:
    return decimal(int(count)) if unit == BYTES else f"{count:,.0f} {unit}"


def _rate(speed: float | None, unit: str) -> str:
    return f"{_amount(speed, unit)}/s" if speed else ""
