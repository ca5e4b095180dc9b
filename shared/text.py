"""Text that came from outside, made fit for a log line, an error or a queue message."""

import json
import re
from typing import Any

from shared.redaction import redacted


def one_line(text: object, longest: int = 500) -> str:
    """Return `text` on one line, without secrets: unprintable characters escaped, at most `longest` characters.

    With a line break in a field, a producer could otherwise write log lines of its own.
    """
    raw = redacted(str(text))
    line = raw[:longest]
    if not line.isprintable():
        line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    return line if len(raw) <= longest and len(line) <= longest else line[:longest] + "…"


def named(message_id: str, correlation_id: str | None) -> str:
    """Name a message in a log line: by its id, and by its correlation id if it has one."""
    return one_line(message_id) + (f" (correlation id {one_line(correlation_id)})" if correlation_id else "")


def error_line(error: BaseException) -> str:
    """Return an error's class and text on one line, without secrets; if it has no text, that of its cause."""
    said: BaseException | None = error
    while said is not None and not str(said):
        said = said.__cause__
    return one_line(f"{type(error).__name__} {said or ''}".rstrip())


_NOT_IN_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""What JSON may hold but XML 1.0, in which queue messages travel, may not."""


def to_json(document: Any) -> str:
    """Write compact JSON that can be a queue message: in UTF-8, and without what XML forbids."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return _NOT_IN_XML.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
