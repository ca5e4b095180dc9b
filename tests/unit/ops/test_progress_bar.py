"""How long work shows how far it is where there is no terminal."""

import io

import pytest

from ops import progress_bar
from ops.output import new_console
from ops.progress_bar import bar


@pytest.mark.parametrize("done", [0, 848])
def test_elsewhere_than_on_a_terminal_each_report_is_one_whole_line(monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_LINES", 0)
    log = io.StringIO()
    with bar(new_console(log), "asking Custom Vision", 2000, "images") as progress:
        progress(done, f"applied, {'1,261 messages in the queue':>60}")
    [line] = log.getvalue().splitlines()
    assert f"{done} images of 2,000 images" in line
    assert line.rstrip(", ") == line
