"""`make fuzz`: look for a queue message that the entrance neither reads nor refuses.

Whatever the bytes, reading them gives a message or `InvalidMessage` with one printable line; a message survives
being written and read again; and a dead letter of it fits a queue. libFuzzer searches, guided by coverage.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shared"]):
    from shared.errors import InvalidMessage
    from shared.messages import dead_letter
    from shared.messages.dead_letter import Failure, Reason
    from shared.messages.encoding import MAX_MESSAGE_BYTES
    from shared.messages.update import MetadataUpdate, parse_update
    from shared.messages.watch import TrainingWatch, parse_watch
    from shared.text import to_json

CORPUS = Path(__file__).parents[2] / "build" / "fuzz-corpus"
WORDS = Path(__file__).parent / "messages.dict"

_UPDATE = (
    b'{"projectId":"7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10","imageIds":["0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"],'
    b'"metadata":{"a":"b"},"correlationId":"c"}'
)
_WATCH = b'{"kind":"personGroup","id":"a-b_1","after":"2026-01-31T12:00:00Z","repeat":true,"expiresAt":null}'
EXAMPLES = (
    _UPDATE,
    _WATCH,
    b'{"specversion":"1.0","data":' + _UPDATE + b"}",
    b'{"eventType":"T","data":' + _WATCH + b"}",
    b'{"specversion":"1.0","data_base64":"e30="}',
    b"e30=",
    b'{"a":{"b":[1.5e300,"\\ud800",NaN]}}',
)
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def read_everything(body: bytes) -> None:
    """One try: what a producer might have put into either queue."""
    for parse in (parse_update, parse_watch):
        try:
            message: MetadataUpdate | TrainingWatch = parse(body)
        except InvalidMessage as error:
            _check_refusal(body, str(error))
        else:
            if parse(to_json(message.to_dict()).encode()) != message:
                raise AssertionError("a message is another one when it is written and read again")


def _check_refusal(body: bytes, told: str) -> None:
    if not told or not told.isprintable():
        raise AssertionError(f"not one printable line: {told!r}")
    letter = dead_letter.of_body(body, Failure(Reason.INVALID, "InvalidMessage", told, MOMENT, 1))
    if len(letter.encode()) > MAX_MESSAGE_BYTES:
        raise AssertionError("a dead letter does not fit a queue message")


def main() -> None:
    """Fuzz for as long as was asked; libFuzzer ends the process, with 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long to search (default: 60; 0: until Ctrl-C)")
    arguments = parser.parse_args()
    if arguments.seconds < 0:
        parser.error("--seconds must be 0 or more")
    print("A finding ends this with an exception and a file in build/. Otherwise there was none.", flush=True)
    CORPUS.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(EXAMPLES):
        (CORPUS / f"example-{number}").write_bytes(example)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={MAX_MESSAGE_BYTES}",
        f"-dict={WORDS}",
        "-timeout=5",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={CORPUS.parent}/fuzz-", str(CORPUS)], read_everything)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
