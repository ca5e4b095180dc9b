"""What is printed can be read, and cannot write to an operator's terminal."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from rich.table import Table
from rich.text import Text

from ops.commands.dead_letters import _body_text
from ops.letters import parse_duration, read_letter
from ops.output import Output, new_console
from ops.storage import Seen

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


@pytest.mark.parametrize("text", ["9999999999d", "0s", "3651d", "-1h", "soon", "1e9d"])
def test_a_duration_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_duration(text)
