"""What keeps the host from starting, and exceptions in one line."""

MAX_TEXT_CHARACTERS = 500


class HostStartError(Exception):
    """The app cannot be run as it is; the text is one line that says what to change."""


def one_line(error: BaseException) -> str:
    """The exception's type and text without line breaks or control characters, cut to a readable length."""
    text = " ".join(str(error).split())
    printable = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    if len(printable) > MAX_TEXT_CHARACTERS:
        printable = printable[:MAX_TEXT_CHARACTERS] + "…"
    return f"{type(error).__name__}: {printable}" if printable else type(error).__name__
