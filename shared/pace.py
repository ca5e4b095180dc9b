"""How fast one instance may call an API whose limit it shares with instances it knows nothing of.

The API answers a call over its limit with 429. Every instance lowers its rate on that answer and raises it again, so
all of them together stay near the limit. Additive increase with multiplicative decrease (Chiu and Jain, 1989; RFC
5681) does this too, but the more instances there are, the more calls it wastes. Let L be the limit, N the number of
instances, and let an instance at rate r gain f(r) calls/s each second and lose the part b of its rate at a 429. In the
steady state r = L / N, losses make up for gains when the share of calls answered 429 is

    p = f(r) / (b * r**2)

so p grows as N**2 where f is constant and as N where f ~ r (Scalable TCP, Kelly 2003). HighSpeed TCP (RFC 3649) makes
growth depend on the rate for the same reason. Here f ~ r**1.5, and p grows as the square root of N. With r**2 it would
be the same for every N, but nothing would pull unequal instances together any more. The rule, where s is the rate as a
share of the configured rate:

start   A small share of the configured rate, and more with each success (slow start, RFC 5681), until the first 429.
        The first few successes change nothing: by then, instances that started together and are too many know it, while
        they are still equal.
grow    Each success adds GAIN * sqrt(s) + SETTLING_GAIN * w / s to s. The second term is additive increase, which makes
        unequal instances equal at the price of many 429s. So w falls from 1 at the first 429 to 0 within
        SETTLING_SECONDS.
drop    A 429 multiplies the rate by DROP: a small step, since random steps are what sets settled instances apart. While
        the instance settles, or if only a few calls succeeded since its last 429, it has far more than its share and
        the factor is nearer SETTLING_DROP. The next call waits for `Retry-After` and then for a random part of its
        interval, so that instances refused together do not come back together.
probe   Growth this slow would take minutes to find what instances that stopped have left. So now and then an instance
        sends calls at the configured rate until the first 429 (compare the bandwidth probes of BBR, Cardwell et al.,
        2016): at first each after the answer to the one before, so that a failed probe costs little, and one more at a
        time for each second's worth that succeeded, so that slow answers do not hide what there is. If k calls
        succeeded within t seconds, at most a second's worth of them came from a full bucket, and two more perhaps from
        others who happened to pause: the instance can have (k - configured - 2) / t calls a second. It takes that rate
        if it is well above its own, and settles anew; if not, the rate stays: that 429 was the probe's own doing. Then
        it waits until the calls are paid for at its rate. A failed probe empties the bucket, so others are answered 429
        too, two or three of them: hence probes are rare. The smaller the share, the more instances must be about, and
        the longer it waits; whoever was answered 429 meanwhile knows that nothing is free and waits anew.

What this cannot do: a success tells nothing of the others, only a 429 does. Where 2 % of the calls of 16 instances may
be answered 429, each learns something every 80 s. So when 12 of them stop, the others have noticed within 55 s in the
median, sometimes only after 90 s; to be faster would cost all of them more calls all the time.
"""

import math
import random
from dataclasses import dataclass

START_SHARE = 0.13
START_CALLS = 6
"""So many successes before the rate begins to grow."""
START_GAIN = 0.009
"""Share added by each success from then on until the first 429: at ten calls a second the rate doubles in about eight
seconds. Faster, and instances that start together have grown too far apart by the time they learn of the limit."""
GAIN = 0.00022
SETTLING_GAIN = 0.00016
DROP = 0.92
SETTLING_DROP = 0.79
SETTLING_SECONDS = 20.0
FEW_CALLS = 12.0
"""The scale on which successes since the last 429 move the factor from SETTLING_DROP to DROP."""
LOWEST_SHARE = 0.001
CREDIT_SECONDS = 0.5
"""So much of the time that it idled may an instance make up for. An API's bucket has a second's worth; half of it is
left for calls that overtake one another on the way."""
DEFAULT_RETRY_AFTER_SECONDS = 1.0

PROBE_LEAST_RAISE = 1.5
PROBE_DOUBT_CALLS = 2
"""So many successes of a probe are put down to others who happened to pause, beside the ones from a full bucket."""
PROBE_BELOW_SHARE = 0.8
"""Above this share there is no probe, and a probe that has found it is over."""
PROBE_MOST_SECONDS = 8.0
"""A probe is over after so many seconds' worth of successes, whatever it has found by then: where answers take long, it
cannot find all there is."""
PROBE_INTERVAL = 245.0
PROBE_INTERVAL_EXPONENT = -0.65
"""From one probe or 429 to the next probe it is as long as PROBE_INTERVAL calls take at the configured rate, times s to
this power: 150 s at a sixteenth of ten calls a second. Equal for all, it would cost 64 instances too many 429s; in
proportion to 1 / s, the slowest would be the last to find what is free."""


@dataclass(slots=True)
class _Probe:
    """Calls at the configured rate, of which few are on the wire at a time."""

    started_at: float
    sent: int = 0
    succeeded: int = 0

    def may_send_another(self, configured: float) -> bool:
        """Whether a call may go before the last one is answered: one more for each second's worth that succeeded."""
        return self.sent - self.succeeded < 1 + int(self.succeeded / configured)


