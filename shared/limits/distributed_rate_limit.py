"""How instances share one limit without knowing of one another: by permits, which are messages in a queue.

The queue holds as many permits as calls may go in a period. Who has received one may make one call each period for a
*turn* of some seconds, then puts it back for others. No permit makes two calls within a period, so that n of them never
make more than n in any window of a period: whoever holds them, at whatever phases, and however the API counts.

handing over  A permit goes back `KEPT` of a period after its last call, and whoever receives it waits the rest of a
              period before calling. So clocks need not agree, and it does not matter how exactly storage ends an
              invisibility. Who receives what it put back itself, and nobody else had meanwhile, loses nothing.
leases        A permit is received for longer than its turn. A holder that dies keeps it from others until then; one
              that was paused finds its turn over, and makes no call.
fairness      A permit knows the average time for which its receivers had to wait. Who has received one asks for the
              next after most of that time, but at once where nobody else seems to wait: a first request was answered,
              or nobody had put the permit back, so that its holder is dead and there are fewer to share with.
429           The permit rests, for 1, 2, 4 ... 64 s on average, and at least as long as asked to, so that there is room
              for foreign callers. How long is left to chance: permits that were refused together do not come back
              together. The number of doublings travels in the permit, and successes undo them.
late calls    The network moves calls against one another, so that some come too early for `APART`. After the first
              refusals a permit's calls are farther apart; if that does not help, somebody else calls too.
storage away  Nobody can receive a permit, and who holds one ends its turn. Then no call is made: whoever cannot reach
              storage does not know whether others can.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

TURN_SECONDS = 6.0
"""Longer: what a killed instance held is missed for longer. Shorter: more is lost, and paid, for handing over."""
SPREAD = 0.85
"""Turns and requests are shorter by a random part, at most to this share, so that they do not stay in step."""
APART, APART_AFTER_REFUSAL = 1.015, 1.045
"""Periods from one call of a permit to the next: 15 ms at ten calls a second, which is the network's jitter."""
NETWORK_DOUBLINGS = 3
"""Up to so many, refusals may be the network's doing."""
KEPT = 0.75
"""After three quarters of a period a call has been answered, so that a 429 is known before its permit goes back; the
last quarter is time to receive one's own permit again."""
REQUEST_SECONDS = 0.28
"""From one request for a permit to the next: not more than 15,000 storage operations an hour, whatever happens."""
PATIENCE = 0.85
"""Share of the others' average wait after which one asks for the next permit. More is fairer; 1 would wait for ever."""
BELIEVED_WAITS = 2.0
"""A permit's average wait is believed up to so many times what this instance waited for it, and a turn: instances that
share fairly wait for about as long as one another."""
HEAD_START_SECONDS = 0.035
"""How much later than others one asks for what one has put back, for each instance that there seems to be."""
MAX_DOUBLINGS = 6
FORGIVEN_AFTER = 100
"""Successes that undo one doubling: less than one call in 100 is answered 429 where only the network is to blame."""
MAX_PERMITS = 32
"""As many as one request can ask for (Azure Storage, "Get Messages")."""
NEW_PERMIT = "{}"


def permits_for(calls_per_second: float) -> tuple[int, float]:
    """How many permits a limit has, and of which period in seconds.

    The period is the shortest whole number of seconds, up to four, that has a whole number of calls (10 a second: ten
    in 1 s; 2.5: five in 2 s). Else permits are rounded up and the period with them, which is the same rate (9.7: ten in
    1.03 s; a seventh: one in 7 s), for parts of a second if they were more than `MAX_PERMITS` (40: 20 in 0.5 s).
    """
    for seconds in (1, 2, 3, 4):
        calls = round(calls_per_second * seconds)
        if 0 < calls <= MAX_PERMITS and abs(calls - calls_per_second * seconds) <= 0.02:  # settings have two decimals
            return calls, calls / calls_per_second
    permits = math.ceil(calls_per_second / math.ceil(calls_per_second / MAX_PERMITS))
    return permits, permits / calls_per_second


class Message(Protocol):
    """What the queue gives for a permit."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def dequeue_count(self) -> int: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


@dataclass(slots=True, eq=False)
class Permit:
    """One that is held. Times are seconds of the loop's clock, but for `refused_at`.

    doublings      of its rest after the next 429
    mean_wait      seconds, of those who received it
    next_at        when its next call may go
    ends_at        the end of the turn, after which no call goes
    refused_at     when a call with it was answered 429 for the last time, in seconds since 1970; 0 if none was
    """

    message: Message
    doublings: float
    mean_wait: float
    next_at: float
    ends_at: float
    refused_at: int = 0

    def text(self, resource: str = "") -> str:
        """What travels with it. `resource` stands for the API's resource that this instance calls."""
        return json.dumps(
            {
                "doublings": round(self.doublings, 3),
                "meanWaitSeconds": round(self.mean_wait, 3),
                "received": self.message.dequeue_count,
                "refusedAt": self.refused_at,
                "resource": resource,
            }
        )


