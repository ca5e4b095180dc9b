"""How much of everything is measured: in full for the document, or quickly to see whether something is worse."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "Vision Relay"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the cases. `samples` is the number of repetitions of each, with another seed where there is one."""

    name: str
    samples: int
    real_samples: int
    """Repetitions of what takes real time, in a process of its own."""
    path_samples: int
    """The same of the whole path, which takes longest."""
    sharing_samples: int
    """Repetitions of instances that share a limit in our way."""
    scaling_samples: int
    """The same of instances that stop and start, of which the worst counts."""
    backlog: int
    """Messages of a simulated backlog."""
    curves: bool
    """Whether the calls by window are measured, which only a plot shows."""
    paces: tuple[str, ...]
    """How simulated instances keep to the limit: ours first, then the peers."""
    instances: tuple[int, ...]
    settled_seconds: float
    """When instances that started together are looked at, and for how long."""
    observed_seconds: float
    fairness_seconds: float
    scaling_seconds: float
    """How long instances run before some of them stop or start."""
    after_seconds: float
    """How long they are looked at after that."""
    cpu_messages: int
    waiting: int
    """Messages whose memory is measured."""
    lone_messages: int
    lone_default_messages: int
    http_messages: int
    queue_messages: int
    """Messages that go through a real queue."""
    worker_messages: int
    """Messages that go through Microsoft's worker."""
    starts: int
    validation_seconds: float
    simulated_messages: int
    """Messages of the run whose real duration is measured."""
    catalogue_rows: int
    """Rows of a catalogue that is sent by the command line, in one process."""
    plain_rows: int
    """The same where each row is a message."""

    def seeds(self, ours: int) -> dict[str, range]:
        """The seeds of each pace, with so many of ours."""
        return {pace: range(ours if pace == OURS else self.samples) for pace in self.paces}

    def repetitions(self, ours: int) -> list[tuple[str, int]]:
        """Every pace with every seed of it, with so many of ours."""
        return [(pace, seed) for pace, seeds in self.seeds(ours).items() for seed in seeds]


FULL = Sizes(
    name="full",
    samples=5,
    real_samples=5,
    path_samples=5,
    sharing_samples=9,
    scaling_samples=25,
    backlog=20_000,
    curves=True,
    paces=(OURS, "additive increase"),
    instances=(1, 4, 16, 64),
    settled_seconds=15,
    observed_seconds=300,
    fairness_seconds=600,
    scaling_seconds=60,
    after_seconds=60,
    cpu_messages=60_000,
    waiting=20_000,
    lone_messages=200,
    lone_default_messages=10,
    http_messages=64_000,
    queue_messages=4_000,
    worker_messages=8_192,
    starts=21,
    validation_seconds=60,
    simulated_messages=1_000_000,
    catalogue_rows=1_000_000,
    plain_rows=4_000,
)
QUICK = Sizes(
    name="quick",
    samples=2,
    real_samples=2,
    path_samples=1,
    sharing_samples=2,
    scaling_samples=3,
    backlog=3_000,
    curves=False,
    paces=(OURS,),
    instances=(1, 4, 16),
    settled_seconds=15,
    observed_seconds=45,
    fairness_seconds=60,
    scaling_seconds=40,
    after_seconds=40,
    cpu_messages=30_000,
    waiting=5_000,
    lone_messages=25,
    lone_default_messages=1,
    http_messages=6_400,
    queue_messages=3_000,
    worker_messages=2_048,
    starts=5,
    validation_seconds=4,
    simulated_messages=20_000,
    catalogue_rows=20_000,
    plain_rows=200,
)