class Pace:
    """The rate of one instance's calls to one API. All times are seconds of one monotonic clock.

    `calls_per_second` is the configured rate and never exceeded. After idling, half a second's worth of calls may go at
    once, at least one. Every other answer to the call itself counts as a success. A 429 that arrives before an earlier
    one's `Retry-After` has passed belongs to the same episode and does not lower the rate again.

    `start_share` is what it starts with of the configured rate: 1 for an instance that knows it calls alone.

    Raises `ValueError` unless `calls_per_second` is positive and finite.
    """

    def __init__(
        self, calls_per_second: float, *, start_share: float = START_SHARE, rng: random.Random | None = None
    ) -> None:
        if not 0 < calls_per_second < math.inf:
            raise ValueError("calls_per_second must be positive and finite")
        self._configured = calls_per_second
        self._rng = rng or random.Random()  # noqa: S311 (it spreads calls and protects nothing)
        self._rate = start_share * calls_per_second
        self._last_at = -math.inf
        self._next_at = -math.inf
        self._closed_until = -math.inf
        self._settling_since: float | None = None
        self._probe_at = math.inf
        self._successes_since_429 = 0
        self._probe: _Probe | None = None

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
        self._end_stalled_probe(now)
        if self._should_probe(now):
            self._probe = _Probe(now)
        if self._probe:
            self._probe.sent += 1
        self._last_at = now
        self._next_at = self._after_this_call(now)

    def succeeded(self, now: float) -> None:
        """Count an answer that the service gave to the call itself, whatever it thinks of it."""
        self._successes_since_429 += 1
        if self._settling_since is None:
            if self._successes_since_429 > START_CALLS:
                self._start_faster()
        elif self._probe:
            self._probe_succeeded(self._probe, now)
        else:
            share = self._share()
            self._set_share(share + GAIN * math.sqrt(share) + SETTLING_GAIN * self._unsettled(now) / share)

    def limited(self, now: float, retry_after_seconds: float | None) -> None:
        """Count a 429: no call goes for `retry_after_seconds`, or for a second if the answer did not say."""
        same_episode = now < self._closed_until
        wait = DEFAULT_RETRY_AFTER_SECONDS if retry_after_seconds is None else retry_after_seconds
        self._closed_until = max(self._closed_until, now + wait)
        if same_episode:
            self._next_at = max(self._next_at, self._closed_until)
            return
        if self._settling_since is None:
            self._settling_since = now
        paid_at = self._end_probe(self._probe, now) if self._probe else self._drop(now)
        self._next_at = max(self._closed_until + self._rng.random() / self._rate, paid_at)
        self._plan_probe(now)

    def _after_this_call(self, now: float) -> float:
        if self._probe and self._probe.may_send_another(self._configured):
            return now + 1 / self._configured
        interval = 1 / self._rate
        credit = 0.0 if self._probe else max(0.0, CREDIT_SECONDS - interval)
        return max(self._next_at, now - credit) + interval

    def _share(self) -> float:
        return self._rate / self._configured

    def _set_share(self, share: float) -> None:
        self._rate = self._configured * min(1.0, max(LOWEST_SHARE, share))

    def _unsettled(self, now: float) -> float:
        """From 1 at the first 429 or raise by a probe down to 0, gently at the end."""
        if self._settling_since is None:
            return 1.0
        return max(0.0, 1 - (now - self._settling_since) / SETTLING_SECONDS) ** 2

    def _start_faster(self) -> None:
        """Raise the rate and let the call that waits for the old interval go after the new, shorter one."""
        old_interval = 1 / self._rate
        self._set_share(self._share() + START_GAIN)
        self._next_at -= old_interval - 1 / self._rate

    def _drop(self, now: float) -> float:
        """Lower the rate after a 429 of no probe, and return `now`: there is nothing to pay for."""
        excess = max(self._unsettled(now), math.exp(-self._successes_since_429 / FEW_CALLS))
        self._successes_since_429 = 0
        self._set_share(self._share() * (DROP + (SETTLING_DROP - DROP) * excess))
        return now

    def _plan_probe(self, now: float) -> None:
        interval = PROBE_INTERVAL / self._configured * self._share() ** PROBE_INTERVAL_EXPONENT
        self._probe_at = now + interval * self._rng.uniform(0.9, 1.1)

    def _should_probe(self, now: float) -> bool:
        return self._probe is None and now >= self._probe_at and self._share() < PROBE_BELOW_SHARE

    def _probe_succeeded(self, probe: _Probe, now: float) -> None:
        probe.succeeded += 1
        self._next_at = max(now, self._last_at + 1 / self._configured)
        found_enough = self._available(probe, now) >= PROBE_BELOW_SHARE * self._configured
        if found_enough or probe.succeeded >= PROBE_MOST_SECONDS * self._configured:
            self._next_at = max(self._next_at, self._end_probe(probe, now))
            self._plan_probe(now)

    def _available(self, probe: _Probe, now: float) -> float:
        """Calls a second the probe has shown this instance can have; negative until the bucket must be empty."""
        until = max(now, self._last_at + 1 / self._configured)
        found = probe.succeeded - self._configured - PROBE_DOUBT_CALLS
        return found / (until - probe.started_at)

    def _end_stalled_probe(self, now: float) -> None:
        """Give up a probe whose next call came late: calls that are not sent as fast as allowed prove nothing."""
        if self._probe and now - self.ready_at(self._last_at) > 1 / self._configured:
            self._probe = None
            self._plan_probe(now)

    def _end_probe(self, probe: _Probe, now: float) -> float:
        """Take the rate that the probe has found, if any; return when its calls will have been paid for at that."""
        self._probe = None
        available = self._available(probe, now)
        if available > PROBE_LEAST_RAISE * self._rate:
            self._set_share(available / self._configured)
            self._settling_since = now
        return probe.started_at + probe.sent / self._rate
