"""How fast one instance may call an API whose limit it shares with instances it knows nothing of.

The API answers a call over its limit with 429. Every instance lowers its rate on that answer and raises it on others,
so all of them together stay near the limit. What decides how much this costs is the *response function*: at which share
of calls answered 429 an instance at a given rate neither grows nor shrinks (RFC 3649 designs HighSpeed TCP by it). All
instances see about the same share p, so all come to the same rate; and N of them on one limit see the p that belongs
to an N-th of it.

Additive increase with multiplicative decrease (Chiu and Jain, 1989; TCP, RFC 5681) grows by so much a second, whatever
the rate: p grows as N**2, which at 64 instances wastes half of the calls. If each success adds a share of the rate
(Scalable TCP, Kelly 2003), p is the same for every N, but nothing makes unequal instances equal. Here each success
adds something of both, where s is the rate as a share of the configured one:

    success   s grows by      STEP * (REFUSED_ALWAYS * s + REFUSED_PER_INSTANCE)
    429       s shrinks by    STEP * s

These cancel where p = REFUSED_ALWAYS + REFUSED_PER_INSTANCE / s, that is REFUSED_ALWAYS + REFUSED_PER_INSTANCE * N:
1.3 % of the calls of 16 instances and 4.2 % of 64. The second term is what makes them equal. STEP cancels out of p: it
says how far one 429 moves an instance. Small steps keep equal instances equal, large ones come to the right rate soon;
so the step begins large and falls with the number of successes, as in any stochastic approximation (Robbins and Monro,
1951). Only where the pace is what held a call back does its success count: an instance with little to do learns nothing
of the limit, and keeps its rate (RFC 7661).

start   An eighth of the configured rate, and more with each success (slow start, RFC 5681), until the first 429.
429     The next call waits for `Retry-After`, and then for a random part of as long again or of its own interval,
        whichever is shorter, so that instances refused together do not come back together.
storm   If nothing but 429s comes, somebody else has the limit, and what this instance calls does not matter. So after
        MOST_DECREASES_IN_A_ROW the rate stays and the wait doubles instead: there are few calls meanwhile, and a rate
        to go on with afterwards.
probe   Growth this slow would take many minutes to find what instances that stopped have left. So an instance that has
        long seen no 429 tries (compare the bandwidth probes of BBR, Cardwell et al., 2016). First a burst of one call
        more than a full bucket of the API holds, two of them on the wire at a time: where nothing is free, it meets a
        429 within half a second, and others meet about two. If all of it succeeds, calls go on at the configured rate,
        counted from the start of the burst. Once one is answered 429, the bucket is empty, and k successes within t
        seconds mean that this instance can have (k - bucket) / t calls a second. It takes that rate if it is more than
        its own by two standard deviations of what others may happen to call meanwhile. If not, the rate stays: the
        429 was the probe's own doing.

What this cannot do: a success tells nothing of the others, only a 429 does. Where 2 % of the calls of 16 instances may
be answered 429, each learns something every 80 s; so when what is left by 12 that stop is found is a matter of chance
(docs/benchmarks.md says how long it takes). An API that counts calls in windows of a second, not with a bucket, ends
every burst: no probe succeeds there, 16 instances use 0.6 to 0.7 of the limit, and what others leave is found only
after many minutes. A limit of one or two calls a second is not shared well either: with a bucket so small, most 429s
are chance, and 16 instances use a quarter or a half of it.
"""

import math
import random
from dataclasses import dataclass

from shared.limits.circuit_breaker import doubled

START_SHARE = 0.125
START_GROWTH = 0.05
"""By so much of itself each success raises the rate until the first 429: at ten calls a second it doubles within eight
seconds at first, and is the configured one after 15. Faster, and instances that start together have grown too far
apart by the time they learn of the limit."""

REFUSED_ALWAYS = 0.0035
REFUSED_PER_INSTANCE = 0.0006
FIRST_STEP = 0.18
STEP = 0.075
"""By so much of itself one 429 lowers the rate, at first and in the end. A larger step ends the surplus after a
scale-out sooner; a smaller one keeps equal instances equal."""
SETTLING_SUCCESSES = 45.0
"""The scale on which successes since the first 429 bring the step from FIRST_STEP down to STEP. Instances that are too
many have few successes, and go on with large steps.

These, and what a probe waits for, were found by simulating 1 to 64 instances at ten calls a second many times over, as
the benchmarks do: they trade 429s, equal shares and the time that free capacity is left unused against one another."""
TUNED_AT_CALLS_PER_SECOND = 10.0
"""A lower limit has a smaller bucket, which instances meet more often by chance: more of the calls must be allowed to
fail, or they would take one another for a crowd and leave most of the limit unused."""
MOST_DECREASES_IN_A_ROW = 12
"""Enough to get from an eighth of the limit to an 80th with FIRST_STEP, and to leave a settled instance two fifths."""
MAX_BACK_OFF_SECONDS = 30.0
LOWEST_SHARE = 0.001
CREDIT_SECONDS = 0.5
"""So much of the time that it idled may an instance make up for. An API's bucket has a second's worth; half of it is
left for calls that overtake one another on the way."""
DEFAULT_RETRY_AFTER_SECONDS = 1.0

