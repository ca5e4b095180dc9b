"""What commands show and ask on a terminal: bars, colours, and questions before something is done."""

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyte
import pytest

from tests.integration.ops.conftest import Bench, Control, Result, taken
from tests.integration.ops.test_dead_letters import left, letter, put

COLUMNS = 100


def type_and_answer(
    bench: Bench, *arguments: str, answer: str = "", columns: int = COLUMNS, after: str = "", then: int | None = None
) -> Result:
    """Run a command in a terminal; what it shows, with the codes for the terminal in it.

    `then` is a signal that it gets once it has shown `after`.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
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
        shown = b""
        signalled = False
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 2)[0]:
                if signalled and then is not None:
                    process.send_signal(then)  # one that strikes right before a read is not seen by it
                continue
            piece = _read(ours)
            if not piece:
                break
            shown += piece
            if then is not None and not signalled and after.encode() in shown:
                process.send_signal(then)
                signalled = True
        else:
            process.kill()
    os.close(ours)
    return Result(process.returncode, shown.decode(), "")


def wait_until_it_has_begun(pid: int) -> None:
    """Wait until a process has a handler of its own for SIGTERM."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        [caught] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
        if int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1):
            return
    raise AssertionError("it has not begun")


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


def on_a_screen(shown: str, columns: int) -> list[str]:
    """What is left on a screen in the end."""
    screen = pyte.Screen(columns, 200)
    pyte.Stream(screen).feed(shown)
    return [line.rstrip() for line in screen.display if line.strip()]


def test_the_next_command_can_be_copied_in_80_columns(bench: Bench) -> None:
    name = "a-rather-long-name-of-the-catalogue-of-the-harbour.csv"
    bench.write(name, f"id,project_id,a,b\n{bench.ids(1)[0]},{bench.project_id},x,y")
    result = type_and_answer(bench, "send", name, "--ignore", "b", "--yes", columns=80)
    assert result.code == 0
    command = f"vision-relay verify {name} --wait --ignore b"
    assert command in result.out.splitlines(), "as one line, however the terminal shows it"
    lines = on_a_screen(result.out, 80)
    assert lines[lines.index("to see what comes of it:") + 1 :] == [command[:80], command[80:]]


def test_an_event_has_lines_of_its_own_where_a_spinner_turns(bench: Bench) -> None:
    group = "employees-of-the-harbour"
    arguments = ("watch", "personGroup", group, "--wait", "--timeout", "20s", "--correlation-id", "c" * 60)
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(type_and_answer, bench, *arguments, columns=80)
        while not bench.watches.peek_messages() and not watching.done():
            time.sleep(0.05)
        event = {
            "specversion": "1.0",
            "id": "1",
            "source": "/x",
            "type": "VisionRelay.Training.Succeeded",
            "subject": f"persongroups/{group}",
            "time": "2026-01-31T12:00:00+00:00",
            "data": {"kind": "personGroup", "id": group, "status": "succeeded", "correlationId": "c" * 60},
        }
        bench.events.send_message(json.dumps(event))
        for watch in bench.watches.receive_messages():
            bench.watches.delete_message(watch)
        result = watching.result()
    assert result.code == 0
    lines = on_a_screen(result.out, 80)
    first = lines.index(f"2026-01-31T12:00:00 Training.Succeeded persongroups/{group}")
    assert lines[first + 1 :] == ["status=succeeded", f"correlationId={'c' * 60}"]


@pytest.mark.parametrize("command", [("dead-letters", "redrive"), ("dead-letters", "drop", "--all")])
def test_ctrl_c_at_a_question_ends_in_one_line(bench: Bench, command: tuple[str, ...]) -> None:
    put(bench, letter(bench))
    result = type_and_answer(bench, *command, after="/", then=signal.SIGINT)
    assert result.code == 130
    assert "interrupted" in result.out
    assert "Traceback" not in result.out
    assert left(bench) == 1


def test_ctrl_c_at_send_ends_in_one_line(bench: Bench) -> None:
    bench.catalogue(bench.ids(2))
    result = type_and_answer(bench, "send", "catalogue.csv", after="Send?", then=signal.SIGINT)
    assert result.code == 130
    assert "Traceback" not in result.out
    assert taken(bench.updates) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_signal_while_the_libraries_load_ends_in_one_line(bench: Bench, number: int, seconds: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ops", "status"], cwd=bench.folder, env=bench.environment(), stderr=subprocess.PIPE
    ) as process:
        wait_until_it_has_begun(process.pid)
        time.sleep(seconds)  # any moment is a good one
        process.send_signal(number)
        assert process.stderr is not None
        told = process.stderr.read().decode()
    assert process.returncode == 130
    assert told == "interrupted\n"


@pytest.mark.parametrize(
    "command", [("status", "--follow"), ("events", "tail"), ("watch", "personGroup", "a", "--wait")]
)
def test_sigterm_ends_what_follows_in_one_line(bench: Bench, command: tuple[str, ...]) -> None:
    result = type_and_answer(bench, *command, then=signal.SIGTERM, after=")" if command[0] == "watch" else "\n")
    assert result.code == 130
    assert "interrupted" in result.out
    assert "Traceback" not in result.out
