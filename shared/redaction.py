"""Keeps the secrets of this process out of every text that leaves it.

Whoever learns a secret registers it with `hide`. Whatever writes text for others (a log record, an error, a queue
message, an event) passes it through `redacted` or `without_secrets`, so no other code has to think of secrets.
"""

import functools
import re
import traceback
from collections import deque
from collections.abc import Iterator
from html.entities import html5

REPLACEMENT = "[secret]"
SHORTEST = 6
"""Shorter secrets are not registered: they would be found in words that are none. No key of Azure is that short."""

_lasting: set[str] = set()
_tokens: deque[str] = deque(maxlen=32)
"""The newest tokens only: each is valid for about an hour."""

# A producer may have chosen the text: no alternative may begin twice in a stretch that it reads to the end.
_WORD = r"[\w%+/.~-][^\s\"'&;,<>\\]*"
_LOOKS_SECRET = re.compile(
    rf"""
    (?P<name> (?:\b|(?<=%26)|(?<=%3F))(?:sig|AccountKey|SharedAccessKey|client_secret|password) (?:=|%3D)
            | \b(?:Training-key|Ocp-Apim-Subscription-Key|aeg-sas-key|aeg-sas-token)\b ["']? \s* [:=] \s* ["']?
            | \bSharedKey \s+ [\w-]+ :
            ) {_WORD}
    | (?P<scheme> \b(?:Bearer|Basic) \s+ ) [\w.~+/=-]{{16,}}
    | (?P<user> ://[^\s/:@]* : ) [^\s/@]+ (?=@)
    | (?<![\w-]) eyJ[\w-]{{8,}} \. [\w-]{{8,}} \. [\w-]+    # a JSON Web Token
    """,
    re.VERBOSE | re.IGNORECASE,
)


def hide(*secrets: str) -> None:
    """Register secrets that are valid as long as the process runs."""
    _lasting.update(secret for secret in secrets if len(secret) >= SHORTEST)


def hide_token(token: str) -> None:
    """Register a secret that is replaced by another soon. Only the newest are kept."""
    if len(token) >= SHORTEST and token not in _tokens:
        _tokens.append(token)


def without_secrets(text: str) -> str:
    """For messages and events: they carry other people's data, where what merely looks like a secret stays."""
    for secret in sorted({*_lasting, *_tokens}, key=len, reverse=True):  # one within another leaves no rest
        longest_word, in_any_spelling = _pattern_of(secret)
        if longest_word in text:
            text = in_any_spelling.sub(REPLACEMENT, text)
    return text


def redacted(text: str) -> str:
    """For logs and errors, before they are cut: without what looks like a secret too, such as `sig=…`."""
    return _LOOKS_SECRET.sub(
        lambda found: "".join(part for part in found.group("name", "scheme", "user") if part) + REPLACEMENT,
        without_secrets(text),
    )


class RedactedError(Exception):
    """Stands for an error whose text, or a cause's text, has a secret in it. Has its traceback as text."""


def redacted_error(error: BaseException) -> BaseException:
    """Return the error itself, or a `RedactedError` in its place. Whoever raises it must not be handling the error."""
    if not any(redacted(said) != said for said in _texts(error)):
        return error
    return RedactedError(redacted("".join(traceback.format_exception(error))))


def _texts(error: BaseException) -> Iterator[str]:
    to_see, seen = [error], set()
    while to_see:
        one = to_see.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield from (str(one), repr(one), *getattr(one, "__notes__", ()))
        parts = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        to_see.extend(other for other in (one.__cause__, one.__context__, *parts) if other is not None)


@functools.lru_cache(maxsize=128)
def _pattern_of(secret: str) -> tuple[str, re.Pattern[str]]:
    """A part that all spellings of the secret have, for a quick search, and the pattern of all spellings."""
    longest_word = max(re.findall("[0-9A-Za-z]*", secret), key=len)
    pattern = "".join(char if char.isascii() and char.isalnum() else _spellings(char) for char in secret)
    return longest_word, re.compile(pattern)


@functools.cache
def _spellings(char: str) -> str:
    """As it is, or as URLs, JSON and XML write it, one within another too: libraries differ in what they escape."""
    in_url = "".join(f"%(?:25)*{byte:02x}" for byte in char.encode())
    in_json = "".join(rf"\\+u{unit}" for unit in re.findall("....", char.encode("utf-16-be").hex()))
    names = [name.rstrip(";") for name, meant in html5.items() if meant == char]
    in_xml = "|".join([f"#0*{ord(char)}", f"#x0*{ord(char):x}", *names])
    return rf"(?i:\\*{re.escape(char)}|{in_url}|{in_json}|&(?:amp;)*(?:{in_xml});)"