PROBE_AFTER_SECONDS = 90.0
PROBE_AFTER_CALLS = 82.0
"""An instance probes when it has seen no 429 for so long and for as long as so many calls take. The more instances, the
longer that is, so that they do not probe more often in all."""
PROBE_JITTER = 0.1
PROBE_BELOW_SHARE = 0.8
"""Above this share there is no probe, and a probe that has found it is over."""
PROBE_LATEST_SECONDS = 900.0
"""However slow an instance has become, it tries after so long."""
PROBE_MOST_SECONDS = 8.0
"""A probe is over after so many seconds' worth of successes, at TUNED_AT_CALLS_PER_SECOND at least, whatever it has
found by then: where answers take long, it cannot find all there is."""
PROBE_BURST_ON_THE_WIRE = 2
PROBE_PATIENCE_SECONDS = 2.0
"""A probe whose calls are not answered for so long is given up: where all answers take that long, none succeeds."""
PROBE_DEVIATIONS = 2.0
"""A probe believes what others would leave it by chance in one case of forty."""


@dataclass(slots=True)
class _Probe:
    """Calls to find out how many a second are free: see `probe` above."""

    configured: float
    started_at: float
    sent: int = 0
    succeeded: int = 0

    @property
    def _burst(self) -> int:
        return int(self.configured) + 1

    def may_send_another(self) -> bool:
        """Whether a call may go before the next answer."""
        unanswered = self.sent - self.succeeded
        if self.sent < self._burst:
            return unanswered < PROBE_BURST_ON_THE_WIRE
        if self.succeeded < self._burst:
            return False
        # One more for each second's worth that succeeded, so that slow answers do not hide what there is.
        return unanswered < 1 + int(self.succeeded / self.configured)

    def next_at(self) -> float:
        """When the next call goes: at any time in the burst, later at the configured rate since the start."""
        return -math.inf if self.sent < self._burst else self.started_at + self.sent / self.configured

    def available(self, now: float) -> float:
        """Calls a second that are there for this instance: so many if the API's bucket is empty now, else more."""
        return (self.succeeded - self.configured) / self._seconds(now)

    def is_significant(self, now: float, rate: float) -> bool:
        """Whether that is more than `rate` by no accident: others make calls as a Poisson process does, or steadier."""
        seconds = self._seconds(now)
        return self.available(now) > rate + PROBE_DEVIATIONS * math.sqrt(self.configured / seconds)

    def _seconds(self, now: float) -> float:
        return max(now - self.started_at, 1 / self.configured)


