"""Text from outside, made fit for a log line, an error or a queue message."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.text import error_line, named, one_line, to_json

ANY_TEXT = st.text(st.characters())


@pytest.mark.parametrize(
    ("correlation_id", "name"),
    [
        ("scan-1", "message-1 (correlation id scan-1)"),
        ("a\nb", "message-1 (correlation id a\\nb)"),
        (None, "message-1"),
        ("", "message-1"),
    ],
)
def test_a_message_without_a_correlation_id_is_named_by_its_id_alone(correlation_id: str | None, name: str) -> None:
    assert named("message-1", correlation_id) == name


class TestShown:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("plain", "plain"),
            ("Zürich ⛰ 東京", "Zürich ⛰ 東京"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\x1b[31mred\x7f", "\\x1b[31mred\\x7f"),
            ("\u2028\u202e\ud800", "\\u2028\\u202e\\ud800"),
            (7, "7"),
            (None, "None"),
            ("x" * 10, "x" * 10),
            ("x" * 11, "x" * 10 + "…"),
            ("\n" * 10, "\\n\\n\\n\\n\\n…"),
        ],
    )
    def test_it_is_one_line_of_bounded_length(self, text: object, line: str) -> None:
        assert one_line(text, 10 if str(text)[0] in "x\n" else 200) == line

    @settings(deadline=None, derandomize=True)
    @given(ANY_TEXT, st.integers(1, 50))
    def test_whatever_it_is(self, text: str, longest: int) -> None:
        line = one_line(text, longest)
        assert line.isprintable()
        assert len(line) <= longest + 1


class TestErrorLine:
    def test_it_has_the_class_and_the_text(self) -> None:
        assert error_line(OSError("no\nroute")) == "OSError no\\nroute"

    def test_an_error_without_a_text_has_that_of_its_cause(self) -> None:
        """The HTTP client's own errors often have none: only their cause says that the connection was reset."""
        error, middle = ValueError(), KeyError()
        error.__cause__ = middle
        assert error_line(error) == "ValueError"
        middle.__cause__ = OSError("reset by peer")
        assert error_line(error) == "ValueError reset by peer"


class TestToJson:
    def test_it_is_compact_and_escapes_only_what_it_must(self) -> None:
        assert to_json({"a": ["ü", 1, None]}) == '{"a":["ü",1,null]}'

    def test_what_xml_has_no_place_for_is_escaped(self) -> None:
        assert to_json("\x00\ud800\udfff\ufffe\uffff") == '"\\u0000\\ud800\\udfff\\ufffe\\uffff"'

    @settings(deadline=None, derandomize=True)
    @given(ANY_TEXT)
    def test_any_text_survives_json_and_xml(self, text: str) -> None:
        written = to_json({"text": text})
        element = ElementTree.Element("MessageText")
        element.text = written
        through_xml = ElementTree.fromstring(ElementTree.tostring(element, encoding="utf-8")).text
        assert through_xml == written
        # a pair of lone surrogates is, in JSON, the character that they spell
        assert json.loads(written)["text"] == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
