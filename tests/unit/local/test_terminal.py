"""What `make run` shows of the host's log."""

import pytest

from local.terminal import WIDTH, shown

REASON = "message 7 (correlation id scan-0815) is dead-lettered, refused: ErrorImageNotFound, which no image here has"


def test_a_line_begins_with_the_time_of_day() -> None:
    line = "2026-01-31 12:00:00,123 INFO    shared.services.events: event 1 is published"
    assert shown(line) == ["12:00:00 event 1 is published"]


def test_an_error_says_that_it_is_one() -> None:
    line = "2026-01-31 12:00:00,123 ERROR   shared.limits.admission: calls are suspended"
    assert shown(line) == ["12:00:00 ERROR calls are suspended"]


def test_a_long_line_goes_on_below_and_nothing_of_it_is_lost() -> None:
    lines = shown(f"2026-01-31 12:00:00,123 WARNING shared.metadata_updates: {REASON}")
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith(" " * 9) for line in lines[1:])
    assert " ".join(line[9:] for line in lines) == REASON


@pytest.mark.parametrize("line", ["x" * 500, "Traceback (most recent call last):", "  File x, line 1", ""])
def test_what_is_no_log_line_is_shown_as_well(line: str) -> None:
    lines = shown(line)
    assert all(len(line) <= WIDTH for line in lines)
    assert "".join(line.strip() for line in lines) == line.strip()


def test_a_uuid_is_shortened_and_any_other_id_is_not_torn() -> None:
    uuid, correlation_id = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d", "scan-of-the-harbour-0815"
    lines = shown(f"2026-01-31 12:00:00,123 INFO    shared: {uuid} {'x' * 50} {correlation_id}")
    assert lines == [f"12:00:00 0f2b8b4e… {'x' * 50}", f"         {correlation_id}"]


@pytest.mark.parametrize(
    "text",
    [
        "64 of 64 images applied in 12.34 s (project 0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d)",
        "published VisionRelay.ImageMetadata.Rejected of projects/0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d",
        "published VisionRelay.Training.WatchExpired of persongroups/employees",
    ],
)
def test_a_batch_and_an_event_fit_one_line(text: str) -> None:
    assert len(shown(f"2026-01-31 12:00:00,123 INFO    shared: {text}")) == 1