class Pace:
    """The rate of one instance's calls to one API. All times are seconds of one monotonic clock.

    `calls_per_second` is the configured rate and never exceeded. After idling, half a second's worth of calls may go at
    once, at least one; in a probe, a second's worth. Every other answer to the call itself counts as a success. A 429
    that arrives before an earlier one's `Retry-After` has passed belongs to the same episode and does not lower the
    rate again.

    `start_share` is what it starts with of the configured rate: 1 for an instance that knows it calls alone.

    Raises `ValueError` unless `calls_per_second` is positive and finite.
    """

    def __init__(
        self, calls_per_second: float, *, start_share: float = START_SHARE, rng: random.Random | None = None
    ) -> None:
        if not 0 < calls_per_second < math.inf:
            raise ValueError("calls_per_second must be positive and finite")
        self._configured = calls_per_second
        self._scarcity = max(1.0, TUNED_AT_CALLS_PER_SECOND / calls_per_second)
        self._rng = rng or random.Random()  # noqa: S311 (it spreads calls and protects nothing)
        self._rate = start_share * calls_per_second
        self._next_at = -math.inf
        self._paid_at = -math.inf  # when all calls so far are paid for at the configured rate
        self._closed_until = -math.inf
        self._held_back = True
        self._refused_in_a_row = 0
        self._starting = True
        self._step = FIRST_STEP
        self._probe: _Probe | None = None
        self._probe_at = math.inf

    @property
    def rate(self) -> float:
        """Calls a second allowed at present, probes apart."""
        return self._rate

    def ready_at(self, now: float) -> float:
        """The earliest time at which the next call may go: `now` if at once. An answer can bring it forward."""
        return max(now, self._next_at, self._closed_until)

    def take(self, now: float) -> None:
        """Count a call that goes now. Raises `RuntimeError` before `ready_at`."""
        if self.ready_at(now) > now:
            raise RuntimeError("the pace allows no call yet")
        self._paid_at = max(now, self._paid_at) + 1 / self._configured
        if self._probe and self._is_stalled(self._probe, now):
            self._end_probe(now)
        elif not self._probe and now >= self._probe_at and self._share() < PROBE_BELOW_SHARE:
            self._probe = _Probe(self._configured, now)
        self._held_back = now - self._next_at < max(CREDIT_SECONDS, 1 / self._rate)
        if self._probe:
            self._probe.sent += 1
            self._next_at = self._after_probe_call(self._probe, now)
        else:
            interval = 1 / self._rate
            self._next_at = max(self._next_at, now - max(0.0, CREDIT_SECONDS - interval)) + interval

    def succeeded(self, now: float) -> None:
        """Count an answer that the service gave to the call itself, whatever it thinks of it."""
        self._refused_in_a_row = 0
        if self._probe:
            self._probe_succeeded(self._probe, now)
        elif not self._held_back:
            return
        elif self._starting:
            self._start_faster()
        else:
            self._step += (STEP - self._step) / SETTLING_SUCCESSES
            share = self._share()
            growth = REFUSED_ALWAYS * share + REFUSED_PER_INSTANCE
            self._set_share(share + self._step * self._scarcity * growth)

    def limited(self, now: float, retry_after_seconds: float | None) -> None:
        """Count a 429: no call goes for `retry_after_seconds`, or for a second if the answer did not say.

        It is never less than an interval at the configured rate, so that a `Retry-After` of 0 is no call for more.
        """
        wait = DEFAULT_RETRY_AFTER_SECONDS if retry_after_seconds is None else retry_after_seconds
        wait = max(wait, 1 / self._configured)
        if now < self._closed_until:
            longer = max(0.0, now + wait - self._closed_until)
            self._closed_until += longer
            self._next_at += longer
            return
        self._starting = False
        self._refused_in_a_row += 1
        if self._probe:
            self._conclude(self._probe, now)
        elif self._refused_in_a_row <= MOST_DECREASES_IN_A_ROW:
            self._set_share(self._share() * (1 - self._step))
        else:
            doublings = self._refused_in_a_row - MOST_DECREASES_IN_A_ROW
            wait = max(wait, doubled(wait, doublings, MAX_BACK_OFF_SECONDS))
        self._plan_probe(now)
        self._closed_until = now + wait
        self._next_at = self._closed_until + self._rng.random() * min(wait, 1 / self._rate)

    def _share(self) -> float:
        return self._rate / self._configured

    def _set_share(self, share: float) -> None:
        self._rate = self._configured * min(1.0, max(LOWEST_SHARE, share))

    def _start_faster(self) -> None:
        """Raise the rate and let the call that waits for the old interval go after the new, shorter one."""
        old_interval = 1 / self._rate
        self._set_share(self._share() * (1 + START_GROWTH))
        self._next_at -= old_interval - 1 / self._rate

    def _plan_probe(self, now: float) -> None:
        calls = PROBE_AFTER_CALLS / math.sqrt(self._scarcity)
        quiet = min(PROBE_LATEST_SECONDS, max(PROBE_AFTER_SECONDS, calls / self._rate))
        self._probe_at = now + quiet * self._rng.uniform(1 - PROBE_JITTER, 1 + PROBE_JITTER)

    def _is_stalled(self, probe: _Probe, now: float) -> bool:
        """Whether its calls are not answered in time, or not sent as soon as they may: then they prove nothing."""
        return not probe.may_send_another() or now - self._next_at > 1 / self._configured

    def _after_probe_call(self, probe: _Probe, now: float) -> float:
        if not probe.may_send_another():
            return now + PROBE_PATIENCE_SECONDS
        burst_seconds = max(0.0, 1 - 1 / self._configured)
        return max(now, probe.next_at(), self._paid_at - burst_seconds)

    def _is_over(self, probe: _Probe, now: float) -> bool:
        """Whether it has found what is worth finding without a single 429, or has taken long enough."""
        found = probe.available(now) >= PROBE_BELOW_SHARE * self._configured and probe.is_significant(now, self._rate)
        most = PROBE_MOST_SECONDS * max(TUNED_AT_CALLS_PER_SECOND, self._configured)
        return found or probe.succeeded >= most

    def _probe_succeeded(self, probe: _Probe, now: float) -> None:
        probe.succeeded += 1
        if self._is_over(probe, now):
            self._conclude(probe, now)
            self._next_at = now + 1 / self._rate
        elif probe.may_send_another():
            self._next_at = self._after_probe_call(probe, now)

    def _conclude(self, probe: _Probe, now: float) -> None:
        """Take the rate that the probe has found, if any."""
        if probe.is_significant(now, self._rate):
            self._set_share(probe.available(now) / self._configured)
        self._end_probe(now)

    def _end_probe(self, now: float) -> None:
        self._probe = None
        self._plan_probe(now)
