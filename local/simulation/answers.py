"""What goes back over the wire: an answer, half of one, or none."""

import json
from dataclasses import dataclass

HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether the call was handled (200, 207)."""
        return self.status < 300


@dataclass(frozen=True, slots=True)
class CutOff:
    """The head of an answer and half of its body, then the connection trips."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Disconnect:
    """No answer: the connection is closed, or reset."""

    reset: bool


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer until the client gives up, or for so long; then the connection trips."""

    seconds: float


Reply = Answer | CutOff | Disconnect | Hang


def json_answer(status: int, document: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """An answer whose body is this document."""
    return Answer(status, json.dumps(document, separators=(",", ":")).encode(), headers=headers)


def gateway_error(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """An error of the gateway, whose code is the HTTP status as a string."""
    return json_answer(status, {"error": {"code": str(status), "message": message}}, headers)