class Written(NamedTuple):
    """What travels with a permit. `received`: how often it had been when it was put back."""

    doublings: float = 0.0
    mean_wait: float = 0.0
    received: int = 0
    refused_at: int = 0
    resource: str = ""


def read_permit(body: bytes) -> Written:
    """What travels with a permit; nothing is known of one that somebody else has written."""
    try:
        read = json.loads(body)
        written = Written(
            float(read["doublings"]),
            float(read["meanWaitSeconds"]),
            int(read["received"]),
            int(read.get("refusedAt", 0)),
            str(read.get("resource", "")),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError):
        return Written()
    is_possible = 0 <= written.doublings <= MAX_DOUBLINGS and 0 <= written.mean_wait < math.inf
    return written if is_possible else Written()


class Permits:
    """One instance's part. Pure: it is told the time and what the queue answered, and tells what to do and when.

    Raises `ValueError` unless `calls_per_second` is positive and finite.
    """

    def __init__(self, calls_per_second: float, rng: random.Random | None = None) -> None:
        if not 0 < calls_per_second < math.inf:
            raise ValueError("calls_per_second must be positive and finite")
        self.number, self._period = permits_for(calls_per_second)
        self.lease_seconds = math.ceil(TURN_SECONDS + KEPT * APART_AFTER_REFUSAL * self._period + 1)
        """Until a turn's last call is long enough ago, and a second, for storage may end a lease at a whole one."""
        self._rng = rng or random.Random()  # noqa: S311 (it spreads requests and protects nothing)
        self._wanted = 0
        self._held: list[Permit] = []
        self._put_back: dict[str, Permit] = {}  # own ones that are out for others, by id
        self._ask_back_at: dict[str, float] = {}
        self._mean_wait = 0.0
        self._doublings = 0.0  # of the permits that were refused here last, on average
        self._silent_until = -math.inf
        self._waiting_since = self._ask_at = -math.inf
        self._asking_again = False
        self._asked_in_vain = False
        self._is_asking = False
        self._last_call_at = -math.inf

    @property
    def share(self) -> float:
        """The part of the limit that is held, from 0 to 1."""
        return len(self._held) / self.number

    def want(self, calls: int, now: float) -> None:
        """Be told how many calls wait to be made: 0 gives all permits back and asks for none."""
        was_content = len(self._held) >= self._wanted
        self._wanted = min(calls, self.number)
        if was_content and len(self._held) < self._wanted:
            self._waiting_since = self._ask_at = now

    def ready_at(self, now: float) -> float:
        """When the next call may go: `now` if at once, infinity if that takes a permit that is not there yet.

        Calls are at least as far apart as those of an instance that has all permits.
        """
        due = min((permit.next_at for permit in self._usable(now)), default=math.inf)
        return max(now, due, self._silent_until, self._last_call_at + self._period / self.number)

    def take(self, now: float) -> Permit:
        """Make a call now: returns its permit. Raises `RuntimeError` before `ready_at`."""
        if self.ready_at(now) > now:
            raise RuntimeError("there is no permit for a call yet")
        self._last_call_at = now
        permit = min(self._usable(now), key=lambda permit: permit.next_at)
        apart = APART_AFTER_REFUSAL if 0 < permit.doublings <= NETWORK_DOUBLINGS else APART
        permit.next_at = now + apart * self._period
        return permit

    def succeeded(self, permit: Permit) -> None:
        """The call with this permit was not refused for coming too early."""
        permit.doublings = max(0.0, permit.doublings - 1 / FORGIVEN_AFTER)
        self._doublings = max(0.0, self._doublings - 1 / FORGIVEN_AFTER)

    def limited(self, permit: Permit, retry_after_seconds: float | None, now: float) -> None:
        """The call with this permit was answered 429; one that has gone back by now rests no longer for it.

        Whoever is asked to wait for longer than permits are held makes no call at all until then, and holds none.
        """
        asked = retry_after_seconds or 0.0
        if asked > self.lease_seconds:
            self._silent_until = self._waiting_since = max(self._silent_until, now + asked)
        own, known = permit.doublings, max(permit.doublings, self._doublings)
        rest = self._rng.expovariate(1 / 2.0**known)
        permit.next_at = max(permit.next_at, now + max(rest, asked))
        permit.doublings = min(MAX_DOUBLINGS, known + 1)
        self._doublings = (self._doublings + own + 1) / 2  # not what is known: each of a burst would add to the next

    def next_step_at(self, now: float) -> float:
        """When `leaving` or `to_ask` has something to be done next; infinity if nothing has."""
        over = self._over(now)
        ends = (self._leaves_at(permit) if permit in over else permit.ends_at for permit in self._held)
        return min([self._next_request_at(), *ends])

    def leaving(self, now: float) -> list[tuple[Permit, int]]:
        """The permits that go back now, each with the whole seconds for which nobody shall see it."""
        leaving = [permit for permit in self._over(now) if self._leaves_at(permit) <= now]
        if leaving and len(self._held) >= self._wanted:
            self._waiting_since = max(now, self._silent_until)
        for permit in leaving:
            self._held.remove(permit)
        return [(permit, self._unseen_seconds(permit, now)) for permit in leaving]

    def gone_back(self, permit: Permit, unseen_seconds: int, now: float) -> None:
        """The queue has taken a permit back."""
        self._put_back[permit.message.id] = permit
        if not unseen_seconds:
            instances = self._mean_wait * self.number / TURN_SECONDS
            self._ask_back_at[permit.message.id] = now + HEAD_START_SECONDS * instances

    def to_ask(self, now: float) -> int:
        """How many permits to ask for now, 0 for none; `received` or `failed` has to follow."""
        if self._next_request_at() > now:
            return 0
        own = [message_id for message_id, at in self._ask_back_at.items() if at <= now]
        for message_id in own:
            del self._ask_back_at[message_id]
        self._asking_again = bool(own)
        self._is_asking = True
        return min(self._wanted - len(self._held), max(1, len(own)))

    def received(self, messages: Sequence[Message], asked_at: float, now: float) -> None:
        """The queue's answer to a request that was sent at `asked_at`."""
        self._is_asking = False
        for message in messages:
            self._hold(message, asked_at, now)
        others_wait = not messages or (self._asked_in_vain and not self._asking_again)
        self._asked_in_vain = not messages
        patience = self._waiting_since + PATIENCE * self._mean_wait if others_wait else now
        self._ask_at = max(patience, now + REQUEST_SECONDS * self._rng.uniform(SPREAD, 1.0))

    def failed(self, now: float) -> None:
        """Storage did not answer a request, or did not take a permit back."""
        self._is_asking = False
        self._waiting_since = now  # it is not others who keep it waiting
        self._ask_at = now + 1 / self._rng.uniform(SPREAD, 1.0)

    @property
    def _rest_of_period(self) -> float:
        return (1 - KEPT) * APART * self._period

    def _usable(self, now: float) -> list[Permit]:
        return [permit for permit in self._held if now < permit.ends_at and permit.next_at <= permit.ends_at]

    def _over(self, now: float) -> list[Permit]:
        """Those held whose turn is over, or that are more than wanted."""
        wanted = 0 if now < self._silent_until else self._wanted
        kept = sorted(self._usable(now), key=lambda permit: permit.next_at)[:wanted]
        return [permit for permit in self._held if permit not in kept]

    def _leaves_at(self, permit: Permit) -> float:
        """When a permit goes back; at once if it could not be kept until its next call is near."""
        leaves_at = permit.next_at - self._rest_of_period
        return leaves_at if leaves_at < permit.ends_at + self._period else -math.inf

    def _unseen_seconds(self, permit: Permit, now: float) -> int:
        seconds = permit.next_at - self._rest_of_period - now
        return math.ceil(seconds) + 1 if seconds > 0 else 0  # it may end at a whole second, which is up to one less

    def _next_request_at(self) -> float:
        if self._is_asking or len(self._held) >= self._wanted:
            return math.inf
        return max(self._silent_until, min([self._ask_at, *self._ask_back_at.values()]))

    def _hold(self, message: Message, asked_at: float, now: float) -> None:
        self._ask_back_at.pop(message.id, None)
        own = self._put_back.pop(message.id, None)
        next_at = now + self._rest_of_period
        if own is not None and message.dequeue_count == own.message.dequeue_count + 1:
            next_at = max(now, own.next_at)
        written = read_permit(message.body)
        wait = now - self._waiting_since
        self._waiting_since = now
        mean_wait = min(written.mean_wait, BELIEVED_WAITS * wait + TURN_SECONDS)
        was_put_back = message.dequeue_count == written.received + 1
        self._mean_wait = (mean_wait or wait) if was_put_back else 0.0
        ends_at = asked_at + TURN_SECONDS * self._rng.uniform(SPREAD, 1.0)
        mean_wait = (mean_wait + wait) / 2
        self._held.append(Permit(message, written.doublings, mean_wait, next_at, ends_at, written.refused_at))
