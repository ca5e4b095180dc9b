"""What is printed can be read, and cannot write to an operator's terminal."""

import io
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ops.commands.dead_letters import _body_text
from ops.commands.options import parse_duration
from ops.commands.running import log_everything, run
from ops.dead_letters import read_letter
from ops.output import Exit, Output, new_console, wrapped
from ops.storage import Seen
from shared.redaction import hide

EVIL = "A\x9b2J\x9d52;c;ZXZpbA==\x9cC\x7fD\u202eE\u2028F\x1b[2JG\U000e0001"
"""Erases the screen, writes to the clipboard, turns the text around: in C1 codes, ESC, DEL, bidirectional marks."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table(text: str) -> Table:
    made = Table("what")
    made.add_row(Text(text, style="red"))
    return made


WAYS: dict[str, Callable[[Output, str], None]] = {
    "say": lambda output, text: output.say(text),
    "show": lambda output, text: output.show(table(text)),
    "hint": lambda output, text: output.hint(text),
    "error": lambda output, text: output.error(text),
    "document": lambda output, text: output.document({text: [text]}),
    "line": lambda output, text: output.line({text: [text]}),
    "its console": lambda output, text: output.human.print(text, markup=False),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_producer_cannot_write_to_an_operators_terminal(
    way: str, as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # no colours, so that no escape sequence is rich's own
    stream = Terminal()
    WAYS[way](Output(as_json, new_console(stream), new_console(stream)), EVIL)
    assert all(char.isprintable() or char == "\n" for char in stream.getvalue())


def test_nor_by_an_unexpected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    hide("marked-secret")

    async def work() -> Exit:
        raise LookupError(f"marked-secret {EVIL}")

    stream = Terminal()
    with pytest.raises(typer.Exit):
        run(Output(False, new_console(stream), new_console(stream)), work())
    assert "Traceback" in stream.getvalue()
    assert "LookupError: [secret] A" in stream.getvalue()
    assert all(char.isprintable() or char == "\n" for char in stream.getvalue())


def test_nor_by_what_a_library_logs(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        log_everything()
        logging.getLogger("azure").debug("a body: %s", EVIL)
    finally:
        root.handlers = before
        root.setLevel(logging.WARNING)
    told = capsys.readouterr().err
    assert told.startswith("DEBUG azure: a body: A")
    assert all(char.isprintable() or char == "\n" for char in told)


@pytest.mark.parametrize("body", [EVIL.encode(), json.dumps({"projectId": EVIL}, ensure_ascii=False).encode()])
def test_nor_by_a_dead_letter_that_is_shown_in_full(body: bytes) -> None:
    letter = read_letter("updates", Seen("id", body, datetime.now(UTC), 1))
    assert all(char.isprintable() or char == "\n" for char in _body_text(letter))


def test_json_is_what_it_was() -> None:
    stream = io.StringIO()
    Output(True, new_console(stream)).line({"text": f"{EVIL} Café €"})
    assert json.loads(stream.getvalue()) == {"text": f"{EVIL} Café €"}
    assert "Café €" in stream.getvalue()


def test_a_terminal_breaks_lines_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    text = " ".join(f"word{number}" for number in range(60))
    Output(False, new_console(stream), new_console(stream)).hint(text)
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(line.strip() for line in lines) == text


@given(st.lists(st.text("aü漢", min_size=1, max_size=30), min_size=1).map(" ".join), st.integers(4, 40))
def test_no_word_is_broken_and_no_line_is_wider_but_for_a_long_word(text: str, width: int) -> None:
    lines = wrapped(text, width).split("\n")
    assert " ".join(lines) == text
    assert all(cell_len(line) <= width or " " not in line for line in lines)


@pytest.mark.parametrize("way", ["hint", "error", "say"])
def test_a_command_to_paste_has_a_line_of_its_own_that_nothing_breaks(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    command = "vision-relay verify a-long-name-of-a-catalogue.csv --project-id 7d1c3f0a --ignore 'of no use' --wait"
    stream, pipe = Terminal(), io.StringIO()
    for each in (stream, pipe):
        output = Output(False, new_console(each), new_console(each))
        getattr(output, way)("what comes of it, in a sentence that is longer than a line", command)
    assert stream.getvalue().splitlines()[-1] == command
    assert pipe.getvalue().endswith(f"a sentence that is longer than a line: {command}\n")
    assert pipe.getvalue().count("\n") == 1


@pytest.mark.parametrize("text", ["9999999999d", "0s", "3651d", "-1h", "soon", "1e9d"])
def test_a_duration_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not"):
        parse_duration(text)
