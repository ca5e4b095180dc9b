"""What commands show and ask on a terminal: bars, colours, and questions before something is done."""

import fcntl
import os
import struct
import subprocess
import sys
import termios

import pytest

from tests.integration.ops.conftest import Bench, Control, Result, taken
from tests.integration.ops.test_dead_letters import left, letter, put

COLUMNS = 100


def type_and_answer(bench: Bench, *arguments: str, answer: str = "") -> Result:
    """Run a command in a terminal; what it shows, with the codes for the terminal in it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "ops", *arguments],
        cwd=bench.folder,
        env=bench.environment({"TERM": "xterm-256color"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return Result(process.returncode, shown.decode(), "")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # what Linux says when nobody has the other end any more
        return b""


@pytest.mark.parametrize(("answer", "code", "messages"), [("y\n", 0, 1), ("\n", 0, 1), ("n\n", 130, 0)])
def test_send_asks_and_shows_how_it_goes_on(bench: Bench, answer: str, code: int, messages: int) -> None:
    bench.catalogue(bench.ids(2))
    result = type_and_answer(bench, "send", "catalogue.csv", answer=answer)
    assert result.code == code
    assert "Send? [Y/n]" in result.out
    assert ("sending" in result.out) is bool(messages)
    assert len(taken(bench.updates)) == messages


def test_bars_have_colours_and_the_width_is_the_terminals(bench: Bench, control: Control) -> None:
    ids = bench.ids(2)
    control.add_images(bench.project_id, ids, {"collection": "Collection 0"})
    bench.catalogue(ids)
    result = type_and_answer(bench, "verify", "catalogue.csv")
    assert result.code == 0
    assert "\x1b[" in result.out
    assert "100%" in result.out


@pytest.mark.parametrize(("answer", "remaining"), [("n\n", 1), ("y\n", 0)])
def test_redrive_asks_before_it_moves(bench: Bench, answer: str, remaining: int) -> None:
    put(bench, letter(bench))
    result = type_and_answer(bench, "dead-letters", "redrive", answer=answer)
    assert result.code == 0
    assert "Move 1 letter back? [Y/n]" in result.out
    assert left(bench) == remaining


@pytest.mark.parametrize(("answer", "remaining"), [("\n", 1), ("y\n", 0)])
def test_drop_asks_and_takes_silence_for_no(bench: Bench, answer: str, remaining: int) -> None:
    put(bench, letter(bench))
    result = type_and_answer(bench, "dead-letters", "drop", "--all", answer=answer)
    assert result.code == 0
    assert "Drop 1 letter for ever? [y/N]" in result.out
    assert left(bench) == remaining


def test_watch_waits_on_one_line_that_changes(bench: Bench) -> None:
    result = type_and_answer(bench, "watch", "personGroup", "employees", "--wait", "--timeout", "2s")
    assert result.code == 1
    assert "training not found, its watch waits" in result.out
