"""How much is measured: in full for the document, or quickly to see whether something is worse."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the cases; those of the document.

    samples        repetitions of each, with another seed where there is one; `sharing_samples`: of instances on one
                   limit, `scaling_samples`: of instances that stop and start, of which the worst counts
    is_whole       peers of instances, and all ways in which an API may count calls
    change_seconds   how long instances run before some of them stop or start, and after that
    waiting        messages whose memory is measured
    plain_rows     rows of which each is a message
    """

    samples: int = 5
    sharing_samples: int = 9
    scaling_samples: int = 25
    backlog: int = 20_000
    is_whole: bool = True
    instances: tuple[int, ...] = (1, 4, 16, 64)
    observed_seconds: float = 300
    change_seconds: float = 60
    cpu_messages: int = 30_000
    waiting: int = 20_000
    lone_messages: int = 200
    http_messages: int = 32_000
    queue_messages: int = 4_000
    worker_messages: int = 4_096
    catalogue_rows: int = 1_000_000
    plain_rows: int = 2_000


FULL = Sizes()
QUICK = Sizes(
    samples=2,
    sharing_samples=2,
    scaling_samples=3,
    backlog=3_000,
    is_whole=False,
    instances=(1, 4, 16),
    observed_seconds=45,
    change_seconds=40,
    waiting=5_000,
    lone_messages=25,
    http_messages=6_400,
    queue_messages=3_000,
    worker_messages=2_048,
    catalogue_rows=20_000,
    plain_rows=200,
)
