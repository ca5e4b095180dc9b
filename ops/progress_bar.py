"""Shows the progress of long work: a bar on a terminal; elsewhere a line every ten seconds."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from ops.output import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

SECONDS_BETWEEN_LINES = 10.0
BYTES = "bytes"


class Bar(Protocol):
    """Shows progress."""

    def __call__(self, done: float, note: str = ...) -> None:
        """Show how much is done. `note` replaces the description."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed or task.finished_speed, task.fields["unit"]), style="progress.data.speed")


@contextmanager
def bar(console: Console, what: str, total: float, unit: str, done: float = 0) -> Iterator[Bar]:
    """Show progress from `done` to `total`, in `unit` (`bytes` are shown in kB, MB and so on)."""
    if not console.is_terminal:
        yield _lines(console, what, total, unit, done)
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

        def draw(done: float, note: str = what) -> None:
            progress.update(task, completed=done, description=note)

        yield draw


def _lines(console: Console, what: str, total: float, unit: str, done_before: float) -> Bar:
    began = last = time.monotonic()

    def show(done: float, note: str = what) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        speed = (done - done_before) / (now - began)
        pace = f", {_rate(speed, unit)}, {duration((total - done) / speed)} left" if speed > 0 else ""
        amount = f"{_amount(done, unit)} of {_amount(total, unit)}"
        console.print(f"{note}: {amount}{pace}", markup=False, soft_wrap=True)

    return show


def _amount(count: float, unit: str) -> str:
    return decimal(int(count)) if unit == BYTES else f"{count:,.0f} {unit}"


def _rate(speed: float | None, unit: str) -> str:
    return f"{_amount(speed, unit)}/s" if speed else ""
