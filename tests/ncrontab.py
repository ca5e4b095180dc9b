"""What the Functions host makes of a schedule: `ncrontab.tsv`, measured with its own library, NCrontab.Signed."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

NOW = datetime(2026, 11, 28, 6, 36, 7, tzinfo=UTC)
"""The time after which the table has the next two."""

FIELDS = 6


class Row(NamedTuple):
    """An expression; whether it is refused, cron or a time span; and the next times of cron."""

    expression: str
    kind: str
    times: list[datetime]

    @property
    def runs_on_flex(self) -> bool:
        """Whether it is what the scale controller reads, and ever comes."""
        return self.kind == "cron" and len(self.expression.split()) == FIELDS and bool(self.times)


def _read(line: str) -> Row:
    expression, kind, then = line.split("\t")
    times = [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in then.split()] if kind == "cron" else []
    return Row(json.loads(expression), kind, times)


ROWS = [
    _read(line)
    for line in Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines()
    if line.startswith('"')
]
