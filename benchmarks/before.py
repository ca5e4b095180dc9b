"""What the law achieved that this app had before it shared permits, recorded on the gateways of today.

Each instance lowered its rate at a 429, raised it at a success and probed for free capacity: 289 lines with 22 tuned
constants. The figures are medians of five seeds (changes: the worst of 25), simulated as the cases do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

BEFORE = "before"


class Before(NamedTuple):
    """Goodput ÷ limit, 429s in %, slowest ÷ mean, and goodput and 429s of the first 30 s."""

    goodput: float
    limited_percent: float
    fairness: float
    start_goodput: float
    start_limited_percent: float


SHARING: Mapping[tuple[str, int], Before] = {
    ("bucket of 10", 1): Before(1.000, 0.00, 1.00, 0.64, 0.0),
    ("bucket of 10", 4): Before(0.999, 1.12, 0.73, 0.92, 5.2),
    ("bucket of 10", 16): Before(0.998, 2.19, 0.61, 1.03, 19.0),
    ("bucket of 10", 64): Before(0.996, 10.41, 0.39, 1.03, 69.0),
    ("calendar second", 1): Before(1.000, 0.00, 1.00, 0.62, 0.0),
    ("calendar second", 4): Before(0.941, 0.88, 0.81, 0.84, 3.8),
    ("calendar second", 16): Before(0.800, 3.47, 0.62, 0.97, 18.3),
    ("calendar second", 64): Before(0.842, 14.11, 0.39, 1.00, 69.8),
    ("sliding second", 1): Before(0.914, 0.36, 1.00, 0.54, 0.6),
    ("sliding second", 4): Before(0.901, 0.83, 0.78, 0.75, 4.7),
    ("sliding second", 16): Before(0.673, 4.53, 0.56, 0.81, 26.1),
    ("sliding second", 64): Before(0.701, 19.48, 0.45, 0.95, 71.4),
    ("sliding 10 s", 1): Before(0.932, 0.29, 1.00, 0.59, 0.6),
    ("sliding 10 s", 4): Before(0.962, 1.09, 0.80, 0.88, 6.1),
    ("sliding 10 s", 16): Before(0.944, 4.37, 0.77, 1.00, 13.8),
    ("sliding 10 s", 64): Before(0.950, 20.88, 0.66, 1.00, 39.0),
    ("calendar minute", 1): Before(1.000, 0.00, 1.00, 0.64, 0.0),
    ("calendar minute", 4): Before(1.088, 0.61, 1.00, 2.00, 0.7),
    ("calendar minute", 16): Before(1.000, 2.60, 0.84, 2.00, 2.6),
    ("calendar minute", 64): Before(1.000, 9.64, 0.93, 2.00, 9.6),
}
"""By gateway and number of instances."""

CHANGES_BEFORE: Mapping[str, tuple[float, float]] = {
    "bucket of 10": (111.0, 53.0),
    "calendar second": (120.0, 120.0),
    "sliding second": (120.0, 120.0),
    "sliding 10 s": (120.0, 51.0),
    "calendar minute": (10.0, 10.0),
}
"""By gateway, seconds until well again after 16 instances became 4 and 4 became 16; 120: not within two minutes."""

FOREIGN: Mapping[tuple[float, str], tuple[float, float]] = {
    (2.0, "bucket of 10"): (0.999, 1.31),
    (2.0, "calendar second"): (0.943, 1.12),
    (2.0, "sliding second"): (0.888, 0.90),
    (2.0, "sliding 10 s"): (0.958, 1.08),
    (2.0, "calendar minute"): (1.092, 0.65),
    (6.0, "bucket of 10"): (0.999, 1.96),
    (6.0, "calendar second"): (0.888, 2.34),
    (6.0, "sliding second"): (0.802, 1.96),
    (6.0, "sliding 10 s"): (0.945, 2.78),
    (6.0, "calendar minute"): (1.101, 0.73),
}
"""By a foreign client's calls a second and gateway, goodput of what was left ÷ that, and 429s in %; 4 instances."""

LOW: Mapping[tuple[float, str], tuple[float, float]] = {
    (2.0, "bucket of 2"): (0.573, 6.05),
    (2.0, "calendar second"): (0.578, 5.34),
    (2.0, "sliding second"): (0.380, 6.83),
    (1 / 3, "bucket of 1"): (0.345, 22.83),
    (1 / 3, "calendar 3 s"): (0.440, 15.38),
    (1 / 3, "sliding 3 s"): (0.345, 22.83),
}
"""By limit and gateway, goodput ÷ limit and 429s in %; 4 instances."""

LATE: Mapping[int, tuple[float, float]] = {
    1: (0.892, 0.37),
    4: (0.899, 0.88),
    16: (0.677, 4.33),
    64: (0.697, 19.62),
}
"""By number of instances on a sliding second whose calls are 10 ms late on average, goodput and 429s in %."""
